"""A chat-completions server in a thread, whose replies a test decides."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from aiohttp import web

from core.sampling import Sampling
from evaluation.endpoint import Endpoint
from evaluation.known_answers.server import MODEL, AnswerPolicy, Reply, application, call, say

UNCOUNTED = {"choices": [{"message": {"role": "assistant", "content": "Well, let me"}, "finish_reason": "length"}]}
"""A reply's body with text and without usage."""

__all__ = ["UNCOUNTED", "AnswerPolicy", "ReplayServer", "Reply", "call", "say"]


class ReplayServer:
    """Serves from construction until `close`; `requests` collects every request body.

    `policy` may be replaced while the server runs. With a `key`, GET /v1/models requires it.
    """

    key = ""

    def __init__(self, policy: AnswerPolicy) -> None:
        self.requests: list[dict[str, Any]] = []
        self.port = 0
        self.policy = policy
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        if not self._ready.wait(10):
            raise RuntimeError("the replay server did not start")

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def endpoint(self, **more: Any) -> Endpoint:
        sampling = Sampling(temperature=0.7, top_p=0.9, top_k=20, max_tokens=256)
        return Endpoint(base_url=self.base_url, model=MODEL, sampling=sampling, **more)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def die(self) -> None:
        """Drops every connection and stops listening, as soon as the policy that calls this returns."""

        async def hang_up() -> None:
            await self._site.stop()
            if self._runner.server:
                await self._runner.server.shutdown(0)

        self._death = self._loop.create_task(hang_up())

    def _reply(self, body: dict[str, Any]) -> Reply:
        return self.policy(body)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        app = application(self._reply, self.requests, lambda: self.key)
        self._runner = runner = web.AppRunner(app, shutdown_timeout=0.1)
        self._loop.run_until_complete(runner.setup())
        self._site = site = web.TCPSite(runner, "127.0.0.1", 0)
        self._loop.run_until_complete(site.start())
        self.port = runner.addresses[0][1]
        self._ready.set()
        self._loop.run_forever()
        self._loop.run_until_complete(runner.cleanup())
