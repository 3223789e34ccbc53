"""Complete pipelines in faulty environments: every dialogue is accounted for and meets the same faults again."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from core.dialogue import Dialogue, calls
from generation.environments.sql import SqlEnvironmentFactory
from generation.llm.meter import Meter
from generation.pipeline import DomainTools
from generation.scripted.llm import ScriptedLLM
from generation.stages import Rollouts, Tasks, Validation
from generation.start_states.start_states import read_starts
from tests.generation.helpers.faulty_runs import EXECUTED, PIPELINES, adds_up, injected_faults, run_with_faults
from tests.generation.helpers.pipeline_runs import FinishedRun, files, start_states

Domains = tuple[DomainTools, ...]
KINDS = ("tool_error", "permission", "schema_mismatch", "partial_view")
ALL = dict.fromkeys(KINDS, 0.2) | {"partial_view": 0.6}  # few dialogues read lists of several rows


@pytest.mark.parametrize("kind", [*KINDS, "together"])
@pytest.mark.parametrize("name", PIPELINES)
def test_each_fault_occurs_and_every_dialogue_is_accounted_for(
    name: str, kind: str, domains: Domains, tmp_path: Path
) -> None:
    n = 20
    played = run_with_faults(name, domains, tmp_path, n=n, tools=ALL if kind == "together" else {kind: 0.2})
    assert adds_up(played, n)
    assert played.statistics.failed == 0
    assert set(injected_faults(played)) == (set(KINDS) if kind == "together" else {kind})
    dialogues = all_dialogues(played)
    assert all(d.verdict for d in dialogues)
    checks = [check for d in dialogues if d.verdict for check in d.verdict.checks if check.name == "replay"]
    assert all(check.passed for check in checks)
    assert bool(checks) is (name in EXECUTED)


def all_dialogues(played: FinishedRun) -> list[Dialogue]:
    return [*played.accepted, *(r.dialogue for r in played.rejected if r.dialogue)]


@pytest.mark.parametrize("name", PIPELINES)
def test_the_same_seed_gives_the_same_faults_at_any_concurrency(name: str, domains: Domains, tmp_path: Path) -> None:
    n = 6
    one, many = (
        run_with_faults(name, domains, tmp_path / str(workers), n=n, tools=ALL, concurrency=workers)
        for workers in (1, 16)
    )
    assert files(one.directory) == files(many.directory)
    other = run_with_faults(name, domains, tmp_path / "other", n=n, tools=ALL, seed=2)
    assert injected_faults(other) != injected_faults(one)


def test_an_injected_error_never_changes_the_state(domains: Domains, tmp_path: Path) -> None:
    """Replayed without faults and without the calls that failed, a dialogue reaches the same state."""
    played = run_with_faults(
        "user_oriented_exec", domains, tmp_path, n=24, tools={"tool_error": 0.2, "permission": 0.2}
    )
    injected, changing = 0, 0
    environments = SqlEnvironmentFactory()
    for dialogue in all_dialogues(played):
        toolset = next(s.toolset for s in domains if s.domain.name == dialogue.domain)
        environment = environments.for_domain(toolset, Meter(ScriptedLLM()), "d").open()
        for name, arguments, recorded in calls(dialogue.messages):
            if "permission denied" in recorded or "try again" in recorded:
                injected += 1
            else:
                assert asyncio.run(environment.call(name, arguments)).content == recorded
        assert dialogue.state
        assert environment.state_diff() == dialogue.state.diff
        changing += bool(dialogue.state.diff)
        environment.close()
    environments.close()
    assert injected == sum(injected_faults(played).values()) > 20
    assert changing > 5


def test_a_task_made_impossible_by_faults_rejects_its_dialogue(domains: Domains, tmp_path: Path) -> None:
    llm = ScriptedLLM(error_rate=0.0)
    played = run_with_faults("user_oriented_exec", domains, tmp_path, n=6, llm=llm, tools={"permission": 1.0})
    assert (played.statistics.rejected, played.statistics.failed) == (6, 0)
    assert played.statistics.blame == {"tool": 6}


def test_later_stages_meet_the_same_faults(domains: Domains, tmp_path: Path) -> None:
    """Also in separate runs, where the dialogues have other numbers."""

    def stage(folder: str, step: Any, before: FinishedRun | None) -> FinishedRun:
        starts = start_states(read_starts(before.directory / "dialogues.jsonl")[2:]) if before else start_states()
        more = {"stages": (step,), "starts": starts, "llm": ScriptedLLM(error_rate=0.0), "tools": ALL}
        return run_with_faults("user_oriented_exec", domains, tmp_path / folder, n=12, **more)

    played = stage("rollout", Rollouts(), stage("tasks", Tasks(), None))
    judged = stage("validation", Validation(votes=1, attempts=1), played)
    verdicts = [d.verdict for d in all_dialogues(judged) if d.verdict and len(d.verdict.checks) > 1]
    assert len(verdicts) > 5
    assert all(check.passed for verdict in verdicts for check in verdict.checks if check.name == "replay")
    assert injected_faults(judged)
    assert any(not verdict.accepted for verdict in verdicts)


def test_a_dialogue_with_faults_can_be_forked_where_it_met_them(domains: Domains, tmp_path: Path) -> None:
    parents = run_with_faults("user_oriented_exec", domains, tmp_path / "parents", n=12, tools=ALL)
    starts = start_states(read_starts(parents.directory / "dialogues.jsonl"), at="random", branches=2)
    forks = run_with_faults("user_oriented_exec", domains, tmp_path / "forks", n=12, tools=ALL, starts=starts)
    assert adds_up(forks, starts.count(12))
    assert forks.accepted
    stops = [d.stop for d in all_dialogues(forks)]
    assert not [stop for stop in stops if stop.startswith("replay")]
