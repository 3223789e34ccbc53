"""Start states: dialogues from any source to continue — tasks to play, conversations to extend, turns to fork at.

A line of the file is a generated dialogue, complete or unfinished (from dialogues.jsonl, or in a line of
rejected.jsonl), or any conversation in OpenAI's format: {"messages": […]} with optional "tools", "tasks", "domain" and
id. The stages fill in the rest.
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
from core.json_fields import parse_json
from core.messages import AssistantMessage, Message, SystemMessage, ToolMessage, UserMessage, check_transcript
from core.provenance import Provenance
from core.settings import Settings, UserError
from generation.start_states.chat_formats import complete_tools, declared_tools, parse_messages


def _check_at(value: Any) -> Any:
    if value in ("end", "random") or (isinstance(value, int) and value >= 0):
        return value
    raise ValueError("expected: end, random, or the index of a message (from 0)")


class StartSettings(Settings):
    """Dialogues to continue."""

    file: Path | None = Field(description="JSONL of dialogues or conversations to continue; null: start new dialogues")
    at: Annotated[Literal["end", "random"] | int, BeforeValidator(_check_at)] = Field(
        description="where to continue: end extends a dialogue with further tasks; a message index (from 0) or random "
        "forks it within a task"
    )
    branches: int = Field(ge=1, description="dialogues to generate from each line of the file")
    inject: bool = Field(description="add a seed domain's tools to a dialogue's own, for tasks of another kind")


@dataclass(frozen=True)
class StartState:
    """One line of the file. `dialogue` is None if the line cannot be used, for the reason in `problem`."""

    parent: str
    dialogue: Dialogue | None
    problem: str = ""


@dataclass(frozen=True)
class StartStates:
    """The start states of a run's dialogues; without any, every dialogue starts from nothing."""

    starts: tuple[StartState, ...]
    settings: StartSettings

    def count(self, n: int) -> int:
        """How many of `n` dialogues are possible: at most one per start state and branch."""
        return min(n, len(self.starts) * self.settings.branches) if self.starts else n


def read_starts(path: Path) -> tuple[StartState, ...]:
    """Read every line of the file; a line that cannot be used keeps its place, so that it is not dropped silently.
    Raises UserError if the file is missing or empty."""
    if not path.is_file():
        raise UserError(f"start.file={path} was given, but there is no such file; expected: JSONL of dialogues")
    with path.open("rb") as lines:
        starts = tuple(_read(line, number, path) for number, line in enumerate(lines, start=1) if line.strip())
    if not starts:
        raise UserError(f"start.file={path} was given, but it is empty")
    return starts


def _read(line: bytes, number: int, path: Path) -> StartState:
    where = f"{path.stem}-{number}"
    try:
        dialogue = read_dialogue(json.loads(line.decode("utf-8-sig")), where)
        dialogue.model_dump_json()  # raises here for a lone surrogate, which UTF-8 cannot encode
        return StartState(dialogue.dialogue_id, dialogue)
    except ValidationError as error:
        first = error.errors()[0]
        problem = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    except json.JSONDecodeError as error:
        problem = f"it is not JSON: {error.msg} at character {error.pos}"
    except (ValueError, RecursionError) as error:
        problem = str(error)
    return StartState(where, None, f"{path}, line {number}: {problem}".encode(errors="replace").decode())


def read_dialogue(raw: Any, where: str) -> Dialogue:
    """The dialogue in one parsed line of a file; `where` is the id of one without an id. Raises ValueError if it cannot
    be read or continued."""
    if not isinstance(raw, dict):
        raise ValueError("expected: a JSON object")
    if isinstance(raw.get("dialogue"), dict):
        raw = raw["dialogue"]  # a line of rejected.jsonl
    if not {"dialogue_id", "pipeline"} <= raw.keys():  # exported chat messages name their pipeline, too
        return _from_chat(raw, where)
    dialogue = Dialogue.model_validate(raw)
    _check(dialogue)
    return dialogue


def _check(dialogue: Dialogue) -> None:
    """Raise ValueError if a generated dialogue cannot be continued: its transcript is invalid so far, or its task
    starts lie outside it."""
    starts = dialogue.task_starts
    lowest, end = dialogue.given, len(dialogue.messages)
    if not 0 <= lowest <= end or any(not lowest <= position <= end for position in starts):
        raise ValueError(f"given {lowest} and task_starts {list(starts)} do not lie within its {end} messages")
    if len(starts) > len(dialogue.tasks) or list(starts) != sorted(set(starts)):
        raise ValueError(f"task_starts {list(starts)} must rise, one for each of at most {len(dialogue.tasks)} tasks")
    messages = dialogue.messages if dialogue.stop == "complete" else _without_open_calls(dialogue.messages)
    if messages and isinstance(messages[-1], SystemMessage):
        messages = (*messages, UserMessage(content="…"))
    elif messages and isinstance(messages[-1], ToolMessage) and dialogue.stop != "complete":
        messages = (*messages, AssistantMessage(content="…"))
    if messages:
        check_transcript(messages, dialogue.tools, dialogue.late_tools)


def _without_open_calls(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """Drop final calls with missing answers, as left by an aborted tool simulator; they will be made again."""
    open_calls: set[str] = set()
    last = 0
    for position, message in enumerate(messages):
        if isinstance(message, AssistantMessage):
            last, open_calls = position, {call.id for call in message.tool_calls or ()}
        elif isinstance(message, ToolMessage):
            open_calls.discard(message.tool_call_id)
    return messages[:last] if open_calls else messages


def _from_chat(raw: dict[str, Any], where: str) -> Dialogue:
    """A dialogue whose imported messages are a conversation in OpenAI's format. Raises ValueError if it cannot be
    parsed or has nothing to continue from."""
    declared = declared_tools(raw.get("tools"))
    messages = parse_messages(raw, declared)
    tasks, tools = raw.get("tasks") or [], complete_tools(declared, messages)
    late_tools = parse_json(raw.get("late_tools")) or {}
    if not isinstance(tasks, list):
        raise ValueError('"tasks" is not a list of tasks')
    if not (messages or tasks or tools):
        raise ValueError(
            'nothing to continue from; expected: "messages" with an assistant\'s answer, "tasks" or "tools"'
        )
    if not isinstance(late_tools, dict):
        raise ValueError('"late_tools" does not map tools to indexes of user messages')
    if late_tools:
        check_transcript(messages, tools, late_tools)
    return Dialogue(
        dialogue_id=str(raw.get("dialogue_id") or raw.get("id") or raw.get("uuid") or where),
        pipeline="given",
        domain=str(raw.get("domain") or ""),
        tools=tools,
        messages=messages,
        late_tools=late_tools,
        given=len(messages),
        tasks=tuple(_task(task, number) for number, task in enumerate(tasks)),
    )


def _task(raw: Any, number: int) -> Task:
    """Parse a task: a goal alone, or an object with a goal and any other fields of Task."""
    if not isinstance(raw, str | dict):
        raise ValueError(f"task {number} is neither a goal nor an object")
    fields = {"goal": raw} if isinstance(raw, str) else raw
    goal = str(fields.get("goal", "")).strip()
    if not goal:
        raise ValueError(f'task {number} has no "goal"')
    criteria = {"criteria": [f"The assistant gets this done: {goal}"]}
    defaults = {"task_id": f"t{number}", "subgoals": [goal], "difficulty": "medium", "rubric": criteria}
    return Task.model_validate(defaults | fields)


def apply_start(start: Dialogue, dialogue_id: str, at: Literal["end", "random"] | int, rng: Random) -> Dialogue:
    """A new dialogue that continues `start`: extended at its end, or forked at a message. Raises ValueError if it
    cannot be forked at `at`."""
    messages, stop = start.messages, start.stop
    if at != "end":
        messages, stop = (
            messages[: random_fork_point(start, rng) if at == "random" else nearest_fork_point(start, at)],
            "open",
        )
    elif stop != "complete":
        messages, stop = _without_open_calls(messages), "open"
    starts = tuple(position for position in start.task_starts if position < len(messages))
    if not starts or (at == "end" and starts != start.task_starts):
        stop = "complete"  # it stopped before the first message of its next task
    return Dialogue(
        dialogue_id=dialogue_id,
        pipeline=start.pipeline,
        domain=start.domain,
        tools=start.tools,
        messages=messages,
        tasks=_renumbered(start.tasks if at == "end" else start.tasks[: len(starts)], dialogue_id),
        task_starts=starts,
        late_tools={name: index for name, index in start.late_tools.items() if index < len(messages)},
        user_tools=start.user_tools,
        user_actions=start.actions_before(len(messages)),
        given=min(start.given, len(messages)),
        stop=stop,
        state=start.state if at == "end" else None,
        provenance=_parent_provenance(start, len(messages), played=bool(starts)),
    )


def _renumbered(tasks: Sequence[Task], dialogue_id: str) -> tuple[Task, ...]:
    """The tasks with ids of the new dialogue."""
    new_ids = {task.task_id: f"{dialogue_id}/t{number}" for number, task in enumerate(tasks)}
    return tuple(
        task.model_copy(
            update={"task_id": f"{dialogue_id}/t{number}", "follows_from": new_ids.get(task.follows_from or "")}
        )
        for number, task in enumerate(tasks)
    )


def _parent_provenance(start: Dialogue, messages: int, played: bool) -> Provenance:
    """The provenance of a dialogue that takes `messages` messages from `start`: its own, plus the dialogue, run and
    model it came from. Drafts refused for tasks already played count in the parent's run, as its tokens do."""
    own = start.provenance
    if played and own.refused_drafts:
        own |= Provenance(refused_drafts={})
    return own | Provenance(
        parent=start.dialogue_id, parent_messages=messages, parent_config=own.config, parent_llm=own.llm
    )


def random_fork_point(start: Dialogue, rng: Random) -> int:
    """A random index at which the agent acts next. Raises ValueError if there is none."""
    ends = [end for end in _fork_points(start) if not _ends_in_answer(start.messages[:end])]
    if not ends:
        raise ValueError("start: it has no played task to fork")
    return rng.choice(ends)


def nearest_fork_point(start: Dialogue, at: int) -> int:
    """The largest index up to `at` at which the user or the agent acts next. Raises ValueError if there is none."""
    ends = [end for end in _fork_points(start) if end <= at]
    if not ends:
        first = f"its first task starts at {start.task_starts[0]}" if start.task_starts else "no task was played in it"
        raise ValueError(f"start: it cannot be forked at message {at}: {first}")
    return max(ends)


def _fork_points(start: Dialogue) -> Iterator[int]:
    """The lengths of prefixes that can be continued: within a task, with no unanswered call."""
    if not start.task_starts:
        return
    open_calls: set[str] = set()
    for position, message in enumerate(start.messages):
        if isinstance(message, AssistantMessage):
            open_calls = {call.id for call in message.tool_calls or ()}
        elif isinstance(message, ToolMessage):
            open_calls.discard(message.tool_call_id)
        if position >= start.task_starts[0] and not open_calls and position + 1 < len(start.messages):
            yield position + 1


def _ends_in_answer(messages: tuple[Message, ...]) -> bool:
    return isinstance(messages[-1], AssistantMessage)
