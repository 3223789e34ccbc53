"""In-process OpenAI-compatible servers that misbehave on demand, and clients for them."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from aiohttp import web

from core.dialogue import Rubric, Task
from core.messages import SystemMessage, ToolSpec, UserMessage
from core.servers import free_ports
from generation.llm.base import Request
from generation.llm.contexts import AgentContext
from generation.llm.openai import OpenAILLM

TASK = Task(task_id="t", goal="g", subgoals=("g",), difficulty="easy", rubric=Rubric(criteria=("c",)))
TOOL = ToolSpec(
    name="get_member",
    description="One member.",
    parameters={
        "type": "object",
        "properties": {"member_id": {"type": "integer"}},
        "required": ["member_id"],
        "additionalProperties": False,
    },
)
REQUEST = Request(
    role="agent",
    messages=(SystemMessage(content="Help."), UserMessage(content="Who is member 3?")),
    key="d1/agent/0",
    affinity="d1",
    context=AgentContext(task=TASK, task_start=1),
    tools=(TOOL,),
)

Answer = Callable[[dict[str, Any]], web.Response | Awaitable[web.Response]]


def reply(message: dict[str, Any] | None = None, finish_reason: str = "stop") -> web.Response:
    message = {"role": "assistant", "content": "hello"} if message is None else {"role": "assistant"} | message
    usage = {"prompt_tokens": 11, "completion_tokens": 7}
    return web.json_response({"choices": [{"message": message, "finish_reason": finish_reason}], "usage": usage})


@dataclass
class Mock:
    """A server that plays `script` answer by answer, then repeats the last one. `most` is its peak of concurrent
    requests."""

    script: list[Answer]
    models: tuple[str, ...] = ("tiny",)
    context: int | None = None
    url: str = ""
    seen: list[dict[str, Any]] = field(default_factory=list)
    authorization: str | None = None
    now: int = 0
    most: int = 0

    async def chat(self, request: web.Request) -> web.Response:
        self.authorization = request.headers.get("Authorization")
        self.seen.append(await request.json())
        answer = self.script[min(len(self.seen), len(self.script)) - 1]
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            response = answer(self.seen[-1])
            return await response if inspect.isawaitable(response) else response
        finally:
            self.now -= 1

    @property
    def dialogues(self) -> list[str]:
        """The dialogue of each request, by its first message (`request_of`)."""
        return [str(body["messages"][0]["content"]) for body in self.seen]

    async def list_models(self, request: web.Request) -> web.Response:
        return web.json_response({"data": [{"id": name, "max_model_len": self.context} for name in self.models]})


@asynccontextmanager
async def serving(
    *script: Answer, models: tuple[str, ...] = ("tiny",), port: int = 0, context: int | None = None
) -> AsyncIterator[Mock]:
    """A server at `port` (0: any); on exit it closes every open connection."""
    mock = Mock(list(script) or [lambda _: reply()], models, context)
    app = web.Application()
    app.add_routes([web.post("/v1/chat/completions", mock.chat), web.get("/v1/models", mock.list_models)])
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.01)
    await runner.setup()
    port = port or free_ports(1)[0]
    await web.TCPSite(runner, "127.0.0.1", port, reuse_address=True).start()
    mock.url = f"http://127.0.0.1:{port}/v1"
    try:
        yield mock
    finally:
        await runner.cleanup()


@asynccontextmanager
async def client(*urls: str, **options: Any) -> AsyncIterator[OpenAILLM]:
    llm = OpenAILLM(list(urls), **({"backoff_s": 0.001, "retries": 3} | options))
    try:
        yield llm
    finally:
        await llm.close()


def status(code: int, text: str = "no", **headers: str) -> Answer:
    return lambda _: web.Response(status=code, text=text, headers={k.replace("_", "-"): v for k, v in headers.items()})


def slow(seconds: float) -> Answer:
    """Answers after `seconds`."""

    async def answer(_: dict[str, Any]) -> web.Response:
        await asyncio.sleep(seconds)
        return reply()

    return answer


def request_of(dialogue: str, turn: int = 0, **changes: Any) -> Request:
    """A request of that dialogue, which the server recognises by its first message."""
    key = f"{dialogue}/agent/{turn}"
    return replace(REQUEST, messages=(UserMessage(content=dialogue),), affinity=dialogue, key=key, **changes)
