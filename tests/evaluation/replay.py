"""A chat-completions server in a thread, whose answers a test decides."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from typing import Any

from aiohttp import web

from core.sampling import Sampling
from evaluation.endpoint import Endpoint

Reply = dict[str, Any]
Brain = Callable[[dict[str, Any]], Reply]


def say(text: str, **more: Any) -> Reply:
    return {"content": text, **more}


def call(*calls: tuple[str, Any], reasoning: str | None = None) -> Reply:
    """A reply with tool calls; arguments that are a string go out as they are."""
    return {
        "content": None,
        "reasoning": reasoning,
        "tool_calls": [
            {
                "id": f"call_{position}",
                "type": "function",
                "function": {
                    "name": name,
                    "arguments": arguments if isinstance(arguments, str) else json.dumps(arguments),
                },
            }
            for position, (name, arguments) in enumerate(calls)
        ],
    }


class ReplayServer:
    """`requests` keeps every request body. A brain that returns {"status": …} makes the server refuse; with a `key` it does not
    tell others which models it serves."""

    key = ""

    def __init__(self, brain: Brain) -> None:
        self.brain = brain
        self.requests: list[dict[str, Any]] = []
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._ready.wait(10)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def endpoint(self, **more: Any) -> Endpoint:
        sampling = Sampling(temperature=0.7, top_p=0.9, top_k=20, max_tokens=256)
        return Endpoint(base_url=self.base_url, model="replay_model/x", sampling=sampling, **more)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def die(self) -> None:
        """For brains: hang up on everybody in a moment, and be gone."""

        async def hang_up() -> None:
            await self._site.stop()
            assert self._runner.server
            await self._runner.server.shutdown(0)

        self._death = self._loop.create_task(hang_up())

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        app = web.Application(client_max_size=2**26)
        app.router.add_post("/v1/chat/completions", self._answer)
        app.router.add_get("/v1/models", self._models)
        self._runner = runner = web.AppRunner(app)
        self._loop.run_until_complete(runner.setup())
        self._site = site = web.TCPSite(runner, "127.0.0.1", 0)
        self._loop.run_until_complete(site.start())
        self.port = runner.addresses[0][1]
        self._ready.set()
        self._loop.run_forever()
        self._loop.run_until_complete(runner.cleanup())

    async def _models(self, request: web.Request) -> web.Response:
        if self.key and request.headers.get("Authorization") != f"Bearer {self.key}":
            return web.json_response({"error": {"message": "wrong key"}}, status=401)
        return web.json_response({"object": "list", "data": [{"id": self.endpoint().model, "object": "model"}]})

    async def _answer(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.requests.append(body)
        reply = self.brain(body)
        if "status" in reply:
            error = {"message": reply["message"], "type": "BadRequestError", "code": reply["status"]}
            return web.json_response({"error": error}, status=reply["status"])
        finish = reply.pop("finish_reason", "tool_calls" if reply.get("tool_calls") else "stop")
        message = {"role": "assistant", "tool_calls": [], **reply}
        return web.json_response(
            {
                "id": "replay",
                "object": "chat.completion",
                "created": 0,
                "model": body["model"],
                "choices": [{"index": 0, "message": message, "finish_reason": finish}],
                "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
            }
        )
