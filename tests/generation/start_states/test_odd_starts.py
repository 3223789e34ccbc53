"""Odd but valid start states, and broken files: each ends as its own outcome, with its own reason."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.dialogue import Dialogue, Rubric, Task, Verdict, calls
from core.journal import read_jsonl, write_jsonl
from core.messages import AssistantMessage, Message, SystemMessage, ToolCall, ToolMessage, ToolSpec, UserMessage
from core.provenance import Provenance
from generation.dialogue.rollout import Rollout
from generation.dialogue.setup import RolloutContext
from generation.llm.base import Completion, Request
from generation.outcomes import Outcome
from generation.pipeline import DomainTools
from generation.scripted.llm import ScriptedLLM
from generation.stages import Rollouts, Tasks, Validation
from generation.start_states.preferences import Preference, preferences
from generation.start_states.start_states import apply_start, read_starts
from generation.tasks.writer import Domain
from generation.tools.toolset import Toolset
from tests.generation.helpers.pipeline_runs import (
    FinishedRun,
    SpoiledRole,
    context_of,
    files,
    fixed_answer,
    pipeline_of,
    run_to_end,
    start_states,
)

Domains = tuple[DomainTools, ...]
EXECUTED = "user_oriented_exec"
NEVER_DONE = fixed_answer(json.dumps({"user_message": "And another thing.", "is_task_complete": False}))
FIND = ToolSpec(name="find", description="Find.", parameters={"type": "object"})
SYSTEM = SystemMessage(content="Be kind.")


def task(number: int) -> Task:
    goal = f"Find {number}."
    return Task(
        task_id=f"old/t{number}", goal=goal, subgoals=(goal,), difficulty="easy", rubric=Rubric(criteria=(goal,))
    )


def request_and_results(number: int, *results: str, of: int = 1) -> list[Message]:
    """A request, `of` parallel calls, and the results of the first ones."""
    ids = [f"c{number}_{i}" for i in range(of)]
    return [
        UserMessage(content=f"Find {number}"),
        AssistantMessage(tool_calls=tuple(ToolCall.make(key, "find", {}) for key in ids)),
        *(ToolMessage(tool_call_id=key, content=result) for key, result in zip(ids, results, strict=False)),
    ]


def dialogue(*messages: Message, tasks: int, starts: tuple[int, ...], **more: Any) -> Dialogue:
    fields = {"dialogue_id": "old", "pipeline": "user_oriented", "domain": "shop", "tools": (FIND,)} | more
    return Dialogue(messages=messages, tasks=tuple(map(task, range(tasks))), task_starts=starts, **fields)


# Reading.

LINE = {
    "id": "x",
    "domain": "gym",
    "tools": [{"type": "function", "function": {"name": "find", "parameters": {"type": "object"}}}],
    "tasks": ["Find it.", {"goal": "Find it.", "plan": [{"tool": "find", "arguments": {"id": 3}, "tell": ["x"]}]}],
    "messages": [
        {"role": "user", "content": "Find it."},
        {"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "find", "arguments": '{"id": 3}'}}]},
        {"role": "tool", "tool_call_id": "c", "content": "[]"},
        {"role": "assistant", "content": "It is gone."},
    ],
}
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
    for dialogue in again.accepted:
        parent = before[dialogue.provenance.parent]
        assert parent
        assert dialogue.messages[: len(parent.messages)] == parent.messages


def test_tasks_with_equal_ids_get_different_ones() -> None:
    twins = (task(0), task(0).model_copy(update={"follows_from": "old/t0"}))
    draft = apply_start(dialogue(tasks=0, starts=()).model_copy(update={"tasks": twins}), "new", "end", Random(0))
    assert [t.task_id for t in draft.tasks] == ["new/t0", "new/t1"]


# Unfinished dialogues.


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


# Imported messages, and tools that can be executed.


class Shop:
    """An LLM that looks up order 5 once and reports the result; as tool simulator it would answer that the order is
    lost."""

    name = "shop"

    async def complete(self, request: Request) -> Completion:
        done = isinstance(request.messages[-1], ToolMessage) or "Lost" in request.messages[-1].content
        message = AssistantMessage(content="Lost or shipped.")
        if request.role == "agent" and not done:
            message = AssistantMessage(tool_calls=(ToolCall.make("x", "get_order", {"order_id": 5}),))
        elif request.role == "user":
            message = AssistantMessage(content=json.dumps({"user_message": "Order 5?", "is_task_complete": done}))
        elif request.role == "tool_simulator":
            message = AssistantMessage(content='{"order_id": 5, "status": "lost"}')
        return Completion(message)

    async def close(self) -> None: ...


@pytest.mark.parametrize("given", [True, False])
async def test_a_simulated_tool_does_not_contradict_imported_results(given: bool) -> None:
    parameters = {"type": "object", "properties": {"order_id": {"type": "integer"}}}
    tools = (ToolSpec(name="get_order", description="Get.", parameters=parameters),)
    call = ToolCall.make("given_1_0", "get_order", {"order_id": 5})
    shipped = '{"order_id": 5, "status": "shipped"}'
    before = (
        UserMessage(content="Order 5?"),
        AssistantMessage(tool_calls=(call,)),
        ToolMessage(tool_call_id=call.id, content=shipped),
        AssistantMessage(content="Shipped."),
    )
    messages = before if given else before[::3]
    subject = DomainTools(Toolset(domain="shop", description="", tools=tools), Domain("shop", None, {}))
    pipeline = pipeline_of("user_oriented", (subject,), Shop(), count={1: 1.0})
    draft = Dialogue(dialogue_id="d", pipeline="given", domain="shop", tools=tools, messages=messages, tasks=(task(0),))
    played = await Rollout(draft.model_copy(update={"given": len(messages)}), context_of(pipeline, subject)).run()
    assert played.stop == "complete"
    (content,) = (result for _, _, result in calls(played.messages[len(messages) :]))
    assert ("shipped" in content) is given


def test_branches_of_one_conversation_have_the_same_domain(domains: Domains, tmp_path: Path) -> None:
    file = tmp_path / "foreign.jsonl"
    talk = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Good day."}]
    file.write_text("".join(json.dumps({"id": f"c{i}", "messages": talk}) + "\n" for i in range(3)))
    starts = start_states(read_starts(file), inject=True, branches=2)
    played = run_to_end(EXECUTED, domains, tmp_path / "made", n=6, starts=starts)
    assert played.statistics.failed == 0
    dialogues = [*played.accepted, *(r.dialogue for r in played.rejected if r.dialogue)]
    assert {d.provenance.parent: d.domain for d in dialogues} == {
        f"c{i}": subject.domain.name for i, subject in enumerate(domains)
    }
    assert len({(d.provenance.parent, d.domain) for d in dialogues}) == 3
    assert not list(read_jsonl(played.directory / "preferences.jsonl", Preference)), (
        "their users ask for different things"
    )


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"domain": "opera"}, "start: no toolset for its domain 'opera'; available: clinic, gym, library"),
        ({"domain": "gym", "tools": "renamed"}, "take other arguments than those of gym"),
    ],
)
def test_only_declared_tools_are_executed(
    changes: dict[str, Any], why: str, executed: FinishedRun, domains: Domains, tmp_path: Path
) -> None:
    """A dialogue of an unknown domain is not played on another domain's database."""
    parent = next(d for d in executed.accepted if d.domain == "gym")
    if "tools" in changes:
        used = {name for name, _, _ in calls(parent.messages)}
        unused = next(tool for tool in parent.tools if tool.name not in used)
        other = unused.model_copy(update={"parameters": {"type": "object", "properties": {}}})
        changes = {"tools": tuple(other if tool is unused else tool for tool in parent.tools)}
    write_jsonl(tmp_path / "x.jsonl", [parent.model_copy(update=changes)])
    starts = start_states(read_starts(tmp_path / "x.jsonl"))
    played = run_to_end(EXECUTED, domains, tmp_path / "made", n=1, starts=starts)
    (rejection,) = played.rejected
    assert why in rejection.reasons[0]
    played = run_to_end("user_oriented", domains, tmp_path / "simulated", n=1, starts=starts)
    assert played.statistics.failed == 0
    assert not any(r.reasons[0].startswith("start:") for r in played.rejected), "any tools can be simulated"


def test_gold_calls_without_a_plan_must_work(domains: Domains, tmp_path: Path) -> None:
    gym = next(subject for subject in domains if subject.domain.name == "gym")
    lines = [
        {
            "domain": "gym",
            "tasks": [
                {
                    "goal": f"The user wants to delete booking number {number}.",
                    "gold_calls": [{"tool": "delete_booking", "arguments": {"booking_id": number}}],
                }
            ],
        }
        for number in (108, 10**6)
    ]
    file = tmp_path / "tasks.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    played = run_to_end(
        EXECUTED, (gym,), tmp_path / "made", n=2, count={1: 1.0}, starts=start_states(read_starts(file))
    )
    outcomes = {o.dialogue_id[-1]: o for o in read_jsonl(played.directory / "journal.jsonl", Outcome)}
    assert "given task does not hold" not in str(outcomes["0"].reasons)
    assert outcomes["1"].reasons[0].startswith("finished: task_writer: the given task does not hold: call 0")
    assert outcomes["1"].dialogue
    assert outcomes["1"].dialogue.verdict
    assert outcomes["1"].dialogue.verdict.blame == "task"


def test_a_later_imported_task_that_is_not_proved_ends_the_dialogue_and_is_counted(
    domains: Domains, tmp_path: Path
) -> None:
    gym = next(subject for subject in domains if subject.domain.name == "gym")
    tasks = [
        {
            "goal": f"The user wants to delete booking number {number}.",
            "subgoals": [f"delete booking number {number}"],
            "plan": [{"tool": "delete_booking", "arguments": {"booking_id": number}}],
        }
        for number in (108, 108)
    ]
    file = tmp_path / "tasks.jsonl"
    file.write_text(json.dumps({"domain": "gym", "tasks": tasks}))
    llm, starts = ScriptedLLM(error_rate=0.0), start_states(read_starts(file))
    played = run_to_end(EXECUTED, (gym,), tmp_path / "made", n=1, count={1: 1.0}, llm=llm, starts=starts)
    (line,) = played.accepted
    assert (len(line.tasks), line.provenance.tasks_requested) == (1, 2)
    assert line.provenance.refused_drafts == {"given task not proved": 1}
    assert played.statistics.tasks == {2: {1: 1}}


# Outcomes.


def test_validation_rejects_a_conversation_without_tasks(domains: Domains, tmp_path: Path) -> None:
    file = tmp_path / "foreign.jsonl"
    file.write_text(json.dumps({key: LINE[key] for key in ("messages", "tools")}))
    stages = (Validation(votes=1, attempts=1),)
    for name, inject in (("user_oriented", False), (EXECUTED, True)):
        starts = start_states(read_starts(file), inject=inject)
        played = run_to_end(name, domains, tmp_path / name, n=1, stages=stages, starts=starts)
        (rejection,) = played.rejected
        assert rejection.reasons == ("finished: unplayed: 0 of its 0 tasks were played",)
        assert rejection.dialogue
        assert rejection.dialogue.verdict
        assert rejection.dialogue.verdict.blame is None


def test_the_parents_provenance_is_kept(executed: FinishedRun, domains: Domains, tmp_path: Path) -> None:
    parent = executed.accepted[0]
    assert parent.provenance.refused_drafts is not None
    marked = parent.provenance | Provenance(
        source="theirs", licence="MIT", config="then", llm="old", refused_drafts={"not proved": 99}
    )
    file = tmp_path / "x.jsonl"
    write_jsonl(file, [parent.model_copy(update={"domain": "elsewhere", "provenance": marked})])
    starts = start_states(read_starts(file))
    stages = (Validation(votes=1, attempts=1),)
    played = run_to_end("user_oriented", domains, tmp_path / "made", n=1, stages=stages, starts=starts)
    (line,) = [*played.accepted, *(r.dialogue for r in played.rejected if r.dialogue)]
    kept = ("source", "licence", "parent_config", "parent_llm", "parent", "config", "llm")
    assert [getattr(line.provenance, key) for key in kept] == [
        *("theirs", "MIT", "then", "old", parent.dialogue_id, "fingerprint", "scripted")
    ]
    assert played.statistics.refused_drafts == {}, "they count in the parent's run"


class Unwritable:
    """A custom stage that produces text that UTF-8 cannot encode."""

    async def dialogue(self, dialogue: Dialogue, context: RolloutContext) -> Dialogue:
        broken = int(dialogue.dialogue_id[-1]) % 2
        if broken:
            return dialogue.model_copy(
                update={"provenance": dialogue.provenance | Provenance(foreign={"mood": "\ud83d"})}
            )
        return dialogue


class Quoting:
    async def dialogue(self, dialogue: Dialogue, context: RolloutContext) -> Dialogue:
        raise ZeroDivisionError("half a character: \ud83d")


def test_unencodable_text_fails_only_its_dialogue(domains: Domains, tmp_path: Path) -> None:
    played = run_to_end("user_oriented", domains, tmp_path / "a", n=4, stages=(Tasks(), Rollouts(), Unwritable()))
    assert (played.statistics.started, played.statistics.failed) == (4, 2)
    assert [r.reasons[0].startswith("internal: the dialogue cannot be written as UTF-8") for r in played.dead] == [
        True
    ] * 2
    played = run_to_end("user_oriented", domains, tmp_path / "b", n=2, stages=(Quoting(),))
    assert [r.reasons for r in played.dead] == [("internal: ZeroDivisionError: half a character: ?",)] * 2


def test_continued_dialogues_are_the_same_bytes_at_any_concurrency(
    executed: FinishedRun, domains: Domains, tmp_path: Path
) -> None:
    for at in ("random", "end", 6):
        starts = start_states(read_starts(executed.directory / "dialogues.jsonl"), at=at, branches=2)
        one, other = (
            run_to_end(EXECUTED, domains, tmp_path / f"{at}-{workers}", n=20, starts=starts, concurrency=workers)
            for workers in (1, 16)
        )
        assert files(one.directory) == files(other.directory)
        pairs = [(run.directory / "preferences.jsonl").read_bytes() for run in (one, other)]
        assert pairs[0] == pairs[1]


# Preference pairs.


def branch(number: int, answer: str, accepted: bool, at: int = 2, **more: Any) -> Dialogue:
    verdict = Verdict(accepted=accepted, blame=None if accepted else "agent")
    provenance = {"parent": "old", "parent_messages": at}
    messages = (
        SYSTEM,
        UserMessage(content="Hi"),
        AssistantMessage(content=answer),
        UserMessage(content=f"Bye{answer}"),
    )
    return dialogue(
        *messages, tasks=1, starts=(1,), dialogue_id=f"b{number}", verdict=verdict, provenance=provenance, **more
    )


@pytest.mark.parametrize(
    ("chosen", "rejected", "count"),
    [
        (branch(0, "Good.", True), branch(1, "Bad.", False), 1),
        (branch(0, "Good.", True), branch(1, "Good.", False), 0),
        (branch(0, "Good.", True), branch(1, "Bad.", False, tools=()), 0),
        (branch(0, "Good.", True, at=1), branch(1, "Bad.", False, at=1), 0),
        (branch(0, "Good.", True, at=3), branch(1, "Good.", False, at=3), 0),
        (branch(0, "Good.", True), branch(1, "Bad.", False, at=4), 0),
    ],
)
def test_pairs_differ_in_the_agents_next_message(chosen: Dialogue, rejected: Dialogue, count: int) -> None:
    pairs = list(preferences([chosen, rejected]))
    assert len(pairs) == count
    for pair in pairs:
        assert isinstance(pair.prompt[-1], UserMessage)
        assert (pair.chosen[0], pair.rejected[0]) == (chosen.messages[2], rejected.messages[2])
