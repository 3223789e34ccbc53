"""The axes of the held-out benchmark: one is varied at a time, and tasks match their condition."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import pytest

from core.dialogue import calls
from core.journal import read_jsonl
from core.messages import AssistantMessage, ToolCall
from core.request_kinds import RequestKind
from core.settings import UserError
from evaluation.heldout.benchmark import Heldout
from evaluation.heldout.tasks import DraftResult
from evaluation.metrics.scores import by_axis
from evaluation.trials import TrialRecord
from generation.llm.base import Completion, Request
from generation.llm.contexts import AgentContext
from generation.scripted.llm import ScriptedLLM
from generation.seeds.bundled import HELD_OUT, BundledSeeds
from tests.evaluation.helpers.heldout import MakeHeldout, conf, run_heldout

KINDS = [kind for kind in get_args(RequestKind) if kind not in ("plain", "guided")]
"""The databases of the benchmark have no procedures to guide users through."""


@pytest.fixture(scope="module")
def full_run(generation: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[TrialRecord]]:
    """Every condition, run by an agent that makes no mistakes."""
    directory = tmp_path_factory.mktemp("full")
    values = conf("benchmark/heldout.yaml") | {"subset": "full", "dialogues": 4}
    benchmark = Heldout(ScriptedLLM(), BundledSeeds(cache, held_out=True), **values)
    return directory, run_heldout(ScriptedLLM(error_rate=0.0), benchmark, generation, directory)


def test_one_axis_is_varied_at_a_time(full_run: tuple[Path, list[TrialRecord]]) -> None:
    records = full_run[1]
    values = {"tasks_per_dialogue": "1248", "difficulty": ["mixed", "easy", "medium", "hard"]}
    values["fault"] = ["none", "tool_error", "renamed_columns", "partial_view"]
    values["kind"] = ["plain", *KINDS]
    expected = {(d, v) for d in ("unseen_databases", "trained_databases") for v in ("1", "2", "4", "8")}
    axes = by_axis(records)
    assert set(axes) == {"tasks_per_dialogue", "difficulty", "fault", "kind", "database"}
    assert set(axes["tasks_per_dialogue"]) == expected
    for axis, expected_values in values.items():
        assert {value for _, value in axes[axis]} == set(expected_values)
        for (_, value), trials in axes[axis].items():
            assert len(trials) == 4 or axis == "kind"
            assert {trial.axes[axis] for trial in trials} == {value}
            rest = {"tasks_per_dialogue": "1", "difficulty": "mixed", "fault": "none", "kind": "plain"}
            rest |= {axis: value}
            assert all(trial.axes.items() >= rest.items() for trial in trials)
    assert {value for _, value in axes["database"]} == {*HELD_OUT, "gym", "library"}
    assert len({record.key for record in records}) == len(records)
    assert len([record for record in records if record.axes["kind"] == "plain"]) == 2 * 10 * 4


def test_tasks_match_their_condition(full_run: tuple[Path, list[TrialRecord]]) -> None:
    drafts = read_jsonl(full_run[0] / "heldout" / "tasks.jsonl", DraftResult)
    for posed in (result.dialogue for result in drafts if result.dialogue):
        assert len(posed.draft.tasks) == int(posed.axes["tasks_per_dialogue"])
        assert {task.kind for task in posed.draft.tasks} == {posed.axes["kind"]}
        if posed.axes["difficulty"] != "mixed":
            assert {task.difficulty for task in posed.draft.tasks} == {posed.axes["difficulty"]}


def test_without_faults_gold_calls_solve_every_condition(full_run: tuple[Path, list[TrialRecord]]) -> None:
    assert [r.key for r in full_run[1] if r.axes["fault"] == "none" and not r.success] == []


class Persistent(ScriptedLLM):
    """Makes the gold calls immediately, repeats failed ones with the names that errors ask for, and reports every
    result."""

    async def complete(self, request: Request) -> Completion:
        if request.role != "agent":
            return await super().complete(request)
        context = request.context
        assert isinstance(context, AgentContext)
        past: list[tuple[str, dict[str, Any], str]] = calls(request.messages[context.task_start :])
        done = [result for _, _, result in past if '"error"' not in result]
        if len(done) == len(context.task.gold_calls):
            return Completion(AssistantMessage(content=f"The tools returned: {' '.join(done)}"))
        gold = context.task.gold_calls[len(done)]
        arguments = gold.arguments
        if past and "unknown argument" in past[-1][2]:
            wrong = past[-1][2].split("'")[1]
            (right,) = set(past[-1][2].split("expected: ")[1].strip('"}').split(", ")) - set(arguments)
            arguments = {right if name == wrong else name: value for name, value in arguments.items()}
        return Completion(AssistantMessage(tool_calls=(ToolCall.make("c", gold.tool, arguments),)))


def test_every_task_under_a_fault_is_affected_and_solvable(
    settings: dict[str, Any], heldout: MakeHeldout, generation: Path, tmp_path: Path
) -> None:
    faults = ["tool_error", "renamed_columns", "partial_view"]
    # No policies: this agent does not ask.
    changes = {"subset": "full", "dialogues": 8, "categories": ["unseen_databases"], "policy_rules": 0}
    benchmark = heldout(settings | changes | {"axes": {"fault": faults}})
    records = run_heldout(Persistent(), benchmark, generation, tmp_path)
    assert {record.axes["fault"] for record in records} == {"none", *faults}
    assert [record.key for record in records if not record.success] == []
    for record in records:
        dialogue = json.loads((tmp_path / "dialogues" / f"{record.key.replace('/', '_')}.jsonl").read_text())
        results = [message["content"] for message in dialogue["messages"] if message["role"] == "tool"]
        assert any("try again" in result for result in results) == (record.axes["fault"] == "tool_error")


def test_an_agent_that_ignores_faults_fails_more(
    full_run: tuple[Path, list[TrialRecord]],
) -> None:
    """The scripted agent uses only declared argument names."""
    renamed = [record.success for record in full_run[1] if record.axes["fault"] == "renamed_columns"]
    assert not all(renamed)


def test_a_kind_that_no_database_allows_is_left_out_with_a_warning(
    settings: dict[str, Any], heldout: MakeHeldout, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Without a policy nothing is forbidden."""
    changes = {"subset": "full", "dialogues": 2, "categories": ["unseen_databases"], "policy_rules": 0}
    benchmark = heldout(settings | changes | {"axes": {"kind": ["forbidden", "irrelevant"]}})
    records = run_heldout(ScriptedLLM(error_rate=0.0), benchmark, None, tmp_path)
    assert sorted(record.axes["kind"] for record in records) == ["irrelevant"] * 2 + ["plain"] * 2
    assert ["kind=forbidden is left out" in text for text in caplog.messages] == [True]


def test_an_undefined_fault_is_refused(settings: dict[str, Any], heldout: MakeHeldout) -> None:
    axes = {"fault": ["tool_eror"]}
    with pytest.raises(UserError, match=r"unknown fault 'tool_eror'; did you mean 'tool_error'"):
        heldout(settings | {"subset": "full", "axes": axes})
    with pytest.raises(UserError, match=r"axes.tasks_per_dialogue': .*a dialogue has 1 to 20 tasks, not 40"):
        heldout(settings | {"axes": {"tasks_per_dialogue": [40]}})
