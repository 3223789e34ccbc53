"""HTTP to one or more equal servers: each dialogue keeps to its own, failures are retried, a dead server is passed over."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, TypeVar

import aiohttp

from core.settings import UserError
from generation.llm.base import LLMError

T = TypeVar("T")

REST_S = 30.0
"""How long a server that refused a connection is passed over."""
MAX_WAIT_S = 60.0
CONNECT_TIMEOUT_S = 10.0
# vLLM closes idle connections after 5 s; to reuse one at that moment would fail the request.
KEEP_ALIVE_S = 4.0
TRANSIENT = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}
TOO_LONG = ("context length", "context_length", "maximum model length", "max_model_len")


class PromptTooLongError(Exception):
    """The prompt does not fit the model's context; asking again would not help."""


class TransientError(Exception):
    """Worth asking again, at the earliest after `wait_s` seconds."""

    def __init__(self, problem: str, wait_s: float = 0.0) -> None:
        super().__init__(problem)
        self.wait_s = wait_s


@dataclass
class Replica:
    """One server. It rests until a moment of time.monotonic() after it refused a connection."""

    base_url: str
    rests_until: float = 0.0


class Transport:
    """`ask` makes `retries` more attempts, waiting `backoff_s` × 2^i with jitter between them; `timeout_s` bounds each."""

    def __init__(
        self, base_urls: Sequence[str], api_key_env: str, timeout_s: float, retries: int, backoff_s: float
    ) -> None:
        self._replicas = [Replica(url.rstrip("/")) for url in base_urls]
        self._api_key_env = api_key_env
        self._timeout = aiohttp.ClientTimeout(total=timeout_s, sock_connect=CONNECT_TIMEOUT_S)
        self._retries = retries
        self._backoff_s = backoff_s
        self._session: aiohttp.ClientSession | None = None

    async def ask(
        self, path: str, payload: dict[str, Any] | None, affinity: str, parse: Callable[[Any, float], T]
    ) -> T:
        """POST `payload` (GET if None) and parse (the JSON reply, its seconds); a ValueError of `parse` is retried too.

        Raises LLMError after all attempts, PromptTooLongError, and UserError for a key or address that is wrong. A server
        that refuses the connection costs no attempt as long as another one stands.
        """
        problem: Exception | None = None
        for attempt in range(self._retries + 1):
            if problem:
                await asyncio.sleep(self._wait_s(attempt, problem))
            for replica in self._route(affinity):
                try:
                    return await self._send(f"{replica.base_url}/{path}", payload, parse)
                except aiohttp.ClientConnectorError as error:
                    replica.rests_until = time.monotonic() + REST_S
                    problem = error
                except (TransientError, aiohttp.ClientError, TimeoutError) as error:
                    problem = error
                    break
        raise LLMError(f"{path}: {str(problem) or type(problem).__name__} (tried {self._retries + 1} times)")

    async def close(self) -> None:
        if self._session:
            await self._session.close()

    def _route(self, affinity: str) -> list[Replica]:
        """Replicas in the order to try them. A dialogue's own comes first, for its prefix cache; the rest of the order
        differs between dialogues, so that a dead server's load spreads. Resting ones are left out while others stand."""

        def rank(index: int) -> bytes:
            return hashlib.blake2b(f"{affinity}\0{index}".encode(), digest_size=8).digest()

        order = [self._replicas[index] for index in sorted(range(len(self._replicas)), key=rank)]
        return [replica for replica in order if replica.rests_until <= time.monotonic()] or order

    def _wait_s(self, attempt: int, problem: Exception) -> float:
        """Exponential, half of it random, so that many dialogues do not come back at once."""
        backoff = self._backoff_s * 2.0 ** (attempt - 1) * random.uniform(0.5, 1.0)
        asked = problem.wait_s if isinstance(problem, TransientError) else 0.0
        return min(max(backoff, asked), MAX_WAIT_S)

    async def _send(self, url: str, payload: dict[str, Any] | None, parse: Callable[[Any, float], T]) -> T:
        method = "GET" if payload is None else "POST"
        began = time.monotonic()
        async with self._open().request(method, url, json=payload) as response:
            if response.status != HTTPStatus.OK:
                raise self._refusal(response, await response.text())
            try:
                body = await response.json(content_type=None)
                return parse(body, time.monotonic() - began)
            except ValueError as error:
                raise TransientError(f"malformed reply: {error}") from None

    def _open(self) -> aiohttp.ClientSession:
        """The session, made at first use because it belongs to the running event loop."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE_S),
                timeout=self._timeout,
                headers={"Authorization": f"Bearer {os.environ.get(self._api_key_env, 'EMPTY')}"},
            )
        return self._session

    def _refusal(self, response: aiohttp.ClientResponse, text: str) -> Exception:
        """What an error status means."""
        status, problem = response.status, f"HTTP {response.status}: {' '.join(text.split())[:300]}"
        if status in TRANSIENT or (status >= HTTPStatus.INTERNAL_SERVER_ERROR and status != HTTPStatus.NOT_IMPLEMENTED):
            after = response.headers.get("Retry-After", "")
            return TransientError(problem, wait_s=float(after) if after.isdigit() else 0.0)
        if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            return UserError(f"{response.url} refuses the key in the variable {self._api_key_env}: {problem}")
        if status == HTTPStatus.NOT_FOUND:
            return UserError(f"{response.url} is not served; does the base URL end in /v1? {problem}")
        if status == HTTPStatus.BAD_REQUEST and any(phrase in text for phrase in TOO_LONG):
            return PromptTooLongError(problem)
        return LLMError(problem)
