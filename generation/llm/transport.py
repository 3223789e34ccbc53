"""HTTP client for interchangeable servers: dialogues stay on one, failures are retried, dead servers are left."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import random
import time
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any, TypeVar

import aiohttp
from pydantic import Field
from pydantic_core import PydanticSerializationError, to_json

from core.server_protocol import exceeds_context, is_transient, proxy_of, retry_after_s, wrapped_error
from core.settings import Settings, UserError
from generation.llm.base import LLMError
from generation.llm.parsing.completion import parse_models
from generation.llm.replicas import Limits, Replica, ReplicaPool

T = TypeVar("T")

MAX_WAIT_S = 60.0
CONNECT_TIMEOUT_S = 10.0
PROBE_TIMEOUT_S = 10.0
# vLLM closes idle connections after 5 s; a request sent at that moment fails, and a busy machine sends late.
KEEP_ALIVE_S = 2.0
BYTES_PER_TOKEN = 4
"""Bytes of a request's JSON per token of its prompt, a rough estimate."""
UNREACHABLE = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)


class ContextExceededError(Exception):
    """Prompt and answer together exceed the model's context: a retry helps only with a shorter answer."""


class TransientError(Exception):
    """Worth a retry, after `wait_s` seconds at the earliest. `busy`: the server works, but is overloaded. `failed`: it
    could not answer this request (HTTP 5xx)."""

    def __init__(self, problem: str, wait_s: float = 0.0, busy: bool = False, failed: bool = False) -> None:
        super().__init__(problem)
        self.wait_s = wait_s
        self.busy = busy
        self.failed = failed


class RetryPolicy(Settings):
    """When a request counts as failed, and how often and how soon it is sent again."""

    timeout_s: float = Field(
        default=600.0,
        gt=0,
        description="Seconds for one attempt, from sending the request to the end of the answer.",
    )
    retries: int = Field(default=5, ge=0, description="Further attempts after the first one fails.")
    backoff_s: float = Field(
        default=0.5, ge=0, description="Seconds before the first retry; doubled for each further one, with jitter."
    )
    outage_s: float = Field(
        default=600.0, ge=0, description="Seconds without any server that answers after which the run stops."
    )

    def wait_s(self, attempt: int) -> float:
        """Seconds before retry number `attempt` (1, 2, …): exponential, half of it random, so that many dialogues do
        not return at once."""
        return min(self.backoff_s * 2.0 ** max(attempt - 1, 0) * random.uniform(0.5, 1.0), MAX_WAIT_S)


class Transport:
    """JSON requests to one of `base_urls`, within the `limits` of each server."""

    def __init__(self, base_urls: Sequence[str], api_key_env: str, limits: Limits, retry_policy: RetryPolicy) -> None:
        self.pool = ReplicaPool(base_urls, limits, retry_policy.outage_s, self._serves_model)
        self._proxies = {replica.base_url: proxy_of(replica.base_url) for replica in self.pool.replicas}
        self._api_key_env = api_key_env
        self._retry_policy = retry_policy
        self._timeout = aiohttp.ClientTimeout(total=retry_policy.timeout_s, sock_connect=CONNECT_TIMEOUT_S)
        self._session: aiohttp.ClientSession | None = None
        self._model: str | None = None

    async def discover_model(self, choose: Callable[[str, list[str]], str]) -> tuple[str, int | None]:
        """Ask every server for its models; return the one to use and its context in tokens, the smallest one that a
        server reports, or None. `choose` maps (URL, its models) to a model or raises UserError. Servers that do not
        answer start as down.

        Raises UserError if no server answers, and if the servers offer different models.
        """
        served: dict[str, dict[str, int | None] | Exception] = {}
        for attempt in range(self._retry_policy.retries + 1):
            if attempt:
                await asyncio.sleep(self._retry_policy.wait_s(attempt))
            answers = await asyncio.gather(*(self._models(replica) for replica in self.pool.replicas))
            served = dict(zip((replica.base_url for replica in self.pool.replicas), answers, strict=True))
            if any(isinstance(models, dict) for models in answers):
                break
        offers = {url: models for url, models in served.items() if isinstance(models, dict)}
        chosen = {url: choose(url, list(models)) for url, models in offers.items()}
        problems = {url: problem for url, problem in served.items() if isinstance(problem, Exception)}
        if not chosen:
            url, problem = next(iter(problems.items()))
            raise UserError(
                f"no OpenAI-compatible server answers at {', '.join(served)}; start one or name others "
                f"({url}: {_describe(problem)}, tried {self._retry_policy.retries + 1} times)"
            )
        if len(names := sorted(set(chosen.values()))) > 1:
            raise UserError(f"the servers offer different models ({', '.join(names)}); name one that all offer")
        self._model = names[0]
        for replica in self.pool.replicas:
            if replica.base_url in problems:
                self.pool.take_down(replica, _describe(problems[replica.base_url]))
        contexts = [context for models in offers.values() if (context := models[names[0]])]
        return names[0], min(contexts, default=None)

    async def request(
        self,
        path: str,
        build: Callable[[int], dict[str, Any]],
        affinity: str,
        parse: Callable[[Any, float], T],
        answer_tokens: int = 0,
    ) -> tuple[T, int]:
        """POST a payload. Returns (the reply parsed, the number of retries).

        `build` maps the number of server errors (HTTP 5xx) so far to the payload: an error may belong to this very
        answer and come again with the same sampling seed. `parse` maps (the JSON reply, its seconds) to the result; a
        ValueError counts as a failed attempt. `answer_tokens` is the expected length of the answer. A server that
        cannot be reached costs no attempt, since the dialogue continues on another one, nor does a busy one (429) that
        answered other requests since the last attempt.

        Raises LLMError after all attempts, ContextExceededError, and UserError for a wrong key or address and when no
        server answers any more.
        """
        errors = 0
        body = _json(build(errors))
        tokens = len(body) // BYTES_PER_TOKEN + answer_tokens
        attempt, requests_sent = 1, 0
        last_replica: Replica | None = None
        last_served = 0
        while True:
            replica = await self.pool.acquire(affinity, tokens)
            sent = time.monotonic()
            requests_sent += 1
            try:
                answer = await self._send(replica, path, body, parse)
                replica.answered()
                return answer, requests_sent - 1
            except UNREACHABLE as error:
                self.pool.take_down(replica, _describe(error))
                continue
            except (TransientError, aiohttp.ClientError, TimeoutError) as error:
                problem = error
                self._record_failure(replica, error, sent)
                if isinstance(error, TransientError) and error.failed:
                    errors += 1
                    body = _json(build(errors))
            finally:
                replica.release(tokens)
            serves_others = replica is last_replica and replica.served > last_served
            last_replica, last_served = replica, replica.served
            if not (_is_busy(problem) and serves_others):
                attempt += 1
            if attempt > self._retry_policy.retries + 1:
                raise LLMError(f"{path}: {_describe(problem)} (tried {attempt - 1} times)")
            await asyncio.sleep(self._retry_policy.wait_s(attempt - 1))

    async def close(self) -> None:
        await self.pool.close()
        if self._session:
            await self._session.close()

    def _record_failure(self, replica: Replica, error: Exception, sent: float) -> None:
        if isinstance(error, TransientError) and error.wait_s:
            replica.pause(min(error.wait_s, MAX_WAIT_S))
        if _is_busy(error):
            replica.overloaded(sent)
        else:
            self.pool.failed(replica, _describe(error))

    async def _serves_model(self, replica: Replica) -> bool:
        """Whether the server answers and offers the same model as the others."""
        try:
            models = await self._models(replica)
        except UserError:
            return False
        return isinstance(models, dict) and self._model in models

    async def _models(self, replica: Replica) -> dict[str, int | None] | Exception:
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_S):
                return await self._send(replica, "models", None, parse_models)
        except (TransientError, LLMError, aiohttp.ClientError, TimeoutError) as error:
            return error

    async def _send(self, replica: Replica, path: str, body: bytes | None, parse: Callable[[Any, float], T]) -> T:
        """POST `body`, or GET if it is None."""
        method = "GET" if body is None else "POST"
        started = time.monotonic()
        try:
            url, proxy = f"{replica.base_url}/{path}", self._proxies[replica.base_url]
            async with self._open().request(method, url, data=body, proxy=proxy) as response:
                if response.status != HTTPStatus.OK:
                    raise self._refusal(response, await response.text(errors="replace"))
                reply = await response.read()
        except aiohttp.ClientConnectorError as error:
            if error.os_error.errno in (errno.EMFILE, errno.ENFILE):
                raise UserError(
                    "too many open connections; raise the limit of open files (ulimit -n) or lower max_in_flight"
                ) from None
            raise
        try:
            answer = json.loads(reply)
            if (refusal := wrapped_error(answer)) and exceeds_context(refusal):
                raise ContextExceededError(refusal)
            return parse(answer, time.monotonic() - started)
        except (ValueError, RecursionError) as error:
            raise TransientError(f"malformed reply: {error}") from None

    def _open(self) -> aiohttp.ClientSession:
        """The session, created at first use because it belongs to the running event loop."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE_S),
                # These servers set no cookies, and looking for them costs a fifth of a request.
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=self._timeout,
                headers={
                    "Authorization": f"Bearer {os.environ.get(self._api_key_env, 'EMPTY')}",
                    "Content-Type": "application/json",
                },
            )
        return self._session

    def _refusal(self, response: aiohttp.ClientResponse, text: str) -> Exception:
        """The error that an HTTP error status stands for."""
        status, problem = response.status, f"HTTP {response.status}: {' '.join(text.split())[:300]}"
        if exceeds_context(text, status):
            return ContextExceededError(problem)
        if is_transient(status):
            wait_s = retry_after_s(response.headers.get("Retry-After", "")) or 0.0
            busy = status == HTTPStatus.TOO_MANY_REQUESTS
            return TransientError(problem, wait_s, busy, failed=status >= HTTPStatus.INTERNAL_SERVER_ERROR)
        if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            return UserError(f"{response.url} refuses the key in the variable {self._api_key_env}: {problem}")
        if status == HTTPStatus.NOT_FOUND:
            return UserError(f"{response.url} is not served; does the base URL end in /v1? {problem}")
        return LLMError(problem)


def _json(payload: dict[str, Any]) -> bytes:
    """Four times as fast as the standard library; falls back to it for lone surrogates, which UTF-8 lacks."""
    try:
        return to_json(payload)
    except PydanticSerializationError:
        return json.dumps(payload).encode()


def _is_busy(error: Exception) -> bool:
    return isinstance(error, TransientError) and error.busy


def _describe(error: Exception) -> str:
    return str(error) or type(error).__name__
