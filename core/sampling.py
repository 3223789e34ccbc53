"""How a model's tokens are drawn."""

from __future__ import annotations

from typing import Any

from core.settings import Settings


class Sampling(Settings):
    """Sampling parameters as vLLM takes them; `max_tokens` bounds one answer, reasoning included. `top_k` is no parameter of
    OpenAI's, and hosted servers refuse it: 0 leaves it to the server."""

    temperature: float = 0.6
    top_p: float = 0.95
    top_k: int = 20
    max_tokens: int = 4096

    def extra_body(self) -> dict[str, Any]:
        """What a request holds beyond OpenAI's own parameters."""
        return {"top_k": self.top_k} if self.top_k else {}

    def body(self) -> dict[str, Any]:
        """The fields of a request to an OpenAI-compatible server."""
        return self.model_dump(exclude={"top_k"}) | self.extra_body()
