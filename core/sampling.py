"""Sampling parameters of a model."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from core.settings import Settings


class Sampling(Settings):
    """Sampling parameters as vLLM accepts them. vLLM replaces one that is not sent by the model's own recommendation
    (generation_config.json)."""

    temperature: float | None = Field(default=0.6, description="0: greedy; null: do not send it")
    top_p: float | None = Field(
        default=0.95, description="share of the probability mass that is sampled from; null: do not send it"
    )
    top_k: int = Field(default=20, description="not an OpenAI parameter, hosted servers refuse it; 0: do not send it")
    max_tokens: int = Field(default=4096, description="limit of one answer in tokens, reasoning included")

    def extra_body(self) -> dict[str, Any]:
        """Return the request fields that are not OpenAI parameters."""
        return {"top_k": self.top_k} if self.top_k else {}

    def body(self) -> dict[str, Any]:
        """Return the fields of a request to an OpenAI-compatible server."""
        return self.model_dump(exclude={"top_k"}, exclude_none=True) | self.extra_body()
