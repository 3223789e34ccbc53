"""A chat-completions server in a thread, whose answers a test decides."""

from __future__ import annotations

from typing import Any

from core.sampling import Sampling
from evaluation.endpoint import Endpoint
from evaluation.known_answers import server
from evaluation.known_answers.server import MODEL, AnswerPolicy, Reply, call, say

__all__ = ["AnswerPolicy", "ReplayServer", "Reply", "call", "say"]


class ReplayServer(server.ReplayServer):
    """With an endpoint of its own."""

    def endpoint(self, **more: Any) -> Endpoint:
        sampling = Sampling(temperature=0.7, top_p=0.9, top_k=20, max_tokens=256)
        return Endpoint(base_url=self.base_url, model=MODEL, sampling=sampling, **more)
