"""Scheduling and sharding of dialogues, retries, and what remains when no model responds."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.journal import read_jsonl
from core.settings import UserError
from generation.llm.base import Completion, LLMError, Request
from generation.outcomes import Outcome, Outcomes, Status, journal
from generation.pipeline import DomainTools
from generation.ray_executor import Ray
from generation.runner import AttemptSettings, Batch, DeadLetter, in_order, run_pipeline, shards
from generation.scripted.llm import ScriptedLLM
from tests.generation.helpers.pipeline_runs import ATTEMPTS, files, ignore, pipeline_of, run_local, run_to_end

Domains = tuple[DomainTools, ...]
EXECUTED = "user_oriented_exec"


@given(st.lists(st.integers(0, 500), unique=True), st.integers(1, 9))
def test_the_longest_of_the_last_rounds_start_first(numbers: list[int], concurrency: int) -> None:
    def weight(number: int) -> int:
        return number % 7

    order = in_order(tuple(numbers), weight, concurrency)
    assert sorted(order) == sorted(numbers), "every dialogue once"
    tail = max(0, len(numbers) - 4 * concurrency)
    assert order[:tail] == tuple(numbers[:tail])
    weights = [weight(number) for number in order[tail:]]
    assert weights == sorted(weights, reverse=True)


@given(st.integers(0, 40), st.integers(1, 8), st.integers(1, 40))
def test_shards_partition_the_batch(count: int, workers: int, concurrency: int) -> None:
    batch = Batch(tuple(range(count)), {}, 1, ATTEMPTS, concurrency)
    parts = shards(batch, workers)
    assert Counter(number for part in parts for number in part.numbers) == Counter(range(count))
    assert [part.shard for part in parts] == list(range(1, workers + 1)), "0 is this process's own journal"
    sizes = [len(part.numbers) for part in parts]
    assert max(sizes) - min(sizes) <= 1
    assert all(part.concurrency >= 1 for part in parts)


class Unsteady(ScriptedLLM):
    """Cannot be reached for some dialogues: number -> how many times."""

    def __init__(self, outages: dict[int, int]) -> None:
        super().__init__()
        self.outages = dict(outages)
        self.tried: Counter[int] = Counter()

    async def complete(self, request: Request) -> Completion:
        number = int(request.affinity.rpartition("-")[2])
        if request.role == "agent" and self.outages.get(number, 0) > 0:
            self.outages[number] -= 1
            self.tried[number] += 1
            raise LLMError("the server is gone")
        return await super().complete(request)


def attempts(session: int, total: int, in_a_row: int = 1000) -> AttemptSettings:
    return AttemptSettings(session=session, total=total, unanswered_in_a_row=in_a_row)


def generate(
    llm: ScriptedLLM, domains: Domains, directory: Path, limits: AttemptSettings, seen: list[Outcome] | None = None
) -> None:
    pipeline = pipeline_of(EXECUTED, domains, llm)
    on_outcome = ignore if seen is None else seen.append
    try:
        asyncio.run(run_local(pipeline, directory, 12, 4, on_outcome, limits))
    finally:
        pipeline.environments.close()


def test_an_unanswered_dialogue_is_retried_in_the_same_session(domains: Domains, tmp_path: Path) -> None:
    undisturbed = run_to_end(EXECUTED, domains, tmp_path / "calm", n=12)
    seen: list[Outcome] = []
    generate(Unsteady({2: 2, 5: 1}), domains, tmp_path / "unsteady", attempts(3, 9), seen)
    assert files(tmp_path / "unsteady") == files(undisturbed.directory)
    assert (tmp_path / "unsteady" / "dead_letters.jsonl").read_bytes() == b""
    assert Counter(outcome.dialogue_id for outcome in seen) == Counter(f"{EXECUTED}-{i:07d}" for i in range(12))
    lines = list(read_jsonl(tmp_path / "unsteady" / "journal.jsonl", Outcome))
    assert Counter(int(line.dialogue_id[-2:]) for line in lines if line.unanswered) == {2: 2, 5: 1}


def test_attempts_add_up_over_sessions_and_end_in_a_dead_letter(domains: Domains, tmp_path: Path) -> None:
    llm = Unsteady({4: 99})
    for session, tried in ((1, 2), (2, 4), (3, 5), (4, 5)):
        generate(llm, domains, tmp_path, attempts(2, 5))
        assert llm.tried[4] == tried, session
        (letter,) = read_jsonl(tmp_path / "dead_letters.jsonl", DeadLetter)
        assert (letter.dialogue_id, letter.attempts, letter.unanswered) == (f"{EXECUTED}-0000004", tried, True)
        assert letter.reasons == ("llm: the server is gone",)
    assert letter.dialogue
    assert letter.dialogue.tasks
    assert letter.dialogue.messages[-1].role == "user", "it stopped before the agent's answer"
    assert letter.dialogue.usage.roles["user"].requests == 1


def test_a_session_ends_when_no_model_responds_and_the_next_resumes(domains: Domains, tmp_path: Path) -> None:
    llm = Unsteady(dict.fromkeys(range(3, 12), 1))
    with pytest.raises(UserError, match=r"no model answered 4 dialogues in a row; .*llm: the server is gone"):
        generate(llm, domains, tmp_path, attempts(1, 9, in_a_row=4))
    assert not (tmp_path / "dialogues.jsonl").exists()
    for _ in range(3):
        try:
            generate(llm, domains, tmp_path, attempts(3, 9, in_a_row=9))
        except UserError:
            continue
    assert files(tmp_path) == files(run_to_end(EXECUTED, domains, tmp_path / "calm", n=12).directory)


def test_many_journals_are_read_as_one_and_torn_lines_survive(domains: Domains, tmp_path: Path) -> None:
    whole = run_to_end(EXECUTED, domains, tmp_path / "whole", n=12)
    lines = (whole.directory / "journal.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "sharded").mkdir()
    for shard in range(3):
        (tmp_path / "sharded" / f"journal-{shard + 1:03d}.jsonl").write_bytes(
            b"".join(lines[shard:9:3]) + lines[9][:50]
        )
    resumed = run_to_end(EXECUTED, domains, tmp_path / "sharded", n=12)
    assert files(resumed.directory) == files(whole.directory)
    assert len({request.affinity for request, _ in resumed.log}) == 3, "only missing dialogues are generated"


def test_of_several_lines_of_a_dialogue_the_last_attempt_counts_and_the_later_line_of_equal_ones(
    tmp_path: Path,
) -> None:
    written: tuple[tuple[int, Status, int, int], ...] = (
        (0, "rejected", 2, 3),
        (0, "accepted", 2, 4),
        (1, "failed", 1, 2),
    )
    for shard, status, attempt, session in written:
        with journal(tmp_path, shard) as lines:
            outcome = Outcome(dialogue_id="d", status=status, unanswered=status == "failed", attempt=attempt)
            lines.append(outcome.model_copy(update={"session": session}), "d")
    outcomes = Outcomes(tmp_path)
    assert [(outcome.status, outcome.attempt, outcome.session) for outcome in outcomes] == [("accepted", 2, 4)]
    assert outcomes.session == 5
    assert (outcomes.unanswered_attempts("d"), outcomes.unanswered_attempts("e")) == (None, 0)


@pytest.fixture
def ray_ends() -> Iterator[None]:
    """Ray's own processes would take memory and time from all later tests."""
    yield
    importlib.import_module("ray").shutdown()


@pytest.mark.slow
@pytest.mark.usefixtures("ray_ends")
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="the extra ray is not installed")
def test_ray_with_two_workers_gives_the_files_of_the_local_executor(domains: Domains, tmp_path: Path) -> None:
    local = run_to_end(EXECUTED, domains, tmp_path / "local", n=24)
    seen: list[Outcome] = []
    pipeline = pipeline_of(EXECUTED, domains, ScriptedLLM())
    directory = tmp_path / "ray"
    asyncio.run(run_pipeline(pipeline, directory, 24, 8, ATTEMPTS, Ray(workers=2), seen.append))
    assert files(directory) == files(local.directory)
    assert Counter(outcome.dialogue_id for outcome in seen) == Counter(f"{EXECUTED}-{i:07d}" for i in range(24))
    shares = [len(list(read_jsonl(directory / f"journal-00{shard}.jsonl", Outcome))) for shard in (1, 2)]
    assert shares == [12, 12]
    (directory / "journal-002.jsonl").write_bytes((directory / "journal-002.jsonl").read_bytes()[:-300])
    asyncio.run(run_pipeline(pipeline, directory, 30, 8, ATTEMPTS, Ray(workers=3), seen.append))
    assert files(directory) == files(run_to_end(EXECUTED, domains, tmp_path / "more", n=30).directory)


def test_fewer_than_one_worker_is_a_user_error() -> None:
    with pytest.raises(UserError, match=r"executor\.workers=0: expected a number of processes"):
        Ray(workers=0)
