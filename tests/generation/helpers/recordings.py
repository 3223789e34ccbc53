"""Recorded answers of a real model: a server that answers from them, and a proxy that makes them.

`python -m tests.generation.helpers.recordings UPSTREAM FILE PORT` forwards requests on 127.0.0.1:PORT to the
OpenAI-compatible server at UPSTREAM (such as http://127.0.0.1:8000/v1) and appends each answer to FILE, one line each.
Requests are recognised by their sampling seed, which derives from the run's seed and the request's key alone. So a run
with the same configuration gets the same answers, whatever its prompts say by now; a request that was never recorded
gets the next answer of its role.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import ClientSession, ClientTimeout, web

from core.servers import free_ports

MODEL = "recorded"


def role_of(body: dict[str, Any]) -> str:
    """The role of a request: its schema is named after it, and the agent is the only one without a schema."""
    return str(body["response_format"]["json_schema"]["name"]) if "response_format" in body else "agent"


@dataclass
class RecordedServer:
    """Answers from recordings. `misses` counts requests by role that were never recorded."""

    file: Path
    url: str = ""
    misses: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def __post_init__(self) -> None:
        self.recordings = [json.loads(line) for line in self.file.read_text().splitlines()]
        self._by_seed = {(line["role"], line["seed"]): line for line in self.recordings}

    def answer(self, body: dict[str, Any]) -> dict[str, Any]:
        if "seed" not in body:  # a check of the server
            return {"choices": [{"message": {"content": "Hello."}, "finish_reason": "stop"}]}
        role = role_of(body)
        line = self._by_seed.get((role, body["seed"]))
        if line is None:
            of_role = [line for line in self.recordings if line["role"] == role]
            line = of_role[self.misses[role] % len(of_role)]
            self.misses[role] += 1
        choice = {"message": line["message"], "finish_reason": line["finish_reason"]}
        return {"choices": [choice], "usage": line["usage"]}


@asynccontextmanager
async def recorded_server(file: Path) -> AsyncIterator[RecordedServer]:
    """Serve a file of recordings."""
    server = RecordedServer(file)

    async def chat(request: web.Request) -> web.Response:
        return web.json_response(server.answer(await request.json()))

    async def models(request: web.Request) -> web.Response:
        return web.json_response({"data": [{"id": MODEL}]})

    app = web.Application()
    app.add_routes([web.post("/v1/chat/completions", chat), web.get("/v1/models", models)])
    runner = web.AppRunner(app, shutdown_timeout=0.01)
    await runner.setup()
    (port,) = free_ports(1)
    await web.TCPSite(runner, "127.0.0.1", port).start()
    server.url = f"http://127.0.0.1:{port}/v1"
    try:
        yield server
    finally:
        await runner.cleanup()


def recorded(body: dict[str, Any], reply: dict[str, Any]) -> dict[str, Any]:
    """One line of a file of recordings."""
    (choice,) = reply["choices"]
    message = {key: value for key, value in choice["message"].items() if value and key != "role"}
    usage = {key: reply["usage"][key] for key in ("prompt_tokens", "completion_tokens")}
    line = {"role": role_of(body), "seed": body["seed"], "message": message}
    return line | {"finish_reason": choice["finish_reason"], "usage": usage}


async def record(upstream: str, file: Path, port: int) -> None:
    """Forward requests and append their answers to `file`, until interrupted."""
    async with ClientSession(timeout=ClientTimeout(total=None)) as session:

        async def forward(request: web.Request) -> web.Response:
            body = await request.read()
            url = f"{upstream}/{request.path.removeprefix('/v1/')}"
            async with session.request(request.method, url, data=body or None, headers=_JSON) as response:
                text = await response.text()
                asked = json.loads(body) if request.path.endswith("/chat/completions") else {}
                if response.status == web.HTTPOk.status_code and "seed" in asked:  # a check of the server has none
                    with file.open("a") as lines:
                        line = json.dumps(recorded(asked, json.loads(text)), ensure_ascii=False)
                        lines.write(f"{line}\n")
                return web.Response(status=response.status, text=text, content_type="application/json")

        app = web.Application(client_max_size=64 * 2**20)
        app.router.add_route("*", "/{path:.*}", forward)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        await asyncio.Event().wait()


_JSON = {"Content-Type": "application/json"}

if __name__ == "__main__":
    asyncio.run(record(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])))
