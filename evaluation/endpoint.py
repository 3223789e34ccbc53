"""A model behind an OpenAI-compatible server."""

from __future__ import annotations

import os
from typing import Any

from pydantic import Field

from core.sampling import Sampling
from core.settings import Settings


class Endpoint(Settings):
    """A served model."""

    base_url: str = Field(description="base URL of the server, ends in /v1")
    model: str = Field(description="name of the served model")
    api_key_env: str = Field(
        default="OPENAI_API_KEY", description="environment variable with the API key; unset: the server needs none"
    )
    sampling: Sampling = Field(default=Sampling(), description="sampling parameters")
    chat_template_kwargs: dict[str, Any] = Field(
        default={}, description="variables of the model's chat template, such as enable_thinking"
    )
    concurrency: int = Field(default=16, description="requests in flight")

    def extra_body(self) -> dict[str, Any]:
        """The fields of every request that are not OpenAI parameters."""
        kwargs = {"chat_template_kwargs": self.chat_template_kwargs} if self.chat_template_kwargs else {}
        return self.sampling.extra_body() | kwargs

    def body(self) -> dict[str, Any]:
        """The fields of every request besides model, messages, tools and seed."""
        return self.sampling.body() | self.extra_body()

    def api_key(self) -> str:
        """The API key, "EMPTY" if the variable is not set."""
        return os.environ.get(self.api_key_env) or "EMPTY"
