"""HTTP to equal servers: a dialogue keeps to its own, failures are retried, a dead server's dialogues go on elsewhere."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, TypeVar

import aiohttp
from pydantic_core import PydanticSerializationError, to_json

from core.settings import UserError
from generation.llm.base import LLMError
from generation.llm.parsing.completion import parse_models
from generation.llm.replicas import Limits, Replica, ReplicaPool

T = TypeVar("T")

MAX_WAIT_S = 60.0
CONNECT_TIMEOUT_S = 10.0
PROBE_TIMEOUT_S = 10.0
# vLLM closes idle connections after 5 s; to reuse one at that moment would fail the request.
KEEP_ALIVE_S = 4.0
BYTES_A_TOKEN = 4
"""Of a request's JSON, for the estimate of its prompt."""
TRANSIENT = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}
TOO_LONG = ("context length", "context_length", "maximum model length", "max_model_len")
UNREACHABLE = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)


class PromptTooLongError(Exception):
    """The prompt does not fit the model's context; asking again would not help."""


class TransientError(Exception):
    """Worth asking again, at the earliest after `wait_s` seconds. `busy`: the server is well, but has too much to do."""

    def __init__(self, problem: str, wait_s: float = 0.0, busy: bool = False) -> None:
        super().__init__(problem)
        self.wait_s = wait_s
        self.busy = busy


@dataclass(frozen=True)
class RetryPolicy:
    """`retries` more attempts, waiting `backoff_s` × 2^i with jitter between them; `timeout_s` bounds each, from when it is
    sent. `outage_s` is how long no server at all may answer."""

    timeout_s: float
    retries: int
    backoff_s: float
    outage_s: float


class Transport:
    """Requests as JSON to one of `base_urls`; what a server is given at once is within `limits`."""

    def __init__(self, base_urls: Sequence[str], api_key_env: str, limits: Limits, patience: RetryPolicy) -> None:
        self.fleet = ReplicaPool(base_urls, limits, patience.outage_s, self._is_there)
        self._api_key_env = api_key_env
        self._patience = patience
        self._timeout = aiohttp.ClientTimeout(total=patience.timeout_s, sock_connect=CONNECT_TIMEOUT_S)
        self._session: aiohttp.ClientSession | None = None
        self._model: str | None = None

    async def meet(self, fits: Callable[[str, list[str]], str]) -> str:
        """Ask every server what it serves, `fits` (its URL, its models) chooses the model or raises UserError. Servers that do not
        answer are left out for now. Raises UserError if none does, and if they do not serve the same."""
        served: dict[str, list[str] | Exception] = {}
        for attempt in range(self._patience.retries + 1):
            if attempt:
                await asyncio.sleep(self._wait_s(attempt))
            answers = await asyncio.gather(*(self._models(replica) for replica in self.fleet.replicas))
            served = dict(zip((replica.base_url for replica in self.fleet.replicas), answers, strict=True))
            if any(isinstance(models, list) for models in answers):
                break
        chosen = {url: fits(url, models) for url, models in served.items() if isinstance(models, list)}
        problems = {url: problem for url, problem in served.items() if isinstance(problem, Exception)}
        if not chosen:
            url, problem = next(iter(problems.items()))
            raise UserError(
                f"no OpenAI-compatible server answers at {', '.join(served)}; start one or name others "
                f"({url}: {_said(problem)}, tried {self._patience.retries + 1} times)"
            )
        if len(names := sorted(set(chosen.values()))) > 1:
            raise UserError(f"the servers offer different models ({', '.join(names)}); name one that all offer")
        self._model = names[0]
        for replica in self.fleet.replicas:
            if replica.base_url in problems:
                self.fleet.drain(replica, _said(problems[replica.base_url]))
        return self._model

    async def ask(
        self,
        path: str,
        payload: dict[str, Any],
        affinity: str,
        parse: Callable[[Any, float], T],
        answer_tokens: int = 0,
    ) -> tuple[T, int]:
        """POST `payload` and parse (the JSON reply, its seconds); a ValueError of `parse` is retried too. `answer_tokens` are
        expected in the answer. Gives what was parsed, and how often it was asked for again before.

        Raises LLMError after all attempts, PromptTooLongError, and UserError for a key or address that is wrong and where no
        server answers any more. A server that cannot be reached costs no attempt: the dialogue goes on at another one. Nor does
        a busy one (429), as long as it answers somebody.
        """
        body = _json(payload)
        tokens = len(body) // BYTES_A_TOKEN + answer_tokens
        attempt, sendings = 1, 0
        answered: tuple[Replica | None, int] = (None, 0)
        while True:
            replica = await self.fleet.enter(affinity, tokens)
            sent, (asked, before) = time.monotonic(), answered
            sendings += 1
            try:
                answer = await self._send(replica, path, body, parse)
                replica.answered()
                return answer, sendings - 1
            except UNREACHABLE as error:
                self.fleet.drain(replica, _said(error))
                continue
            except (TransientError, aiohttp.ClientError, TimeoutError) as error:
                problem = error
                self._note(replica, error, sent)
            finally:
                replica.leave(tokens)
            answered = replica, replica.served
            if not (_is_busy(problem) and replica is asked and replica.served > before):
                attempt += 1
            if attempt > self._patience.retries + 1:
                raise LLMError(f"{path}: {_said(problem)} (tried {attempt - 1} times)")
            await asyncio.sleep(self._wait_s(attempt - 1))

    async def close(self) -> None:
        await self.fleet.close()
        if self._session:
            await self._session.close()

    def _note(self, replica: Replica, error: Exception, sent: float) -> None:
        if isinstance(error, TransientError) and error.wait_s:
            replica.pause(min(error.wait_s, MAX_WAIT_S))
        if _is_busy(error):
            replica.refused(sent)
        else:
            self.fleet.failed(replica, _said(error))

    def _wait_s(self, attempt: int) -> float:
        """Exponential, half of it random, so that many dialogues do not come back at once."""
        return min(self._patience.backoff_s * 2.0 ** max(attempt - 1, 0) * random.uniform(0.5, 1.0), MAX_WAIT_S)

    async def _is_there(self, replica: Replica) -> bool:
        """Whether it serves the model that the others do."""
        try:
            models = await self._models(replica)
        except UserError:
            return False
        return isinstance(models, list) and self._model in models

    async def _models(self, replica: Replica) -> list[str] | Exception:
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_S):
                return await self._send(replica, "models", None, parse_models)
        except (TransientError, LLMError, aiohttp.ClientError, TimeoutError) as error:
            return error

    async def _send(self, replica: Replica, path: str, body: bytes | None, parse: Callable[[Any, float], T]) -> T:
        """POST `body`, GET if it is None."""
        method = "GET" if body is None else "POST"
        began = time.monotonic()
        try:
            async with self._open().request(method, f"{replica.base_url}/{path}", data=body) as response:
                if response.status != HTTPStatus.OK:
                    raise self._refusal(response, await response.text(errors="replace"))
                reply = await response.read()
        except aiohttp.ClientConnectorError as error:
            if error.os_error.errno in (errno.EMFILE, errno.ENFILE):
                raise UserError(
                    "too many connections are open at once; raise the limit of open files (ulimit -n) or lower max_in_flight"
                ) from None
            raise
        try:
            return parse(json.loads(reply), time.monotonic() - began)
        except (ValueError, RecursionError) as error:
            raise TransientError(f"malformed reply: {error}") from None

    def _open(self) -> aiohttp.ClientSession:
        """The session, made at first use because it belongs to the running event loop."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE_S),
                # Nothing here is told by cookies, and to look for them costs a fifth of a call.
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=self._timeout,
                headers={
                    "Authorization": f"Bearer {os.environ.get(self._api_key_env, 'EMPTY')}",
                    "Content-Type": "application/json",
                },
            )
        return self._session

    def _refusal(self, response: aiohttp.ClientResponse, text: str) -> Exception:
        """What an error status means."""
        status, problem = response.status, f"HTTP {response.status}: {' '.join(text.split())[:300]}"
        if status in TRANSIENT or (status >= HTTPStatus.INTERNAL_SERVER_ERROR and status != HTTPStatus.NOT_IMPLEMENTED):
            after = response.headers.get("Retry-After", "")
            return TransientError(
                problem,
                wait_s=float(after) if after.isdecimal() else 0.0,
                busy=status == HTTPStatus.TOO_MANY_REQUESTS,
            )
        if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            return UserError(f"{response.url} refuses the key in the variable {self._api_key_env}: {problem}")
        if status == HTTPStatus.NOT_FOUND:
            return UserError(f"{response.url} is not served; does the base URL end in /v1? {problem}")
        if status == HTTPStatus.BAD_REQUEST and any(phrase in text for phrase in TOO_LONG):
            return PromptTooLongError(problem)
        return LLMError(problem)


def _json(payload: dict[str, Any]) -> bytes:
    """Four times as fast as the standard library's, which has to do what no UTF-8 can hold: half a surrogate pair."""
    try:
        return to_json(payload)
    except PydanticSerializationError:
        return json.dumps(payload).encode()


def _is_busy(error: Exception) -> bool:
    return isinstance(error, TransientError) and error.busy


def _said(error: Exception) -> str:
    return str(error) or type(error).__name__
