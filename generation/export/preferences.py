"""Preferences between two messages of an assistant in exactly the same state: after one of them the task is solved,
after the other it is not. Execution decides both.

An accepted dialogue is forked where its assistant wrote a message. A slip takes the message's place: a claim without
the call, a call with a wrong value, or the change before the user was asked. The stand-in plays both forks to their
end against the same user. A slip that it repairs gives no pair, nor does one after which it breaks a rule itself.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from core.dialogue import Dialogue, PlannedCall
from core.journal import write_jsonl
from core.messages import AssistantMessage, Frozen, Message, ToolCall, ToolSpec
from generation.export.tasks import GenerationRun, fork, playable_tasks, without_reasoning
from generation.llm.base import LLM, Completion, Request
from generation.scripted.llm import ScriptedLLM
from generation.specs.naming import changes
from generation.utterances.answers import asks
from generation.validation.blame import blame
from generation.worlds.task_line import task_hash
from generation.worlds.worlds import Played, Worlds


class Pair(Frozen):
    """One line of preferences/pairs.jsonl, in TRL's conversational format for DPO. `tools` are a JSON string, and so
    are the arguments of calls; `why` says which slip the rejected message is, `reasons` what failed after it."""

    prompt: tuple[Message, ...]
    chosen: tuple[AssistantMessage, ...]
    rejected: tuple[AssistantMessage, ...]
    tools: str
    dialogue_id: str
    task: int
    task_hash: str
    position: int
    why: str
    reasons: tuple[str, ...]


class StartingWith:
    """Implements generation.llm.base.LLM for an agent whose next message is given; then another one goes on, by default
    the stand-in without mistakes."""

    def __init__(self, message: AssistantMessage, then: LLM | None = None) -> None:
        self._message: AssistantMessage | None = message
        self._then = then or ScriptedLLM(error_rate=0.0)
        self.name = self._then.name

    async def complete(self, request: Request) -> Completion:
        message, self._message = self._message, None
        return Completion(message, model=self.name) if message else await self._then.complete(request)

    async def close(self) -> None:
        """Does nothing: no resources to release."""


def write_preferences(folder: Path, dialogues: Iterable[Dialogue], run: GenerationRun) -> tuple[int, int]:
    """Write folder/pairs.jsonl, in order of dialogue and message; returns the number of pairs and of the tasks that
    were tried. Only one dialogue at a time is in memory."""
    count, tried = 0, 0

    def pairs() -> Iterator[Pair]:
        nonlocal count, tried
        with run.worlds() as worlds, asyncio.Runner() as runner:
            for dialogue in dialogues:
                numbers = playable_tasks(dialogue, worlds)
                tried += len(numbers)
                for pair in runner.run(_pairs(worlds, dialogue, numbers)):
                    count += 1
                    yield pair

    write_jsonl(folder / "pairs.jsonl", pairs())
    return count, tried


async def _pairs(worlds: Worlds, dialogue: Dialogue, numbers: Iterable[int]) -> list[Pair]:
    """The pairs of these tasks of a dialogue, at most one for each message of the assistant."""
    pairs = [
        await _pair(worlds, dialogue, number, position)
        for number in numbers
        for position, message in enumerate(dialogue.part(number), dialogue.task_starts[number])
        if isinstance(message, AssistantMessage)
    ]
    return [pair for pair in pairs if pair]


async def _pair(worlds: Worlds, dialogue: Dialogue, number: int, position: int) -> Pair | None:
    """The message at `position`, in task `number`, and the first slip after which the agent fails; None if there is no
    such slip, or if the message itself does not lead to a solution."""
    start = fork(dialogue, worlds.toolsets[dialogue.domain], number, position)
    chosen = without_reasoning(dialogue.messages[position])
    assert isinstance(chosen, AssistantMessage), "only the assistant slips"
    for why, slip in slips(dialogue, number, position):
        rejected = await worlds.play(start, StartingWith(slip))
        if not _fails_by(rejected, position):
            continue
        if not (await worlds.play(start, StartingWith(chosen))).solved:
            return None
        return Pair(
            prompt=start.messages,
            chosen=(chosen,),
            rejected=(slip,),
            tools=_tools(dialogue.tools_at(position)),
            dialogue_id=dialogue.dialogue_id,
            task=number,
            task_hash=task_hash(dialogue.tasks[number]),
            position=position,
            why=why,
            reasons=rejected.reasons,
        )
    return None


def _fails_by(played: Played, position: int) -> bool:
    """Whether the agent failed and, if only a rule of the policy was broken, message `position` broke it."""
    failed = [check for check in played.checks if not check.passed]
    if played.failure or not failed or blame(played.dialogue, played.checks, {}) != "agent":
        return False
    return any(check.name != "policy" or f"(message {position})" in check.detail for check in failed)


def slips(dialogue: Dialogue, number: int, position: int) -> Iterator[tuple[str, AssistantMessage]]:
    """(kind, message) of what may be a mistake in the place of a message; execution decides whether it is one."""
    message = dialogue.messages[position]
    assert isinstance(message, AssistantMessage), "only the assistant slips"
    changing = [call for call in message.tool_calls or () if changes(call.name)]
    if changing:
        spoken = (m for m in dialogue.messages[position:] if isinstance(m, AssistantMessage) and not m.tool_calls)
        yield "claimed without a call", AssistantMessage(content=next(spoken).content)
        wrong = [_altered(call) if call in changing else call for call in message.tool_calls or ()]
        yield "wrong value", AssistantMessage(tool_calls=tuple(wrong))
    elif not message.tool_calls and asks(message.content):
        task = dialogue.tasks[number]
        offered = {tool.name for tool in dialogue.tools_at(position)}
        due = [call for call in task.gold_calls if changes(call.tool) and call.tool in offered]
        if due:
            yield "changed before asking", AssistantMessage(tool_calls=(_agent_call(due[-1], position),))


def _altered(call: ToolCall) -> ToolCall:
    """The call with its last argument, mostly the new value, changed."""
    arguments: dict[str, Any] = call.parsed()
    if arguments:
        name, value = list(arguments.items())[-1]
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        arguments[name] = not value if isinstance(value, bool) else value + 1 if is_number else f"{value} x"
    return ToolCall.make(call.id, call.name, arguments)


def _agent_call(call: PlannedCall, position: int) -> ToolCall:
    return ToolCall.make(f"call_{position}_0", call.tool, call.arguments)


def _tools(tools: Iterable[ToolSpec]) -> str:
    return json.dumps([tool.openai() for tool in tools], ensure_ascii=False)
