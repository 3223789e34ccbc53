"""Several rollouts of a dialogue: which one is kept, what is counted, and that all follows from the seed.

The reference plays each rollout in a run of its own.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from core.dialogue import Dialogue
from core.manifest import read_manifest
from core.messages import AssistantMessage
from generation.dialogue.setup import RolloutsSettings
from generation.environments.sql import SqlEnvironmentFactory
from generation.llm.base import Completion, Request
from generation.llm.meter import Meter
from generation.scripted.llm import ScriptedLLM
from generation.stages import Rollouts, Tasks, Validation
from generation.start_states.start_states import read_starts
from generation.validation.validate import replay
from scripts.verify import verify
from tests.generation.helpers.pipeline_answers import EXECUTED, Domains
from tests.generation.helpers.pipeline_runs import FinishedRun, files, run_to_end, start_states
from tests.scripts.helpers.generate_runs import GYM, generate

N, MOST, ERRORS = 15, 3, 1.0
ONE_TASK = {"count": {1: 1.0}}


class Careless(ScriptedLLM):
    """The scripted model, whose agent never helps in every fifth dialogue."""

    async def complete(self, request: Request) -> Completion:
        completion = await super().complete(request)
        if request.role == "agent" and request.affinity.endswith(("0", "5")):
            return replace(completion, message=AssistantMessage(content="Sorry, no."))
        return completion


@dataclass
class OnlyRollout:
    """The scripted model as rollout `number` of every dialogue hears it: the first task is written as ever."""

    number: int
    llm: ScriptedLLM = field(default_factory=lambda: Careless(error_rate=ERRORS))
    name: str = "scripted"

    async def complete(self, request: Request) -> Completion:
        if self.number and request.role != "task_writer":
            key = f"{request.affinity}/rollout-{self.number}/{request.key.removeprefix(request.affinity + '/')}"
            request = replace(request, key=key)
        return await self.llm.complete(request)

    async def close(self) -> None: ...


def all_of(played: FinishedRun) -> dict[str, Dialogue]:
    rejected = [rejection.dialogue for rejection in played.rejected if rejection.dialogue]
    return {dialogue.dialogue_id: dialogue for dialogue in (*played.accepted, *rejected)}


def repeated(name: str, domains: Domains, directory: Path, *, stop_at_first: bool = True, **more: Any) -> FinishedRun:
    settings = RolloutsSettings(most=MOST, stop_at_first=stop_at_first)
    return run_to_end(name, domains, directory, N, Careless(error_rate=ERRORS), rollouts=settings, **ONE_TASK, **more)


def essence(dialogue: Dialogue) -> dict[str, Any]:
    return dialogue.model_dump(include={"messages", "tasks", "task_starts", "stop", "verdict", "state", "tools"})


def accepts(dialogue: Dialogue) -> bool:
    assert dialogue.verdict
    return dialogue.verdict.accepted


@pytest.mark.parametrize("name", ["task_oriented", EXECUTED])
def test_the_first_accepted_rollout_is_kept_and_all_are_counted(name: str, domains: Domains, tmp_path: Path) -> None:
    singles = [
        all_of(run_to_end(name, domains, tmp_path / str(number), N, OnlyRollout(number), **ONE_TASK))
        for number in range(MOST)
    ]
    best, rates = (repeated(name, domains, tmp_path / f"stop {stop}", stop_at_first=stop) for stop in (True, False))
    played_counts: Counter[int] = Counter()
    for dialogue_id, measured in all_of(rates).items():
        rollouts = [single[dialogue_id] for single in singles]
        passed = [number for number, rollout in enumerate(rollouts) if accepts(rollout)]
        first = passed[0] if passed else 0
        assert essence(measured) == essence(rollouts[first])
        assert (measured.provenance.rollouts, measured.provenance.rollouts_passed) == (MOST, len(passed))
        kept = all_of(best)[dialogue_id]
        assert essence(kept) == essence(measured)
        played = first + 1 if passed else MOST
        played_counts[played] += 1
        assert (kept.provenance.rollouts, kept.provenance.rollouts_passed) == (played, min(1, len(passed)))
        writer = rollouts[0].usage.roles["task_writer"].requests
        for dialogue, count in ((measured, MOST), (kept, played)):
            others = sum(rollout.usage.requests - writer for rollout in rollouts[:count])
            assert dialogue.usage.requests == writer + others, "all rollouts are paid for"
    assert len(played_counts) == MOST, "the test needs dialogues that pass at once, later and never"
    assert best.statistics.accepted == rates.statistics.accepted > sum(map(accepts, singles[0].values()))


def test_the_distribution_of_pass_rates_is_in_the_statistics(domains: Domains, tmp_path: Path) -> None:
    rates = repeated(EXECUTED, domains, tmp_path, stop_at_first=False)
    counted = Counter(f"{d.provenance.rollouts_passed}/{d.provenance.rollouts}" for d in all_of(rates).values())
    assert rates.statistics.pass_rates == counted
    assert len(counted) > 2


def test_one_rollout_leaves_no_counts(executed: FinishedRun) -> None:
    assert executed.statistics.pass_rates == {}
    assert all(
        "rollouts" not in d.provenance.model_fields_set or d.provenance.rollouts is None for d in executed.accepted
    )
    assert b"rollouts" not in files(executed.directory)["dialogues.jsonl"]


def test_every_request_has_its_own_key(domains: Domains, tmp_path: Path) -> None:
    settings = RolloutsSettings(most=2, stop_at_first=False)
    played = run_to_end(EXECUTED, domains, tmp_path, 6, rollouts=settings)
    requests = [request for request, _ in played.log]
    assert len({request.key for request in requests}) == len(requests)
    assert all(request.key.startswith(f"{request.affinity}/") for request in requests)
    assert any("follow" in request.key or "/t1" in request.key for request in requests), "further tasks are played"


def test_equal_bytes_at_any_concurrency_and_after_an_interruption(domains: Domains, tmp_path: Path) -> None:
    runs = [repeated(EXECUTED, domains, tmp_path / str(workers), concurrency=workers) for workers in (1, 16)]
    assert files(runs[0].directory) == files(runs[1].directory)
    journal = runs[1].directory / "journal.jsonl"
    journal.write_bytes(journal.read_bytes()[:-3000])
    again = repeated(EXECUTED, domains, tmp_path / "16")
    assert 0 < len({request.affinity for request, _ in again.log}) < N, "only what was lost is played again"
    assert files(again.directory) == files(runs[0].directory)


async def test_the_kept_rollout_replays(domains: Domains, tmp_path: Path) -> None:
    played = await asyncio.to_thread(repeated, EXECUTED, domains, tmp_path)
    later = [dialogue for dialogue in played.accepted if dialogue.provenance.rollouts != 1]
    assert later
    factory = SqlEnvironmentFactory()
    toolsets = {tools.domain.name: tools.toolset for tools in domains}
    for dialogue in later:
        environment = factory.for_domain(toolsets[dialogue.domain], Meter(ScriptedLLM()), dialogue.dialogue_id)
        replayed = await replay(dialogue, environment)
        assert (replayed.faithful, replayed.proof) == (True, dialogue.state)
    factory.close()


def test_an_extended_dialogue_does_not_inherit_the_counts(domains: Domains, tmp_path: Path) -> None:
    played = repeated(EXECUTED, domains, tmp_path / "first")
    starts = start_states(read_starts(played.directory / "dialogues.jsonl"))
    again = run_to_end(EXECUTED, domains, tmp_path / "second", 3, starts=starts)
    assert [d.provenance.rollouts for d in all_of(again).values()] == [None] * 3
    judged = run_to_end(
        EXECUTED, domains, tmp_path / "third", 3, starts=starts, stages=(Validation(votes=1, attempts=1),)
    )
    first = [d.provenance.rollouts for d in played.accepted[:3]]
    assert [d.provenance.rollouts for d in judged.accepted] == first, "judged again, it is the same dialogue"


def test_without_validation_the_first_rollout_that_ends_is_kept(domains: Domains, tmp_path: Path) -> None:
    settings = RolloutsSettings(most=MOST)
    played = run_to_end(EXECUTED, domains, tmp_path, 4, rollouts=settings, stages=(Tasks(), Rollouts()))
    assert [(d.provenance.rollouts, d.provenance.rollouts_passed) for d in played.accepted] == [(1, 1)] * 4


MOST_4 = "pipelines.user_oriented_exec.rollouts.most=4"


def test_a_run_is_told_to_play_several_rollouts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = generate(tmp_path, GYM, "n=8", MOST_4, "llm.error_rate=0.6")
    assert "rollouts accepted/played" in capsys.readouterr().out
    rates = read_manifest(run).results["user_oriented_exec"]["pass_rates"]
    assert sum(rates.values()) == 8
    assert verify(run) == 0


def test_several_rollouts_of_nothing_are_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        generate(tmp_path, GYM, "n=2", "stage=[tools,schemas,tasks]", MOST_4)
    assert f"{MOST_4} was given, but the chosen stages play no dialogue" in capfd.readouterr().err
