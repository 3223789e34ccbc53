"""Exported tasks in `verifiers` (its API verifiers.v1): a taskset, and the harness that plays its tasks in this process.

verifiers serves the model and records the trace; the dialogue, its user, its tools and its reward are those of
generation.worlds. The model reaches nothing but its messages and its tools: no program runs, and the solution of a task
stays in this process. An exported package subclasses WorldTaskset with its folder. Importable only where verifiers is
installed, in an environment of its own (scripts/setup_verifiers.sh): its pins conflict with the project's.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import verifiers.v1 as vf
from openai import AsyncOpenAI, omit
from pydantic import Field

from core.messages import AssistantMessage, FunctionCall, Message, ToolCall, ToolSpec
from generation.worlds.worlds import OutsideModel, Worlds


class WorldState(vf.State):
    """The verdict on a played task: what failed, if anything did."""

    reward: float = 0.0
    reasons: list[str] = Field(default_factory=list)


class WorldData(vf.TaskData):
    """A task as traces show it: neither its goal nor its solution. `folder` is its folder of worlds."""

    folder: str
    task_hash: str
    domain: str
    kind: str
    difficulty: str


class WorldTask(vf.Task[WorldData, WorldState]):
    """The reward is the verdict by execution."""

    @property
    def key(self) -> str:
        return str(self.data.id)

    @vf.reward(weight=1.0)
    async def solved(self, trace: vf.Trace) -> float:
        """1 if state, told values, conduct and policy are right, else 0."""
        return float(trace.state.reward)


class WorldTasksetConfig(vf.TasksetConfig):
    """No settings besides those of every taskset."""


class WorldTaskset(vf.Taskset[WorldTask, WorldTasksetConfig]):
    """The tasks of a folder of worlds."""

    FOLDER: ClassVar[Path]

    def load(self) -> list[WorldTask]:
        # The user opens the conversation: an empty prompt instead of none keeps a single agent.
        return [
            WorldTask(
                WorldData(
                    id=line.task_id,
                    prompt=[],
                    folder=str(self.FOLDER),
                    **{key: value for key, value in line.summary.items() if key != "task_id"},
                ),
                self.config.task,
            )
            for line in _worlds(str(self.FOLDER)).tasks
        ]


class WorldHarnessConfig(vf.HarnessConfig):
    """Who plays the users: a model behind an OpenAI-compatible server, else the scripted stand-in."""

    user_base_url: str | None = None
    user_model: str = ""
    user_api_key_var: str = "OPENAI_API_KEY"


class WorldHarness(vf.Harness[WorldHarnessConfig]):
    """Plays a task in this process; every request to the model goes through verifiers' endpoint."""

    APPENDS_SYSTEM_PROMPT = True
    EXECUTES_CODE = False
    NEEDS_CONTAINER = False

    async def launch(
        self,
        ctx: vf.ModelContext,
        trace: vf.Trace,
        runtime: vf.Runtime,
        endpoint: str,
        secret: str,
        mcp_urls: dict[str, str],
        data: vf.TaskData,
    ) -> vf.ProgramResult:
        """Raises RuntimeError if the user simulator failed, so that the dialogue gets no reward."""
        config = self.config
        assert isinstance(data, WorldData), "the harness plays its own taskset"
        worlds = _worlds(data.folder, config.user_base_url, config.user_model, config.user_api_key_var)
        (line,) = (line for line in worlds.tasks if line.task_id == data.id)
        async with AsyncOpenAI(base_url=endpoint, api_key=secret) as client:
            played = await worlds.play(line.start, OutsideModel(ctx.model, ServedModel(client, ctx.model)))
        if played.failure:
            raise RuntimeError(f"the user simulator failed: {played.failure}")
        trace.state.reward, trace.state.reasons = played.reward, list(played.reasons)
        return vf.ProgramResult(exit_code=0, stdout="", stderr="")


@cache
def _worlds(folder: str, user_base_url: str | None = None, user_model: str = "", key_variable: str = "") -> Worlds:
    """The worlds of a folder, with their databases in memory, shared by all rollouts of this process."""
    if user_base_url is None:
        return Worlds(Path(folder))
    client = AsyncOpenAI(base_url=user_base_url, api_key=os.environ.get(key_variable, "EMPTY"))
    return Worlds(Path(folder), OutsideModel(user_model, ServedModel(client, user_model)))


class ServedModel:
    """A model behind an OpenAI-compatible server, for one dialogue or, as the user, for many.

    Its own messages are sent back as they came: a trainer recognises the tokens that it sampled.
    """

    def __init__(self, client: AsyncOpenAI, model: str) -> None:
        self.client = client
        self.model = model
        self._raw: dict[str, dict[str, Any]] = {}
        self._ids: dict[str, str] = {}

    async def __call__(self, messages: tuple[Message, ...], tools: tuple[ToolSpec, ...]) -> AssistantMessage:
        completion = await self.client.chat.completions.create(
            model=self.model,
            messages=[self._wire(message) for message in messages],  # type: ignore[misc]
            tools=[tool.openai() for tool in tools] if tools else omit,  # type: ignore[misc]
        )
        answer = completion.choices[0].message
        raw = answer.model_dump(exclude_none=True)
        # The dialogue gives each call an id by its place; what was sampled keeps the server's.
        ids = {f"call_{len(messages)}_{number}": call["id"] for number, call in enumerate(raw.get("tool_calls", ()))}
        calls = tuple(
            ToolCall(id=own, function=FunctionCall(**call["function"]))
            for own, call in zip(ids, raw.get("tool_calls", ()), strict=True)
        )
        self._ids |= ids
        for own in ids:
            self._raw[own] = raw
        reasoning = raw.get("reasoning_content") or raw.get("reasoning")
        return AssistantMessage(content=raw.get("content") or "", reasoning_content=reasoning, tool_calls=calls or None)

    def _wire(self, message: Message) -> dict[str, Any]:
        """A message as it is sent."""
        sent = message.model_dump(exclude_none=True)
        if isinstance(message, AssistantMessage) and message.tool_calls and message.tool_calls[0].id in self._raw:
            return self._raw[message.tool_calls[0].id]
        if sent.get("tool_call_id") in self._ids:
            sent["tool_call_id"] = self._ids[sent["tool_call_id"]]
        return sent
