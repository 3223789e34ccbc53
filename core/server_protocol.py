"""What all clients share about OpenAI-compatible servers: refusals, token counts, waiting times, proxies, seeds.

Standard library only: BFCL's worker imports it in an environment that has none of our dependencies.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import time
import urllib.request
from collections.abc import Iterable
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

_CONTEXT_EXCEEDED = re.compile(
    "|".join(
        (
            r"context_length_exceeded|exceed_context_size|context_?window_?exceeded|input_too_large",  # codes and types
            r"maximum (?:context|model|prompt|input) length|max_model_len",  # OpenAI, vLLM, DeepSeek, Mistral, xAI
            r"model'?s context length|reduce the length of the (?:messages|prompt|input)",  # SGLang, Groq
            r"exceed\w* (?:[\w']+ ){0,3}context (?:size|window|length|limit)",  # llama.cpp, OpenAI, Anthropic, Ollama
            r"larger than the max context size",  # llama.cpp, earlier
            r"exceeds the maximum allowed length \(\d+ tokens\)",  # SGLang
            r"max_new_tokens`? must be <=|inputs`? must have less than \d+ tokens",  # TGI, Together
            r"(?:prompt|input)(?: is)? too long",  # Anthropic, Bedrock, Ollama, Fireworks
            r"token count\b.{0,40}(?:exceeds the maximum number of tokens|only supports up to)",  # Gemini
            r"input tokens exceed the configured limit|tokens in the prompt cannot exceed|exceeded model token limit",
        )
    ),
    re.I,
)
_RATE_LIMITED = 429
_SEARCHED = 2000
"""Leading characters of a refusal that are searched: some servers repeat the request, whose texts say anything."""


def is_transient(status: int) -> bool:
    """Whether the same request may succeed later: timeouts, conflicts, rate limits, and server errors of servers and of
    proxies before them (520 to 529), except 501, "not implemented"."""
    return status in (408, 409, 425, 429) or (status >= 500 and status != 501)


def exceeds_context(refusal: str, status: int | None = None) -> bool:
    """Whether a refusal means that the request exceeds the model's context, by its code, type or phrase.

    `status` is the HTTP status, if known: a server that limits rates (429) counts tokens per minute. With any other
    one, server errors included, the same request is refused again.
    """
    return status != _RATE_LIMITED and _CONTEXT_EXCEEDED.search(refusal[:_SEARCHED]) is not None


def wrapped_error(reply: Any) -> str | None:
    """The error in a reply with HTTP status 200, as some proxies send it instead of a completion; None for others."""
    error = reply.get("error") if isinstance(reply, dict) and not reply.get("choices") else None
    return json.dumps(error, ensure_ascii=False) if error else None


def token_counts(reply: dict[str, Any]) -> tuple[int | None, int | None]:
    """The tokens of (prompt, completion) of a chat completion; None for what its server does not count."""
    usage = reply.get("usage")
    counts = [usage.get(name) if isinstance(usage, dict) else None for name in ("prompt_tokens", "completion_tokens")]
    prompt, completion = (count if isinstance(count, int) else None for count in counts)
    return prompt, completion


def total(counts: Iterable[int | None]) -> int | None:
    """The sum of token counts; None if one of them is unknown."""
    known = list(counts)
    return None if None in known else sum(count or 0 for count in known)


def context_in_refusal(refusal: str) -> tuple[int | None, int | None]:
    """(the model's context, the tokens of the prompt) in a refusal that `exceeds_context`; None for what it does not
    say."""
    context, prompt = _CONTEXT_SIZE.search(refusal), _PROMPT_SIZE.search(refusal)
    return int(context[1]) if context else None, int(prompt[1]) if prompt else None


_CONTEXT_SIZE = re.compile(r"(?:context length (?:is|of|\() ?|max_new_tokens`? must be <= |\d \+ \d+ > )(\d+)", re.I)
_PROMPT_SIZE = re.compile(
    r"(\d+) (?:input tokens|`?inputs`? tokens|(?:tokens )?(?:in|from) the (?:messages|prompt|input)|\+ \d+ > \d)", re.I
)


def retry_after_s(header: str) -> float | None:
    """Seconds to wait according to a Retry-After header (seconds or a date); None if it is unreadable."""
    try:
        seconds = float(header)
        return max(seconds, 0.0) if math.isfinite(seconds) else None
    except ValueError:
        pass
    try:
        return max(parsedate_to_datetime(header).timestamp() - time.time(), 0.0)
    except ValueError:
        return None


def proxy_of(url: str) -> str | None:
    """The proxy that the environment names for a server (HTTP_PROXY, HTTPS_PROXY, NO_PROXY); None for this machine."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if host in ("localhost", "::1", "0.0.0.0") or host.startswith("127.") or urllib.request.proxy_bypass(host):
        return None
    proxies = urllib.request.getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    return f"http://{proxy}" if proxy and "://" not in proxy else proxy


def open_url(request: urllib.request.Request, timeout_s: float) -> Any:
    """The response to a request, through the server's proxy if it has one. Raises OSError if there is none."""
    proxy = proxy_of(request.full_url)
    handler = urllib.request.ProxyHandler({"http": proxy, "https": proxy} if proxy else {})
    return urllib.request.build_opener(handler).open(request, timeout=timeout_s)


def request_seed(seed: int, key: str) -> int:
    """A 31-bit seed for one request, from the run's seed and the request's key alone, not its order or replica."""
    return int.from_bytes(hashlib.blake2b(f"{seed}\0{key}".encode(), digest_size=4).digest()) >> 1
