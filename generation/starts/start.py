"""Start states: dialogues of any origin to go on from — tasks to play, conversations to extend, turns to fork at.

A line of the file is a dialogue of ours, whole or in the making, or any conversation in OpenAI's format: {"messages": […]} with,
where known, "tools", "tasks", "domain" and an id. What is missing is made.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Literal

from pydantic import Field, ValidationError

from core.dialogue import Dialogue, Task
from core.messages import AssistantMessage, Message, ToolMessage
from core.settings import Settings, UserError
from generation.starts.foreign import conversation, tools_of


class StartSettings(Settings):
    """`file` holds the dialogues to go on from; None starts from nothing. `at` is where: "end" extends a dialogue with further
    tasks, a message index or "random" forks it there, in the middle of a task, `branches` times. `inject` gives a dialogue
    the tools of a seed domain beside its own, for tasks of another kind."""

    file: Path | None
    at: Literal["end", "random"] | int
    branches: int = Field(ge=1)
    inject: bool


@dataclass(frozen=True)
class Start:
    """One line of the file. `dialogue` is None where it cannot be used, for the reason in `problem`."""

    parent: str
    dialogue: Dialogue | None
    problem: str = ""


def read_starts(path: Path) -> tuple[Start, ...]:
    """Every line of the file; a line that cannot be used keeps its place, so that nothing is lost silently. Raises UserError where
    there is no such file or nothing in it."""
    if not path.is_file():
        raise UserError(f"start.file={path} was given, but there is no such file; JSONL of dialogues is expected")
    with path.open(encoding="utf-8") as lines:
        starts = tuple(_read(line, number, path) for number, line in enumerate(lines, start=1) if line.strip())
    if not starts:
        raise UserError(f"start.file={path} was given, but it is empty")
    return starts


def _read(line: str, number: int, path: Path) -> Start:
    where = f"{path.stem}-{number}"
    try:
        raw = json.loads(line)
        if not isinstance(raw, dict):
            raise ValueError("a JSON object is expected")
        dialogue = Dialogue.model_validate(raw) if "pipeline" in raw else _foreign(raw, where)
        return Start(dialogue.dialogue_id, dialogue)
    except ValidationError as error:
        first = error.errors()[0]
        problem = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    except (ValueError, RecursionError) as error:
        problem = str(error)
    return Start(where, None, f"{path}, line {number}: {problem}")


def _foreign(raw: dict[str, Any], where: str) -> Dialogue:
    """A conversation in OpenAI's format, as context for what is made here. Raises ValueError for what cannot be understood."""
    messages = conversation(raw)
    tasks = raw.get("tasks") or ()
    return Dialogue(
        dialogue_id=str(raw.get("dialogue_id") or raw.get("id") or raw.get("uuid") or where),
        pipeline="given",
        domain=str(raw.get("domain") or ""),
        tools=tools_of(raw.get("tools"), messages),
        messages=messages,
        given=len(messages),
        tasks=tuple(_task(task, number) for number, task in enumerate(tasks)),
    )


def _task(raw: Any, number: int) -> Task:
    """A task as it is given: a goal alone, or what a Task holds as far as it is known."""
    known = {"goal": raw} if isinstance(raw, str) else dict(raw)
    goal = str(known.get("goal", "")).strip()
    if not goal:
        raise ValueError(f'task {number} has no "goal"')
    criteria = {"criteria": [f"The assistant gets this done: {goal}"]}
    defaults = {"task_id": f"t{number}", "subgoals": [goal], "difficulty": "medium", "rubric": criteria}
    return Task.model_validate(defaults | known)


def begin(start: Dialogue, dialogue_id: str, at: Literal["end", "random"] | int, rng: Random) -> Dialogue:
    """A new dialogue that goes on from `start`: extended at its end, or forked at a message. Raises ValueError where `at` lies
    outside what can be played on."""
    messages, starts, stop = start.messages, start.task_starts, "complete" if start.stop == "complete" else "open"
    if at != "end":
        messages = messages[: fork_point(start, rng) if at == "random" else lawful_fork(start, at)]
        starts = tuple(position for position in starts if position < len(messages))
        stop = "open"
    tasks = start.tasks if at == "end" else start.tasks[: len(starts)]
    renamed = {task.task_id: f"{dialogue_id}/t{number}" for number, task in enumerate(tasks)}
    return Dialogue(
        dialogue_id=dialogue_id,
        pipeline=start.pipeline,
        domain=start.domain,
        tools=start.tools,
        messages=messages,
        tasks=tuple(
            task.model_copy(
                update={"task_id": renamed[task.task_id], "follows_from": renamed.get(task.follows_from or "")}
            )
            for task in tasks
        ),
        task_starts=starts,
        given=min(start.given, len(messages)),
        stop=stop,
        state=start.state if at == "end" else None,
        provenance=start.provenance | {"parent": start.dialogue_id, "parent_messages": len(messages)},
    )


def fork_point(start: Dialogue, rng: Random) -> int:
    """A random place where the agent is about to act. Raises ValueError where there is none."""
    places = [end for end in _places(start) if not _ends_in_answer(start.messages[:end])]
    if not places:
        raise ValueError("start: nothing was played here that could be forked")
    return rng.choice(places)


def lawful_fork(start: Dialogue, at: int) -> int:
    """`at`, or the next smaller index at which somebody is to act. Raises ValueError where there is none."""
    places = [end for end in _places(start) if end <= at]
    if not places:
        raise ValueError(
            f"start: it cannot be forked at message {at}: its first task begins at {start.task_starts[:1]}"
        )
    return max(places)


def _places(start: Dialogue) -> Iterator[int]:
    """Numbers of messages after which the dialogue can go on: within a task, no call unanswered."""
    if not start.task_starts:
        return
    waiting: set[str] = set()
    for position, message in enumerate(start.messages):
        if isinstance(message, AssistantMessage):
            waiting = {call.id for call in message.tool_calls or ()}
        elif isinstance(message, ToolMessage):
            waiting.discard(message.tool_call_id)
        if position >= start.task_starts[0] and not waiting and position + 1 < len(start.messages):
            yield position + 1


def _ends_in_answer(messages: tuple[Message, ...]) -> bool:
    return isinstance(messages[-1], AssistantMessage)
