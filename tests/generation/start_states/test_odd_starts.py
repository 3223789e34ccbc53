"""Odd but valid start states, and broken files: each ends as its own outcome, with its own reason."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.dialogue import Dialogue
from core.journal import write_jsonl
from core.messages import AssistantMessage, Message, ToolCall, ToolMessage, UserMessage
from generation.dialogue.rollout import Rollout
from generation.scripted.llm import ScriptedLLM
from generation.start_states.start_states import apply_start, read_starts
from tests.generation.helpers.odd_dialogues import EXECUTED, LINE, SYSTEM, Domains, dialogue, task
from tests.generation.helpers.pipeline_runs import (
    SpoiledRole,
    context_of,
    fixed_answer,
    pipeline_of,
    run_to_end,
    start_states,
)

NEVER_DONE = fixed_answer(json.dumps({"user_message": "And another thing.", "is_task_complete": False}))


def request_and_results(number: int, *results: str, of: int = 1) -> list[Message]:
    """A request, `of` parallel calls, and the results of the first ones."""
    ids = [f"c{number}_{i}" for i in range(of)]
    return [
        UserMessage(content=f"Find {number}"),
        AssistantMessage(tool_calls=tuple(ToolCall.make(key, "find", {}) for key in ids)),
        *(ToolMessage(tool_call_id=key, content=result) for key, result in zip(ids, results, strict=False)),
    ]


OURS = json.loads(
    dialogue(
        SYSTEM, *request_and_results(0, "[]"), AssistantMessage(content="a"), tasks=1, starts=(1,)
    ).model_dump_json()
)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.just("\ud83d"),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["name", "function", "role", "goal"]), inner)
    ),
    max_leaves=4,
)


def paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else []
    return [path, *(inner for key in keys for inner in paths(value[key], (*path, key)))]


def put(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = put(value[path[0]], path[1:], new)
    return copy


@given(line=st.sampled_from([LINE, OURS]), data=st.data())
def test_a_line_with_any_value_in_any_place_is_usable_or_refused(
    line: dict[str, Any], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    spoilt = put(line, data.draw(st.sampled_from(paths(line))), data.draw(json_values))
    file = tmp_path_factory.getbasetemp() / "spoilt.jsonl"
    file.write_text(json.dumps(spoilt))
    (start,) = read_starts(file)
    assert bool(start.dialogue) != bool(start.problem)
    start.problem.encode()
    if start.dialogue:
        start.dialogue.model_dump_json()
        apply_start(start.dialogue, "new", "end", Random(0))


def test_a_line_that_is_not_utf_8_keeps_its_place_and_a_byte_order_mark_is_ignored(tmp_path: Path) -> None:
    good = json.dumps(LINE, ensure_ascii=False).encode()
    file = tmp_path / "x.jsonl"
    file.write_bytes(b"\xef\xbb\xbf" + good + b"\n" + good.replace(b"gone", b"g\xf6ne") + b"\n" + good)
    first, second, third = read_starts(file)
    assert first.dialogue == third.dialogue
    assert first.dialogue
    assert f"{file}, line 2: 'utf-8' codec can't decode" in second.problem


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ({"id": 3}, "nothing to continue from"),
        ({"dialogue_id": "x", "status": "failed", "reasons": ["llm: gone"]}, "nothing to continue from"),
        ({"messages": [{"role": "user", "content": "Hello?"}]}, "nothing to continue from"),
        ({"messages": [{"role": "assistant", "content": "Hello?"}]}, "nothing to continue from"),
        ({"tasks": "Find Ada."}, '"tasks" is not a list'),
        ({"tasks": [["Find Ada."]]}, "task 0 is neither a goal nor an object"),
        (OURS | {"task_starts": [9]}, "task_starts [9] do not lie within its 5 messages"),
        (OURS | {"given": 2}, "given 2 and task_starts [1] do not lie"),
        (OURS | {"task_starts": [1, 3]}, "task_starts [1, 3] must rise, one for each of at most 1 tasks"),
        (OURS | {"messages": OURS["messages"][:3]}, "the calls ['c0_0'] at the end have no answer"),
        (OURS | {"tools": "[]"}, "calls the undeclared tool 'find'"),
    ],
)
def test_lines_that_cannot_be_continued_say_why(line: dict[str, Any], why: str, tmp_path: Path) -> None:
    file = tmp_path / "x.jsonl"
    file.write_text(json.dumps(line))
    (start,) = read_starts(file)
    assert start.dialogue is None
    assert why in start.problem


def test_rejected_dialogues_can_be_continued(domains: Domains, tmp_path: Path) -> None:
    first = run_to_end(
        EXECUTED, domains, tmp_path / "first", n=6, llm=SpoiledRole("user", NEVER_DONE), max_user_turns=2
    )
    assert len(first.rejected) == 6
    starts = start_states(read_starts(first.directory / "rejected.jsonl"))
    again = run_to_end(EXECUTED, domains, tmp_path / "again", n=6, llm=ScriptedLLM(error_rate=0.0), starts=starts)
    assert again.statistics.accepted >= 3
    before = {r.dialogue_id: r.dialogue for r in first.rejected}
    for line in again.accepted:
        parent = before[line.provenance.parent]
        assert parent
        assert line.messages[: len(parent.messages)] == parent.messages


def test_tasks_with_equal_ids_get_different_ones() -> None:
    twins = (task(0), task(0).model_copy(update={"follows_from": "old/t0"}))
    draft = apply_start(dialogue(tasks=0, starts=()).model_copy(update={"tasks": twins}), "new", "end", Random(0))
    assert [t.task_id for t in draft.tasks] == ["new/t0", "new/t1"]


def test_calls_with_missing_answers_are_made_again() -> None:
    messages = request_and_results(0, "[]", "[]", of=2)
    for answered in (0, 1):
        broken = dialogue(
            SYSTEM, *messages[: 2 + answered], tasks=1, starts=(1,), stop="tool_simulator: nothing usable"
        )
        draft = apply_start(broken, "new", "end", Random(0))
        assert (draft.messages, draft.stop, draft.task_starts) == ((SYSTEM, messages[0]), "open", (1,))
    settled = dialogue(SYSTEM, *messages, tasks=1, starts=(1,), stop="agent: no answer after 12 rounds of tool use")
    draft = apply_start(settled, "new", "end", Random(0))
    assert (draft.messages, draft.stop) == (settled.messages, "open")


def test_a_task_without_messages_is_played_from_its_start() -> None:
    one = [SYSTEM, *request_and_results(0, "[]"), AssistantMessage(content="Gone.")]
    left = dialogue(*one, tasks=2, starts=(1, 5), stop="user: declared the task complete before asking for anything")
    draft = apply_start(left, "new", "end", Random(0))
    assert (draft.task_starts, draft.stop, len(draft.tasks)) == ((1,), "complete", 2)
    never = dialogue(SYSTEM, tasks=1, starts=(1,), stop=left.stop)
    draft = apply_start(never, "new", "end", Random(0))
    assert (draft.task_starts, draft.stop, len(draft.tasks)) == ((), "complete", 1)


@pytest.mark.parametrize("name", ["task_oriented", EXECUTED])
def test_a_dialogue_that_stopped_before_its_first_task_starts_with_one(
    name: str, domains: Domains, tmp_path: Path
) -> None:
    """Its task writer failed, or its imported task was not proved."""
    gym = tuple(subject for subject in domains if subject.domain.name == "gym")
    empty: dict[str, Any] = {"pipeline": name, "domain": "gym", "tools": gym[0].toolset.tools}
    stopped = [
        Dialogue(dialogue_id="a", stop="task_writer: nothing usable in 6 attempts", **empty),
        Dialogue(dialogue_id="b", stop="task_writer: the given task does not hold", messages=(SYSTEM,), **empty),
    ]
    write_jsonl(tmp_path / "stopped.jsonl", stopped)
    starts = start_states(read_starts(tmp_path / "stopped.jsonl"))
    played = run_to_end(name, gym, tmp_path / "made", n=2, llm=ScriptedLLM(error_rate=0.0), starts=starts)
    assert (played.statistics.started, played.statistics.failed) == (2, 0)
    assert [len(d.tasks) >= 1 for d in played.accepted] == [True, True]


async def test_a_lower_limit_of_messages_stops_a_dialogue_played_with_a_higher_one(domains: Domains) -> None:
    subject = domains[0]
    tools = subject.toolset.tools
    messages = [m for i in range(5) for m in (UserMessage(content=f"{i}?"), AssistantMessage(content=f"{i}."))]
    parent = dialogue(SYSTEM, *messages, tasks=1, starts=(1,), stop="user: not done after 5 messages", tools=tools)
    pipeline = pipeline_of("user_oriented", domains, SpoiledRole("user", NEVER_DONE), max_user_turns=2)
    played = await Rollout(apply_start(parent, "d", "end", Random(0)), context_of(pipeline, subject)).run()
    assert played.stop == "user: not done after 2 messages"
    assert played.messages == parent.messages
