"""StartState states: dialogues of any origin to go on from — tasks to play, conversations to extend, turns to fork at.

A line of the file is a dialogue of ours, whole or in the making (of dialogues.jsonl, or in a line of rejected.jsonl), or any
conversation in OpenAI's format: {"messages": […]} with, where known, "tools", "tasks", "domain" and an id. What is missing is made.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError

from core.dialogue import Dialogue, Task
from core.messages import AssistantMessage, Message, SystemMessage, ToolMessage, UserMessage, check_transcript
from core.provenance import Provenance
from core.settings import Settings, UserError
from generation.start_states.chat_formats import conversation, tools_of


def _place(value: Any) -> Any:
    if value in ("end", "random") or (isinstance(value, int) and value >= 0):
        return value
    raise ValueError("end, random or the index of a message, from 0, is expected")


class StartSettings(Settings):
    """`file` holds the dialogues to go on from; None starts from nothing. `at` is where: "end" extends a dialogue with further
    tasks, a message index or "random" forks it there, in the middle of a task, `branches` times. `inject` gives a dialogue
    the tools of a seed domain beside its own, for tasks of another kind."""

    file: Path | None
    at: Annotated[Literal["end", "random"] | int, BeforeValidator(_place)]
    branches: int = Field(ge=1)
    inject: bool


@dataclass(frozen=True)
class StartState:
    """One line of the file. `dialogue` is None where it cannot be used, for the reason in `problem`."""

    parent: str
    dialogue: Dialogue | None
    problem: str = ""


def read_starts(path: Path) -> tuple[StartState, ...]:
    """Every line of the file; a line that cannot be used keeps its place, so that nothing is lost silently. Raises UserError where
    there is no such file or nothing in it."""
    if not path.is_file():
        raise UserError(f"start.file={path} was given, but there is no such file; JSONL of dialogues is expected")
    with path.open("rb") as lines:
        starts = tuple(_read(line, number, path) for number, line in enumerate(lines, start=1) if line.strip())
    if not starts:
        raise UserError(f"start.file={path} was given, but it is empty")
    return starts


def _read(line: bytes, number: int, path: Path) -> StartState:
    where = f"{path.stem}-{number}"
    try:
        dialogue = _dialogue(json.loads(line.decode("utf-8-sig")), where)
        dialogue.model_dump_json()  # half a surrogate pair, which no file could hold, must not come to light at the end
        return StartState(dialogue.dialogue_id, dialogue)
    except ValidationError as error:
        first = error.errors()[0]
        problem = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    except (ValueError, RecursionError) as error:
        problem = str(error)
    return StartState(where, None, f"{path}, line {number}: {problem}".encode(errors="replace").decode())


def _dialogue(raw: Any, where: str) -> Dialogue:
    if not isinstance(raw, dict):
        raise ValueError("a JSON object is expected")
    if isinstance(raw.get("dialogue"), dict):
        raw = raw["dialogue"]  # a line of rejected.jsonl
    if "pipeline" not in raw:
        return _foreign(raw, where)
    dialogue = Dialogue.model_validate(raw)
    _check(dialogue)
    return dialogue


def _check(dialogue: Dialogue) -> None:
    """Raise ValueError where nothing could go on from a dialogue of ours: its transcript is unlawful as far as it goes, or its
    tasks do not begin in it."""
    starts = dialogue.task_starts
    lowest, end = dialogue.given, len(dialogue.messages)
    if not 0 <= lowest <= end or any(not lowest <= position <= end for position in starts):
        raise ValueError(f"given {lowest} and task_starts {list(starts)} do not lie within its {end} messages")
    if len(starts) > len(dialogue.tasks) or list(starts) != sorted(set(starts)):
        raise ValueError(f"task_starts {list(starts)} must rise, one for each of at most {len(dialogue.tasks)} tasks")
    messages = dialogue.messages if dialogue.stop == "complete" else _settled(dialogue.messages)
    if messages and isinstance(messages[-1], SystemMessage):
        messages = (*messages, UserMessage(content="…"))
    elif messages and isinstance(messages[-1], ToolMessage) and dialogue.stop != "complete":
        messages = (*messages, AssistantMessage(content="…"))
    if messages:
        check_transcript(messages, dialogue.tools)


def _settled(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """Without calls at the end that were not all answered, as where their simulator broke off: they are made anew."""
    waiting: set[str] = set()
    last = 0
    for position, message in enumerate(messages):
        if isinstance(message, AssistantMessage):
            last, waiting = position, {call.id for call in message.tool_calls or ()}
        elif isinstance(message, ToolMessage):
            waiting.discard(message.tool_call_id)
    return messages[:last] if waiting else messages


def _foreign(raw: dict[str, Any], where: str) -> Dialogue:
    """A conversation in OpenAI's format, as context for what is made here. Raises ValueError for what cannot be understood, and
    where there is nothing to go on from."""
    messages = conversation(raw)
    tasks, tools = raw.get("tasks") or [], tools_of(raw.get("tools"), messages)
    if not isinstance(tasks, list):
        raise ValueError('"tasks" is no list of tasks')
    if not (messages or tasks or tools):
        raise ValueError(
            'nothing to go on from: "messages" with an assistant\'s answer, "tasks" or "tools" are expected'
        )
    return Dialogue(
        dialogue_id=str(raw.get("dialogue_id") or raw.get("id") or raw.get("uuid") or where),
        pipeline="given",
        domain=str(raw.get("domain") or ""),
        tools=tools,
        messages=messages,
        given=len(messages),
        tasks=tuple(_task(task, number) for number, task in enumerate(tasks)),
    )


def _task(raw: Any, number: int) -> Task:
    """A task as it is given: a goal alone, or what a Task holds as far as it is known."""
    if not isinstance(raw, str | dict):
        raise ValueError(f"task {number} is neither a goal nor an object")
    known = {"goal": raw} if isinstance(raw, str) else raw
    goal = str(known.get("goal", "")).strip()
    if not goal:
        raise ValueError(f'task {number} has no "goal"')
    criteria = {"criteria": [f"The assistant gets this done: {goal}"]}
    defaults = {"task_id": f"t{number}", "subgoals": [goal], "difficulty": "medium", "rubric": criteria}
    return Task.model_validate(defaults | known)


def apply_start(start: Dialogue, dialogue_id: str, at: Literal["end", "random"] | int, rng: Random) -> Dialogue:
    """A new dialogue that goes on from `start`: extended at its end, or forked at a message. Raises ValueError where `at` lies
    outside what can be played on."""
    messages, stop = start.messages, start.stop
    if at != "end":
        messages, stop = messages[: fork_point(start, rng) if at == "random" else lawful_fork(start, at)], "open"
    elif stop != "complete":
        messages, stop = _settled(messages), "open"
    starts = tuple(position for position in start.task_starts if position < len(messages))
    if not starts or (at == "end" and starts != start.task_starts):
        stop = "complete"  # it broke off before a word was said about its next task
    return Dialogue(
        dialogue_id=dialogue_id,
        pipeline=start.pipeline,
        domain=start.domain,
        tools=start.tools,
        messages=messages,
        tasks=_renamed(start.tasks if at == "end" else start.tasks[: len(starts)], dialogue_id),
        task_starts=starts,
        given=min(start.given, len(messages)),
        stop=stop,
        state=start.state if at == "end" else None,
        provenance=_descent(start, len(messages), played=bool(starts)),
    )


def _renamed(tasks: Sequence[Task], dialogue_id: str) -> tuple[Task, ...]:
    """As tasks of the new dialogue."""
    names = {task.task_id: f"{dialogue_id}/t{number}" for number, task in enumerate(tasks)}
    return tuple(
        task.model_copy(
            update={"task_id": f"{dialogue_id}/t{number}", "follows_from": names.get(task.follows_from or "")}
        )
        for number, task in enumerate(tasks)
    )


def _descent(start: Dialogue, messages: int, played: bool) -> Provenance:
    """The provenance of a dialogue that takes `messages` messages from `start`: that of `start`, and which dialogue, run and model
    it comes from. Where tasks were played, their refused drafts belong to the statistics of the parent's run, as its tokens do.
    """
    own = start.provenance
    if played and own.refused_drafts:
        own |= Provenance(refused_drafts={})
    return own | Provenance(
        parent=start.dialogue_id, parent_messages=messages, parent_config=own.config, parent_llm=own.llm
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
        first = f"its first task begins at {start.task_starts[0]}" if start.task_starts else "no task was played in it"
        raise ValueError(f"start: it cannot be forked at message {at}: {first}")
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
