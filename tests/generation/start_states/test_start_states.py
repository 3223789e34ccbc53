"""Start states: lines from any source are read or refused in place; forks lie where the user or the agent acts next."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.dialogue import Dialogue, Rubric, Task, Verdict
from core.messages import AssistantMessage, Message, SystemMessage, ToolCall, ToolMessage, ToolSpec, UserMessage
from core.provenance import Provenance
from core.settings import UserError
from generation.start_states.start_states import apply_start, nearest_fork_point, random_fork_point, read_starts

FIND = ToolSpec(name="find", description="Find.", parameters={"type": "object"})


def task(number: int, follows: int | None = None) -> Task:
    return Task(
        task_id=f"old/t{number}",
        goal=f"Find number {number}.",
        subgoals=(f"find number {number}",),
        difficulty="easy",
        rubric=Rubric(criteria=()),
        follows_from=None if follows is None else f"old/t{follows}",
    )


def exchange(number: int) -> list[Message]:
    """user, call, result, answer."""
    return [
        UserMessage(content=f"Find {number}"),
        AssistantMessage(tool_calls=(ToolCall.make(f"c{number}", "find", {}),)),
        ToolMessage(tool_call_id=f"c{number}", content="[]"),
        AssistantMessage(content="Nothing."),
    ]


FINISHED = Dialogue(
    dialogue_id="old",
    pipeline="user_oriented",
    domain="shop",
    tools=(FIND,),
    messages=(SystemMessage(content="Be kind."), *exchange(0), *exchange(1), *exchange(2), UserMessage(content="Bye.")),
    tasks=(task(0), task(1, follows=0)),
    task_starts=(1, 9),
    verdict=Verdict(accepted=True),
    provenance={"persona": "terse"},
)


def write(path: Path, *lines: Any) -> Path:
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines))
    return path


def test_lines_of_all_kinds_are_read_and_broken_ones_keep_their_place(tmp_path: Path) -> None:
    file = write(
        tmp_path / "mixed.jsonl",
        FINISHED.model_dump_json(),
        {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}], "id": 7},
        "",
        {
            "tasks": ["Find Ada.", {"goal": "Rename her.", "difficulty": "hard"}],
            "tools": [FIND.openai()],
            "domain": "shop",
        },
        "{",
        "[1]",
        {"messages": [{"role": "user", "content": "Hi"}, {"role": "tool", "content": "?"}]},
        {"tasks": [{"difficulty": "easy"}]},
        {"pipeline": "x", "dialogue_id": "y"},
    )
    ours, imported, tasks, *broken = read_starts(file)
    assert ours.dialogue == FINISHED
    assert imported.dialogue
    assert (imported.parent, imported.dialogue.given, imported.dialogue.tasks) == ("7", 2, ())
    assert tasks.dialogue
    assert [t.goal for t in tasks.dialogue.tasks] == ["Find Ada.", "Rename her."]
    assert [t.difficulty for t in tasks.dialogue.tasks] == ["medium", "hard"]
    assert (tasks.dialogue.domain, tasks.dialogue.messages) == ("shop", ())
    assert [t.name for t in tasks.dialogue.tools] == ["find"]
    assert all(start.dialogue is None for start in broken)
    for start, number, why in zip(
        broken,
        (5, 6, 7, 8, 9),
        ("Expecting", "JSON object", "a tool result without a call", '"goal"', "domain"),
        strict=True,
    ):
        assert f"{file}, line {number}: " in start.problem
        assert why in start.problem


@pytest.mark.parametrize("content", [None, "", "\n \n"])
def test_a_missing_and_an_empty_file_are_user_errors(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "x.jsonl"
    if content is not None:
        file.write_text(content)
    with pytest.raises(UserError, match=r"start\.file=.*x\.jsonl was given"):
        read_starts(file)


def test_an_extension_keeps_everything_but_the_verdict(tmp_path: Path) -> None:
    draft = apply_start(FINISHED, "new", "end", Random(0))
    assert draft.messages == FINISHED.messages
    assert (draft.stop, draft.task_starts, draft.verdict) == ("complete", (1, 9), None)
    assert [t.task_id for t in draft.tasks] == ["new/t0", "new/t1"]
    assert draft.tasks[1].follows_from == "new/t0"
    assert draft.provenance == Provenance(persona="terse", parent="old", parent_messages=len(FINISHED.messages))
    draft.check()


@pytest.mark.parametrize(
    ("at", "length", "tasks"),
    [(2, 2, 1), (3, 2, 1), (4, 4, 1), (5, 5, 1), (6, 6, 1), (9, 9, 1), (10, 10, 2), (13, 13, 2), (99, 13, 2)],
)
def test_a_fork_lies_where_the_user_or_the_agent_acts_next(at: int, length: int, tasks: int) -> None:
    draft = apply_start(FINISHED, "new", at, Random(0))
    assert len(draft.messages) == length
    assert (len(draft.tasks), draft.task_starts) == (tasks, (1, 9)[:tasks])
    assert draft.stop == "open"


@pytest.mark.parametrize("at", [0, 1])
def test_nothing_is_forked_before_the_first_task(at: int) -> None:
    with pytest.raises(ValueError, match=f"cannot be forked at message {at}"):
        apply_start(FINISHED, "new", at, Random(0))


def test_a_dialogue_without_played_tasks_cannot_be_forked() -> None:
    imported_only = FINISHED.model_copy(update={"tasks": (), "task_starts": (), "given": len(FINISHED.messages)})
    with pytest.raises(ValueError, match="no played task"):
        apply_start(imported_only, "new", "random", Random(0))
    with pytest.raises(ValueError, match="cannot be forked"):
        nearest_fork_point(imported_only, 5)


@given(st.integers(min_value=0))
def test_random_forks_are_valid_and_the_agent_acts_next(seed: int) -> None:
    end = random_fork_point(FINISHED, Random(seed))
    assert nearest_fork_point(FINISHED, end) == end
    assert FINISHED.messages[end - 1].role in ("user", "tool")


def test_an_unfinished_dialogue_resumes_in_the_middle() -> None:
    stopped = FINISHED.model_copy(
        update={"stop": "user: not done after 12 messages", "messages": FINISHED.messages[:-1]}
    )
    assert apply_start(stopped, "new", "end", Random(0)).stop == "open"


LATE = FINISHED.model_copy(
    update={"tools": (FIND, FIND.model_copy(update={"name": "book"})), "late_tools": {"book": 9}}
)


@pytest.mark.parametrize(("at", "kept"), [("end", True), (13, True), (10, True), (9, False), (4, False)])
def test_a_late_tool_stays_late_unless_the_fork_lies_before_it(at: Any, kept: bool) -> None:
    draft = apply_start(LATE, "new", at, Random(0))
    assert draft.late_tools == ({"book": 9} if kept else {})
    assert draft.tools == LATE.tools


def test_late_tools_are_read_and_checked(tmp_path: Path) -> None:
    chat = {"messages": [m.model_dump(exclude_none=True) for m in LATE.messages[:-1]], "tools": [FIND.openai()]}
    file = write(
        tmp_path / "late.jsonl",
        LATE.model_dump_json(),
        chat | {"late_tools": json.dumps({"find": 1})},
        LATE.model_copy(update={"late_tools": {"find": 9}}).model_dump_json(),
        chat | {"late_tools": {"find": 5}},
        chat | {"late_tools": ["find"]},
    )
    ours, theirs, *broken = read_starts(file)
    assert ours.dialogue == LATE
    assert theirs.dialogue
    assert theirs.dialogue.late_tools == {"find": 1}
    for start, why in zip(
        broken, ("offered from message 9 on", "offered from message 5 on", "late_tools"), strict=True
    ):
        assert start.dialogue is None
        assert why in start.problem
