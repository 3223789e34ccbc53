"""What all clients share about OpenAI-compatible servers: the meaning of refusals, waiting times, request seeds.

Standard library only: BFCL's worker imports it in an environment that has none of our dependencies.
"""

from __future__ import annotations

import hashlib
import math
import re
import time
from email.utils import parsedate_to_datetime

_CONTEXT_EXCEEDED = (
    "context length",
    "context_length",
    "maximum model length",
    "max_model_len",
    "contextwindowexceeded",
)


def is_transient(status: int) -> bool:
    """Whether the same request may succeed later: timeouts, conflicts, rate limits, and server errors of servers and of
    proxies before them (520 to 529), except 501, "not implemented"."""
    return status in (408, 409, 425, 429) or (status >= 500 and status != 501)


def exceeds_context(refusal: str) -> bool:
    """Whether a refusal means that the request exceeds the model's context (texts of vLLM, OpenAI, LiteLLM)."""
    text = refusal.casefold()
    return any(phrase in text for phrase in _CONTEXT_EXCEEDED)


def context_in_refusal(refusal: str) -> tuple[int | None, int | None]:
    """(the model's context, the tokens of the prompt) in a refusal that `exceeds_context`; None for what it does not
    say."""
    context, prompt = _CONTEXT_SIZE.search(refusal), _PROMPT_SIZE.search(refusal)
    return int(context[1]) if context else None, int(prompt[1]) if prompt else None


_CONTEXT_SIZE = re.compile(r"context length (?:is|of|\() ?(\d+)", re.I)
_PROMPT_SIZE = re.compile(r"(\d+) (?:input tokens|(?:tokens )?(?:in|from) the (?:messages|prompt|input))", re.I)


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


def request_seed(seed: int, key: str) -> int:
    """A 31-bit seed for one request, from the run's seed and the request's key alone, not its order or replica."""
    return int.from_bytes(hashlib.blake2b(f"{seed}\0{key}".encode(), digest_size=4).digest()) >> 1
