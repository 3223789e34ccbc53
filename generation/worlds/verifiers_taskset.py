"""Exported tasks in `verifiers` (its API verifiers.v1): a taskset, and the harness that plays its tasks in process.

verifiers serves the model and records the trace; dialogue, user, tools and reward come from generation.worlds. The
model reaches nothing but its messages and its tools: no program runs, and the solution of a task stays in this
process. An exported package subclasses WorldTaskset with its folder. Importable only where verifiers is installed, in
an environment of its own (scripts/setup_verifiers.sh): its pins conflict with the project's.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import verifiers.v1 as vf
from openai import AsyncOpenAI
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
            for line in _worlds(str(self.FOLDER)).tasks.values()
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
        """Raises RuntimeError if the user simulator failed or the task does not hold any more: no reward then."""
        assert isinstance(data, WorldData), "the harness plays its own taskset"
        worlds = _worlds(data.folder)
        async with AsyncOpenAI(base_url=endpoint, api_key=secret) as client:
            agent = OutsideModel(ctx.model, ServedAgent(client, ctx.model))
            played = await worlds.play(worlds.tasks[str(data.id)].start, agent, _user(self.config))
        if played.failure:
            raise RuntimeError(f"the task could not be played: {played.failure}")
        trace.state.reward, trace.state.reasons = played.reward, list(played.reasons)
        return vf.ProgramResult(exit_code=0, stdout="", stderr="")


class WorldEnvConfig(vf.EnvConfig):
    """The agent's loop runs in this process, so it needs no sandbox."""

    agent: vf.AgentConfig = vf.AgentConfig(runtime=vf.SubprocessConfig())


class WorldEnv(vf.Env[WorldEnvConfig]):
    """One agent plays one task."""

    async def run(self, task: vf.Task, agents: vf.Agents) -> None:
        await agents.agent.run(task)


@cache
def _worlds(folder: str) -> Worlds:
    """The worlds of a folder, with their databases in memory, shared by all rollouts of this process."""
    return Worlds.open(Path(folder))


def _user(config: WorldHarnessConfig) -> OutsideModel | None:
    if config.user_base_url is None:
        return None
    client = AsyncOpenAI(base_url=config.user_base_url, api_key=os.environ.get(config.user_api_key_var, "EMPTY"))

    async def answer(messages: tuple[Message, ...], tools: tuple[ToolSpec, ...]) -> AssistantMessage:
        return _parsed(await _request(client, config.user_model, list(map(_wire, messages)), tools), len(messages))

    return OutsideModel(config.user_model, answer)


class ServedAgent:
    """The model behind verifiers' endpoint, as the agent of one dialogue. Its own messages are sent back as they came,
    with the server's call ids, so that a trainer recognises the tokens that it sampled."""

    def __init__(self, client: AsyncOpenAI, model: str) -> None:
        self.client = client
        self.model = model
        self._sampled: dict[int, dict[str, Any]] = {}
        self._ids: dict[str, str] = {}

    async def __call__(self, messages: tuple[Message, ...], tools: tuple[ToolSpec, ...]) -> AssistantMessage:
        sent = [self._sampled.get(position) or self._result(_wire(m)) for position, m in enumerate(messages)]
        place = len(messages)
        raw = self._sampled[place] = await _request(self.client, self.model, sent, tools)
        self._ids |= {_call_id(place, n): call["id"] for n, call in enumerate(raw.get("tool_calls", ()))}
        return _parsed(raw, place)

    def _result(self, message: dict[str, Any]) -> dict[str, Any]:
        """A message with the server's id of the call that it answers, if it answers one."""
        call_id = message.get("tool_call_id")
        return message | {"tool_call_id": self._ids.get(call_id, call_id)} if call_id else message


async def _request(
    client: AsyncOpenAI, model: str, messages: list[dict[str, Any]], tools: tuple[ToolSpec, ...]
) -> dict[str, Any]:
    """The answer's message as the server sent it."""
    body: dict[str, Any] = {"model": model, "messages": messages}
    if tools:
        body["tools"] = [tool.openai() for tool in tools]
    completion = await client.chat.completions.create(**body)
    raw: dict[str, Any] = completion.choices[0].message.model_dump(exclude_none=True)
    return raw


def _wire(message: Message) -> dict[str, Any]:
    return message.model_dump(exclude_none=True)


def _parsed(raw: dict[str, Any], place: int) -> AssistantMessage:
    """The message at that place of a dialogue."""
    functions = [call["function"] for call in raw.get("tool_calls", ())]
    calls = tuple(
        ToolCall(id=_call_id(place, number), function=FunctionCall(name=f["name"], arguments=f["arguments"]))
        for number, f in enumerate(functions)
    )
    reasoning = raw.get("reasoning_content") or raw.get("reasoning")
    return AssistantMessage(content=raw.get("content") or "", reasoning_content=reasoning, tool_calls=calls or None)


def _call_id(place: int, number: int) -> str:
    """The id that a dialogue gives a call (generation.dialogue.agent)."""
    return f"call_{place}_{number}"
