"""Who makes which dialogue, how often one is tried, and what is left when nobody answers."""

from __future__ import annotations

import asyncio
import importlib.util
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.journal import read_jsonl
from core.settings import UserError
from generation.llm.base import Completion, LLMError, Request
from generation.outcomes import Outcome
from generation.pipeline import DomainTools
from generation.ray_executor import Ray
from generation.runner import AttemptSettings, Batch, DeadLetter, in_order, run, shards
from generation.scripted.llm import ScriptedLLM
from tests.generation.helpers.pipeline_runs import ATTEMPTS, files, ignore, pipeline_of, play, run_local

Subjects = tuple[DomainTools, ...]
EXECUTED = "user_oriented_exec"


@given(st.lists(st.integers(0, 500), unique=True), st.integers(1, 9))
def test_of_the_last_rounds_the_longest_begin_first(numbers: list[int], concurrency: int) -> None:
    def weight(number: int) -> int:
        return number % 7

    order = in_order(tuple(numbers), weight, concurrency)
    assert sorted(order) == sorted(numbers), "every dialogue once"
    tail = max(0, len(numbers) - 4 * concurrency)
    assert order[:tail] == tuple(numbers[:tail])
    weights = [weight(number) for number in order[tail:]]
    assert weights == sorted(weights, reverse=True)


@given(st.integers(0, 40), st.integers(1, 8), st.integers(1, 40))
def test_shards_are_the_batch_dealt_out(count: int, workers: int, concurrency: int) -> None:
    batch = Batch(tuple(range(count)), {}, 1, ATTEMPTS, concurrency)
    parts = shards(batch, workers)
    assert Counter(number for part in parts for number in part.numbers) == Counter(range(count))
    assert [part.shard for part in parts] == list(range(1, workers + 1)), "0 is this process's own journal"
    sizes = [len(part.numbers) for part in parts]
    assert max(sizes) - min(sizes) <= 1
    assert all(part.concurrency >= 1 for part in parts)


class Unsteady(ScriptedLLM):
    """Cannot be reached for some dialogues, each so many times."""

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


def make(
    llm: ScriptedLLM, domains: Subjects, directory: Path, limits: AttemptSettings, told: list[Outcome] | None = None
) -> None:
    pipeline = pipeline_of(EXECUTED, domains, llm)
    on_outcome = ignore if told is None else told.append
    try:
        asyncio.run(run_local(pipeline, directory, 12, 4, on_outcome, limits))
    finally:
        pipeline.environments.close()


def test_what_was_lost_is_tried_again_in_the_same_session(domains: Subjects, tmp_path: Path) -> None:
    undisturbed = play(EXECUTED, domains, tmp_path / "calm", n=12)
    told: list[Outcome] = []
    make(Unsteady({2: 2, 5: 1}), domains, tmp_path / "unsteady", attempts(3, 9), told)
    assert files(tmp_path / "unsteady") == files(undisturbed.directory)
    assert (tmp_path / "unsteady" / "dead_letters.jsonl").read_bytes() == b""
    assert Counter(outcome.dialogue_id for outcome in told) == Counter(f"{EXECUTED}-{i:07d}" for i in range(12))
    lines = list(read_jsonl(tmp_path / "unsteady" / "journal.jsonl", Outcome))
    assert Counter(int(line.dialogue_id[-2:]) for line in lines if line.unanswered) == {2: 2, 5: 1}


def test_attempts_are_counted_over_sessions_and_end_in_a_dead_letter(domains: Subjects, tmp_path: Path) -> None:
    llm = Unsteady({4: 99})
    for session, tried in ((1, 2), (2, 4), (3, 5), (4, 5)):
        make(llm, domains, tmp_path, attempts(2, 5))
        assert llm.tried[4] == tried, session
        (letter,) = read_jsonl(tmp_path / "dead_letters.jsonl", DeadLetter)
        assert (letter.dialogue_id, letter.attempts, letter.unanswered) == (f"{EXECUTED}-0000004", tried, True)
        assert letter.reasons == ("llm: the server is gone",)
    assert letter.dialogue
    assert letter.dialogue.tasks
    assert letter.dialogue.messages[-1].role == "user", "it broke off where the agent was to answer"
    assert letter.dialogue.usage.roles["user"].requests == 1


def test_when_nobody_answers_the_session_ends_and_the_next_goes_on(domains: Subjects, tmp_path: Path) -> None:
    llm = Unsteady(dict.fromkeys(range(3, 12), 1))
    with pytest.raises(UserError, match=r"no model answered 4 dialogues in a row; .*llm: the server is gone"):
        make(llm, domains, tmp_path, attempts(1, 9, in_a_row=4))
    assert not (tmp_path / "dialogues.jsonl").exists()
    for _ in range(3):
        try:
            make(llm, domains, tmp_path, attempts(3, 9, in_a_row=9))
        except UserError:
            continue
    assert files(tmp_path) == files(play(EXECUTED, domains, tmp_path / "calm", n=12).directory)


def test_many_journals_are_read_as_one_and_torn_lines_survive(domains: Subjects, tmp_path: Path) -> None:
    whole = play(EXECUTED, domains, tmp_path / "whole", n=12)
    lines = (whole.directory / "journal.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "dealt").mkdir()
    for shard in range(3):
        (tmp_path / "dealt" / f"journal-{shard + 1:03d}.jsonl").write_bytes(b"".join(lines[shard:9:3]) + lines[9][:50])
    made = play(EXECUTED, domains, tmp_path / "dealt", n=12)
    assert files(made.directory) == files(whole.directory)
    assert len({request.affinity for request, _ in made.log}) == 3, "only what was missing is made"


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="the extra ray is not installed")
def test_ray_with_two_workers_gives_the_files_of_the_local_executor(domains: Subjects, tmp_path: Path) -> None:
    local = play(EXECUTED, domains, tmp_path / "local", n=24)
    told: list[Outcome] = []
    pipeline = pipeline_of(EXECUTED, domains, ScriptedLLM())
    directory = tmp_path / "ray"
    asyncio.run(run(pipeline, directory, 24, 8, ATTEMPTS, Ray(workers=2), told.append))
    assert files(directory) == files(local.directory)
    assert Counter(outcome.dialogue_id for outcome in told) == Counter(f"{EXECUTED}-{i:07d}" for i in range(24))
    shares = [len(list(read_jsonl(directory / f"journal-00{shard}.jsonl", Outcome))) for shard in (1, 2)]
    assert shares == [12, 12]
    (directory / "journal-002.jsonl").write_bytes((directory / "journal-002.jsonl").read_bytes()[:-300])
    asyncio.run(run(pipeline, directory, 30, 8, ATTEMPTS, Ray(workers=3), told.append))
    assert files(directory) == files(play(EXECUTED, domains, tmp_path / "more", n=30).directory)


def test_no_cluster_and_no_workers_are_the_users_to_mend() -> None:
    with pytest.raises(UserError, match=r"executor\.workers=0 was given"):
        Ray(workers=0)
