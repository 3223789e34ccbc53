"""A chat-completions server with known answers: an answer policy computes each reply from the request."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

from aiohttp import web

MODEL = "replay_model/x"
Reply = dict[str, Any]
"""One of:
- an assistant message, optionally with "finish_reason";
- {"status", "message"}, optionally with "code" and "headers": an HTTP error;
- {"answer"}: a response body, sent unchanged;
- {"hang": True}: a response body that never ends."""
AnswerPolicy = Callable[[dict[str, Any]], Reply]
"""Maps a request body to its reply. The server adds "request_id" to the body: the X-Request-Id header, or ""."""


def say(text: str, **more: Any) -> Reply:
    return {"content": text, **more}


def call(*calls: tuple[str, Any], reasoning: str | None = None) -> Reply:
    """A reply with tool calls. Arguments given as a string are sent unchanged."""
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
    policy: AnswerPolicy, seen: list[dict[str, Any]] | None = None, key: Callable[[], str] = lambda: ""
) -> web.Application:
    """Serves `policy` over HTTP and appends request bodies to `seen`.

    If `key` returns a key, GET /v1/models requires it. GET /figures returns the number of requests so far.
    """
    count = 0

    async def answer(request: web.Request) -> web.StreamResponse:
        nonlocal count
        count += 1
        body = await request.json()
        body["request_id"] = request.headers.get("X-Request-Id", "")
        if seen is not None:
            seen.append(body)
        reply = policy(body)
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
    while True:  # until the client hangs up
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


async def serve(policy: AnswerPolicy, port: int) -> None:
    """Serves `policy` on 127.0.0.1 until the process ends."""
    runner = web.AppRunner(application(policy), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=1024).start()
    await asyncio.Event().wait()
