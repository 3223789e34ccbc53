"""Given tasks, tools and results: each is proved, executed or refused, and branches stay consistent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from core.dialogue import Dialogue, Verdict, calls
from core.journal import read_jsonl, write_jsonl
from core.messages import AssistantMessage, ToolCall, ToolMessage, ToolSpec, UserMessage
from core.provenance import Provenance
from generation.dialogue.rollout import Rollout
from generation.dialogue.setup import RolloutContext
from generation.llm.base import Completion, Request
from generation.outcomes import Outcome
from generation.pipeline import DomainTools
from generation.scripted.llm import ScriptedLLM
from generation.stages import Rollouts, Tasks, Validation
from generation.start_states.preferences import Preference, preferences
from generation.start_states.start_states import read_starts
from generation.tasks.writer import Domain
from generation.tools.toolset import Toolset
from tests.generation.helpers.odd_dialogues import EXECUTED, LINE, SYSTEM, Domains, dialogue, task
from tests.generation.helpers.pipeline_runs import (
    FinishedRun,
    context_of,
    files,
    pipeline_of,
    run_to_end,
    start_states,
)


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
        (branch(0, "Good.", True), branch(1, "Bad.", False, late_tools={"find": 1}), 0),
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
