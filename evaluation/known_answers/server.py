"""A chat-completions server whose answers are known: a brain decides each from the request.

`ReplayServer` runs in a thread, for tests; `serve` fills a process of its own (`python -m evaluation.known_answers`).
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from typing import Any

from aiohttp import web

MODEL = "replay_model/x"
Reply = dict[str, Any]
"""An assistant message, perhaps with its own "finish_reason"; or {"status", "message"}, which refuses the request, perhaps with a
"code" and "headers" of its own; or {"answer"}, a body that is sent as it is; or {"hang": True}, one whose bytes never end."""
AnswerPolicy = Callable[[dict[str, Any]], Reply]
"""Decides from the request's body, to which the server adds "request_id": the X-Request-Id header, or ""."""


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


def application(
    brain: AnswerPolicy, seen: list[dict[str, Any]] | None = None, key: Callable[[], str] = lambda: ""
) -> web.Application:
    """The HTTP side of a brain; request bodies are appended to `seen`. Where there is a `key`, only who has it is told which models
    are served. GET /figures tells how many requests there were."""
    count = 0

    async def answer(request: web.Request) -> web.StreamResponse:
        nonlocal count
        count += 1
        body = await request.json()
        body["request_id"] = request.headers.get("X-Request-Id", "")
        if seen is not None:
            seen.append(body)
        reply = brain(body)
        if "hang" in reply:
            return await _endless(request)
        if "status" in reply:
            code = reply.get("code", reply["status"])
            error = {"message": reply["message"], "type": "BadRequestError", "code": code}
            return web.json_response({"error": error}, status=reply["status"], headers=reply.get("headers"))
        if "answer" in reply:
            return web.json_response(reply["answer"])
        return web.json_response(_completion(reply, body["model"]))

    async def models(request: web.Request) -> web.Response:
        if key() and request.headers.get("Authorization") != f"Bearer {key()}":
            return web.json_response({"error": {"message": "wrong key"}}, status=401)
        return web.json_response({"object": "list", "data": [{"id": MODEL, "object": "model"}]})

    async def figures(_: web.Request) -> web.Response:
        return web.json_response({"requests": count})

    app = web.Application(client_max_size=2**26)
    app.router.add_post("/v1/chat/completions", answer)
    app.router.add_get("/v1/models", models)
    app.router.add_get("/figures", figures)
    return app


async def _endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    await response.prepare(request)
    await response.write(b'{"choices": [')
    while True:  # until the client has had enough
        await asyncio.sleep(0.05)
        await response.write(b" " * 16)


def _completion(reply: Reply, model: str) -> dict[str, Any]:
    finish = reply.pop("finish_reason", "tool_calls" if reply.get("tool_calls") else "stop")
    return {
        "id": "replay",
        "object": "chat.completion",
        "created": 0,
        "model": model,
        "choices": [{"index": 0, "message": {"role": "assistant", "tool_calls": [], **reply}, "finish_reason": finish}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
    }


async def serve(brain: AnswerPolicy, port: int) -> None:
    """On 127.0.0.1, until the process is ended."""
    runner = web.AppRunner(application(brain), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=1024).start()
    await asyncio.Event().wait()


class ReplayServer:
    """In a thread, from construction until `close`; `requests` keeps every request body. `brain` may be replaced meanwhile. With a
    `key` it does not tell others which models it serves."""

    key = ""

    def __init__(self, brain: AnswerPolicy) -> None:
        self.requests: list[dict[str, Any]] = []
        self.port = 0
        self.brain = brain
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        if not self._ready.wait(10):
            raise RuntimeError("the replay server did not start")

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def die(self) -> None:
        """For brains: hang up on everybody in a moment, and be gone."""

        async def hang_up() -> None:
            await self._site.stop()
            if self._runner.server:
                await self._runner.server.shutdown(0)

        self._death = self._loop.create_task(hang_up())

    def _decide(self, body: dict[str, Any]) -> Reply:
        return self.brain(body)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        app = application(self._decide, self.requests, lambda: self.key)
        self._runner = runner = web.AppRunner(app, shutdown_timeout=0.1)
        self._loop.run_until_complete(runner.setup())
        self._site = site = web.TCPSite(runner, "127.0.0.1", 0)
        self._loop.run_until_complete(site.start())
        self.port = runner.addresses[0][1]
        self._ready.set()
        self._loop.run_forever()
        self._loop.run_until_complete(runner.cleanup())
