"""An OpenAI-compatible server as the benchmarks see it."""

from __future__ import annotations

import os

from core.sampling import Sampling
from core.settings import Settings


class Endpoint(Settings):
    """A served model: `base_url` ends in /v1; `api_key_env` names the variable with the key (unset: the server wants none);
    `concurrency` is how many requests may be in flight at once."""

    base_url: str
    model: str
    api_key_env: str = "OPENAI_API_KEY"
    sampling: Sampling = Sampling()
    concurrency: int = 16

    def api_key(self) -> str:
        return os.environ.get(self.api_key_env) or "EMPTY"
