"""The HTTP client of BFCL's worker: it runs in BFCL's own environment and imports nothing of this project.

Not the OpenAI SDK, on two grounds: its timeout is one for each read, so a server that sends a byte now and then holds a request
for ever, and it costs several times the CPU.
"""

from __future__ import annotations

import json
import random
import threading
import time
from dataclasses import dataclass

import httpx

from core.server_protocol import TRANSIENT_STATUSES, exceeds_context, retry_after_s
from evaluation.bfcl.worker.tool_calls import JsonObject

BACKOFF_S = 0.5
LONGEST_PAUSE_S = 20.0
LONGEST_REQUESTED_PAUSE_S = 60.0
BUSY = frozenset({429, 503})
"""Codes whose Retry-After says when."""


class UnansweredError(Exception):
    """The server gave no usable answer: a matter of infrastructure."""


class TooLongError(Exception):
    """The server refused a request because it is longer than the model's context."""


@dataclass(frozen=True)
class Limits:
    """`timeout_s` bounds a whole request, reading included; `retries` is how often it is tried again, waits that the
    server bids (Retry-After) not counted while they end within `timeout_s` of the first try; after `patience`
    requests in a row that were given up, nothing more is sent: the server is taken for dead."""

    concurrency: int
    retries: int
    timeout_s: float
    patience: int


class Client:
    """Chat completions of one server, from many threads."""

    def __init__(self, base_url: str, api_key: str, limits: Limits) -> None:
        self._url = f"{base_url.rstrip('/')}/chat/completions"
        self._limits = limits
        self._given_up = 0
        self._lock = threading.Lock()
        self._http = httpx.Client(
            headers={"Authorization": f"Bearer {api_key}"},
            timeout=limits.timeout_s,
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=limits.concurrency),
        )

    def complete(self, body: JsonObject, request_id: str) -> JsonObject:
        """The server's answer. Raises TooLongError, or UnansweredError with what the last try ran into."""
        if self._given_up >= self._limits.patience:
            raise UnansweredError(f"not sent: {self._given_up} requests in a row were not answered")
        try:
            answer = self._tried(json.dumps(body).encode(), request_id)
        except UnansweredError:
            with self._lock:
                self._given_up += 1
            raise
        self._given_up = 0
        return answer

    def _tried(self, content: bytes, request_id: str) -> JsonObject:
        deadline = time.monotonic() + self._limits.timeout_s
        failures = 0
        while True:
            requested_pause = None
            try:
                status, raw, headers = self._sent(content, request_id)
            except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
                failure = f"{type(error).__name__}: {error}"
            else:
                transient = status in TRANSIENT_STATUSES or (status == 200 and _is_error(raw))
                if status == 200 and not transient:
                    return _checked(raw)
                failure = f"HTTP {status}: {raw[:500].decode(errors='replace')}"
                if status in (200, 400, 413, 422) and exceeds_context(failure):
                    raise TooLongError(failure)
                if not transient:
                    raise UnansweredError(failure)
                requested_pause = _requested_pause_s(headers.get("Retry-After", "")) if status in BUSY else None
            if requested_pause is not None and time.monotonic() + requested_pause < deadline:
                time.sleep(requested_pause)
                continue
            failures += 1
            if failures > self._limits.retries:
                raise UnansweredError(failure)
            time.sleep(min(BACKOFF_S * 2 ** (failures - 1), LONGEST_PAUSE_S) * random.uniform(0.5, 1.0))

    def _sent(self, content: bytes, request_id: str) -> tuple[int, bytes, httpx.Headers]:
        deadline = time.monotonic() + self._limits.timeout_s
        headers = {"Content-Type": "application/json", "X-Request-Id": request_id}
        with self._http.stream("POST", self._url, content=content, headers=headers) as response:
            parts = []
            for part in response.iter_bytes():
                parts.append(part)
                if time.monotonic() > deadline:
                    raise TimeoutError(f"the answer did not end within {self._limits.timeout_s:g} s")
        return response.status_code, b"".join(parts), response.headers


def _requested_pause_s(retry_after: str) -> float | None:
    """Seconds to wait per Retry-After, between BACKOFF_S and LONGEST_REQUESTED_PAUSE_S; None if it cannot be parsed."""
    seconds = retry_after_s(retry_after)
    return None if seconds is None else min(max(seconds, BACKOFF_S), LONGEST_REQUESTED_PAUSE_S)


def _is_error(raw: bytes) -> bool:
    """Whether an answer holds an error in place of a completion: some proxies send the error of the server behind them so."""
    try:
        answer = json.loads(raw)
    except ValueError:
        return False
    return isinstance(answer, dict) and bool(answer.get("error")) and not answer.get("choices")


def _checked(raw: bytes) -> JsonObject:
    """An answer that has a message whose calls have names and arguments. Raises UnansweredError."""
    try:
        answer: JsonObject = json.loads(raw)
        functions = [call["function"] for call in answer["choices"][0]["message"].get("tool_calls") or ()]
        if not all(isinstance(function[key], str) for function in functions for key in ("name", "arguments")):
            raise TypeError("a call's name and arguments are not both text")
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise UnansweredError(f"not a chat completion ({type(error).__name__}: {error}): {raw[:200]!r}") from None
    return answer
