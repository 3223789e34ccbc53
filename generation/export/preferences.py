"""Preferences between two messages of an assistant in exactly the same state: after one of them the task is solved,
after the other it is not. Execution decides both.

An accepted dialogue is forked where its assistant wrote a message. A slip takes the message's place: a claim without
the call, a call with a wrong value, or the change before the user was asked. The stand-in plays both forks to their
end against the same user. A slip that it makes good gives no pair, nor does one after which it breaks a rule itself.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from core.dialogue import Dialogue, PlannedCall
from core.journal import write_jsonl
from core.messages import AssistantMessage, Frozen, Message, ToolCall, ToolSpec
from generation.export.task_hash import task_hash
from generation.export.tasks import GenerationRun, write_worlds
from generation.llm.base import LLM, Completion, Request
from generation.scripted.llm import ScriptedLLM
from generation.specs.naming import changes
from generation.utterances.answers import asks
from generation.validation.blame import blame
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
        self._given: AssistantMessage | None = message
        self._then = then or ScriptedLLM(error_rate=0.0)
        self.name = self._then.name

    async def complete(self, request: Request) -> Completion:
        given, self._given = self._given, None
        return Completion(given, model=self.name) if given else await self._then.complete(request)

    async def close(self) -> None:
        """Does nothing: no resources to release."""


def write_preferences(folder: Path, dialogues: Iterable[Dialogue], run: GenerationRun) -> int:
    """Write folder/pairs.jsonl, in order of dialogue and message; returns the number of pairs."""
    accepted = list(dialogues)
    with TemporaryDirectory() as scratch:
        write_worlds(Path(scratch), accepted, run)
        with Worlds(Path(scratch)) as worlds:
            pairs = asyncio.run(_pairs(worlds, accepted))
    write_jsonl(folder / "pairs.jsonl", pairs)
    return len(pairs)


async def _pairs(worlds: Worlds, dialogues: Iterable[Dialogue]) -> list[Pair]:
    found: list[Pair] = []
    for dialogue in dialogues:
        for number in range(len(dialogue.tasks)):
            if f"{dialogue.dialogue_id}/{number}" in worlds.tasks:
                found += [pair async for pair in pairs_of(worlds, dialogue, number)]
    return found


async def pairs_of(worlds: Worlds, dialogue: Dialogue, number: int) -> AsyncIterator[Pair]:
    """The pairs of one task, at most one for each message of the assistant."""
    start = dialogue.task_starts[number]
    for position, message in enumerate(dialogue.part(number), start):
        if not isinstance(message, AssistantMessage):
            continue
        fork, chosen = _fork(worlds, dialogue, number, position), _bare(message)
        for why, slip in slips(dialogue, number, position):
            played = await worlds.play(fork, StartingWith(slip))
            if not _fails_by(played, position):
                continue
            if (await worlds.play(fork, StartingWith(chosen))).solved:
                yield Pair(
                    prompt=tuple(map(_bare, dialogue.messages[:position])),
                    chosen=(chosen,),
                    rejected=(slip,),
                    tools=_tools(dialogue.tools_at(position)),
                    dialogue_id=dialogue.dialogue_id,
                    task=number,
                    task_hash=task_hash(dialogue.tasks[number]),
                    position=position,
                    why=why,
                    reasons=played.reasons,
                )
                break


def _fails_by(played: Played, position: int) -> bool:
    """Whether the agent failed and, if only a rule of the policy was broken, message `position` broke it."""
    failed = [check for check in played.checks if not check.passed]
    if played.failure or not failed or blame(played.dialogue, played.checks, {}) != "agent":
        return False
    return any(check.name != "policy" or f"(message {position})" in check.detail for check in failed)


def _fork(worlds: Worlds, dialogue: Dialogue, number: int, position: int) -> Dialogue:
    """The dialogue before message `position` of task `number`."""
    start = worlds.tasks[f"{dialogue.dialogue_id}/{number}"].start
    return start.model_copy(
        update={
            "messages": tuple(map(_bare, dialogue.messages[:position])),
            "task_starts": dialogue.task_starts[: number + 1],
            "late_tools": {name: index for name, index in dialogue.late_tools.items() if index < position},
            "stop": "open",
        }
    )


def slips(dialogue: Dialogue, number: int, position: int) -> Iterator[tuple[str, AssistantMessage]]:
    """(kind, message) of the mistakes that may take the place of a message. Whether they are any, execution tells."""
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
            yield "changed before asking", AssistantMessage(tool_calls=(_made(due[-1], position),))


def _altered(call: ToolCall) -> ToolCall:
    """The call with its last argument, mostly the new value, changed."""
    arguments: dict[str, Any] = call.parsed()
    if arguments:
        name, value = list(arguments.items())[-1]
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        arguments[name] = not value if isinstance(value, bool) else value + 1 if is_number else f"{value} x"
    return ToolCall.make(call.id, call.name, arguments)


def _made(call: PlannedCall, position: int) -> ToolCall:
    return ToolCall.make(f"call_{position}_0", call.tool, call.arguments)


def _bare(message: Any) -> Any:
    """A message without reasoning: slips have none, and it must not tell the two apart."""
    return message.model_copy(update={"reasoning_content": None}) if isinstance(message, AssistantMessage) else message


def _tools(tools: Iterable[ToolSpec]) -> str:
    return json.dumps([tool.openai() for tool in tools], ensure_ascii=False)
