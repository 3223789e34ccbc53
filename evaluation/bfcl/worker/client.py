"""The HTTP client of BFCL's worker. Runs in BFCL's own environment.

It replaces the OpenAI SDK for two reasons: the SDK's timeout applies to each read, so a server that sends a byte now
and then keeps a request open indefinitely; and the SDK needs several times the CPU.
"""

from __future__ import annotations

import json
import random
import threading
import time
from dataclasses import dataclass

import httpx

from core.server_protocol import exceeds_context, is_transient, retry_after_s, wrapped_error
from evaluation.bfcl.worker.tool_calls import JsonObject

BACKOFF_S = 0.5
MAX_BACKOFF_S = 20.0
MAX_RETRY_AFTER_S = 60.0
MAX_QUOTED = 500
"""Characters of a refusal that an error quotes."""
BUSY_STATUSES = frozenset({429, 503})
"""HTTP status codes whose Retry-After header is respected."""


class UnansweredError(Exception):
    """The server gave no usable answer: an infrastructure error."""


class ContextExceededError(Exception):
    """The server refused a request because it exceeds the model's context."""


@dataclass(frozen=True)
class Limits:
    """`concurrency` requests are in flight at once; `timeout_s` bounds a complete request, reading included.

    A request is retried `retries` times. A retry after a Retry-After pause does not count towards `retries` if the
    pause ends within `timeout_s` of the first attempt. After `patience` consecutive failed requests the server is
    considered dead and no further requests are sent.
    """

    concurrency: int
    retries: int
    timeout_s: float
    patience: int


class Client:
    """Requests chat completions from one server; thread-safe."""

    def __init__(self, base_url: str, api_key: str, limits: Limits) -> None:
        self._url = f"{base_url.rstrip('/')}/chat/completions"
        self._limits = limits
        self._failed_in_a_row = 0
        self._lock = threading.Lock()
        self._http = httpx.Client(
            headers={"Authorization": f"Bearer {api_key}"},
            timeout=limits.timeout_s,
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=limits.concurrency),
        )

    def complete(self, body: JsonObject, request_id: str) -> JsonObject:
        """The server's answer. Raises ContextExceededError, or UnansweredError with the failure of the last attempt."""
        if self._failed_in_a_row >= self._limits.patience:
            raise UnansweredError(f"not sent: {self._failed_in_a_row} requests in a row were not answered")
        try:
            answer = self._with_retries(json.dumps(body).encode(), request_id)
        except UnansweredError:
            with self._lock:
                self._failed_in_a_row += 1
            raise
        self._failed_in_a_row = 0
        return answer

    def _with_retries(self, content: bytes, request_id: str) -> JsonObject:
        deadline = time.monotonic() + self._limits.timeout_s
        failures = 0
        while True:
            pause = None
            try:
                status, raw, headers = self._send(content, request_id)
            except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
                failure = f"{type(error).__name__}: {error}"
            else:
                wrapped = status == 200 and _is_error(raw)
                if status == 200 and not wrapped:
                    return _parsed(raw)
                failure = f"HTTP {status}: {raw.decode(errors='replace')}"
                if exceeds_context(failure, status):
                    raise ContextExceededError(failure[:MAX_QUOTED])
                failure = failure[:MAX_QUOTED]
                if not (wrapped or is_transient(status)):
                    raise UnansweredError(failure)
                pause = _pause_s(headers.get("Retry-After", "")) if status in BUSY_STATUSES else None
            if pause is not None and time.monotonic() + pause < deadline:
                time.sleep(pause)
                continue
            failures += 1
            if failures > self._limits.retries:
                raise UnansweredError(failure)
            time.sleep(min(BACKOFF_S * 2 ** (failures - 1), MAX_BACKOFF_S) * random.uniform(0.5, 1.0))

    def _send(self, content: bytes, request_id: str) -> tuple[int, bytes, httpx.Headers]:
        deadline = time.monotonic() + self._limits.timeout_s
        headers = {"Content-Type": "application/json", "X-Request-Id": request_id}
        with self._http.stream("POST", self._url, content=content, headers=headers) as response:
            chunks = []
            for chunk in response.iter_bytes():
                chunks.append(chunk)
                if time.monotonic() > deadline:
                    raise TimeoutError(f"the answer did not end within {self._limits.timeout_s:g} s")
        return response.status_code, b"".join(chunks), response.headers


def _pause_s(retry_after: str) -> float | None:
    """Seconds to wait per Retry-After, between BACKOFF_S and MAX_RETRY_AFTER_S; None if it cannot be parsed."""
    seconds = retry_after_s(retry_after)
    return None if seconds is None else min(max(seconds, BACKOFF_S), MAX_RETRY_AFTER_S)


def _is_error(raw: bytes) -> bool:
    try:
        return wrapped_error(json.loads(raw)) is not None
    except ValueError:
        return False


def _parsed(raw: bytes) -> JsonObject:
    """The parsed answer. Raises UnansweredError unless it has a message whose tool calls have names and arguments."""
    try:
        answer: JsonObject = json.loads(raw)
        functions = [call["function"] for call in answer["choices"][0]["message"].get("tool_calls") or ()]
        if not all(isinstance(function[key], str) for function in functions for key in ("name", "arguments")):
            raise TypeError("a call's name and arguments are not both strings")
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise UnansweredError(f"not a chat completion ({type(error).__name__}: {error}): {raw[:200]!r}") from None
    return answer
