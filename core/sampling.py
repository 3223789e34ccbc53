"""How a model's tokens are drawn."""

from __future__ import annotations

from core.settings import Settings


class Sampling(Settings):
    """Sampling parameters as vLLM takes them; `max_tokens` bounds one answer, reasoning included."""

    temperature: float = 0.6
    top_p: float = 0.95
    top_k: int = 20
    max_tokens: int = 4096
