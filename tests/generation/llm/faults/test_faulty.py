"""Injected faults: what breaks, how often, how it is recorded, and that the same seed breaks the same requests."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.settings import UserError
from generation.llm.base import Completion, LLMError, Request, Role
from generation.llm.faults.broken_answers import BREAKAGES
from generation.llm.faults.faulty import FaultyLLM
from generation.llm.meter import Meter
from generation.pipeline import DomainTools
from generation.scripted.llm import ScriptedLLM
from generation.seeds.base import Seed
from generation.stages import Tools
from generation.tools.toolset import Toolset
from generation.toolset_runner import run_toolset_stages, source_from_seed
from tests.generation.helpers.broken_answers import AGENT, IN_JSON, WORDS, request
from tests.generation.helpers.faulty_runs import PIPELINES, adds_up, injected_faults, run_with_faults
from tests.generation.helpers.pipeline_runs import files

Domains = tuple[DomainTools, ...]
SERVER = ("error", "timeout", "slow")
KINDS = (*BREAKAGES, *SERVER)
ALL = dict.fromkeys(KINDS, 0.2)


@dataclass
class Steady:
    """Always gives the same answer, and counts requests."""

    completion: Completion
    name: str = "steady"
    requests: int = 0
    closed: bool = False

    async def complete(self, request: Request) -> Completion:
        self.requests += 1
        return self.completion

    async def close(self) -> None:
        self.closed = True


def complete_all(llm: FaultyLLM, requests: Sequence[Request]) -> list[Completion | None]:
    """The answers, all requested at once; None where the model was unreachable."""

    async def one(request: Request) -> Completion | None:
        try:
            return await llm.complete(request)
        except LLMError:
            return None

    async def concurrently() -> list[Completion | None]:
        return await asyncio.gather(*map(one, requests))

    return asyncio.run(concurrently())


@pytest.fixture
def naps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Sleeping takes no time, but is recorded."""
    real, slept = asyncio.sleep, list[float]()

    async def sleep(seconds: float) -> None:
        slept.extend([seconds] if seconds else [])
        await real(0)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    return slept


# Rates, and what is recorded.


@pytest.mark.parametrize("kind", BREAKAGES)
def test_answers_break_at_the_requested_rate_and_are_flagged(kind: str) -> None:
    llm = FaultyLLM(Steady(IN_JSON), {kind: 0.2})
    answers = [answer for answer in complete_all(llm, [request(number) for number in range(1000)]) if answer]
    broken = [answer for answer in answers if f"injected_{kind}" in answer.flaws]
    assert len(answers) == 1000
    assert 160 < len(broken) < 240
    assert all(answer == IN_JSON for answer in answers if answer not in broken)
    assert all(replace(answer, flaws=()) != IN_JSON for answer in broken)


def test_an_answer_breaks_in_one_way_only_and_every_answer_breaks_if_the_shares_add_up_to_one() -> None:
    llm = FaultyLLM(Steady(IN_JSON), dict.fromkeys(BREAKAGES, 0.25))
    counted: Counter[str] = Counter()
    for answer in complete_all(llm, [request(number) for number in range(800)]):
        assert answer
        (kind,) = (flaw for flaw in answer.flaws if flaw.startswith("injected_"))
        counted[kind] += 1
    assert set(counted) == {f"injected_{kind}" for kind in BREAKAGES}
    assert min(counted.values()) > 150


def test_failed_attempts_are_retried_until_the_attempts_run_out(naps: list[float]) -> None:
    """Half of the attempts fail, so a quarter of the requests fail after one retry."""
    model = Steady(IN_JSON)
    llm = FaultyLLM(model, {"error": 0.3, "timeout": 0.2}, retries=1, slow_s=9.0)
    answers = complete_all(llm, [request(number) for number in range(2000)])
    unanswered = answers.count(None)
    assert 430 < unanswered < 570
    assert model.requests == 2000 - unanswered, "a failed attempt never reaches the model"
    failures = Counter(flaw for answer in answers if answer for flaw in answer.flaws)
    assert set(failures) == {"injected_error", "injected_timeout"}
    assert 1.2 < failures["injected_error"] / failures["injected_timeout"] < 1.8
    assert set(naps) == {9.0}
    # Unanswered requests failed twice, 40 % of the time with a timeout.
    assert len(naps) - failures["injected_timeout"] == pytest.approx(2 * unanswered * 0.4, rel=0.15)


def test_the_error_of_a_dead_server_gives_the_number_of_attempts(naps: list[float]) -> None:
    for kind, problem in (("error", "HTTP 503"), ("timeout", "no answer in time")):
        llm = FaultyLLM(Steady(IN_JSON), {kind: 1.0}, retries=2)
        with pytest.raises(LLMError, match=rf"^d/judge/0: injected: {problem} \(tried 3 times\)$"):
            asyncio.run(llm.complete(request()))


def test_a_slow_answer_is_the_same_answer_later(naps: list[float]) -> None:
    llm = FaultyLLM(Steady(IN_JSON), {"slow": 0.2}, slow_s=30.0)
    answers = complete_all(llm, [request(number) for number in range(500)])
    late = [answer for answer in answers if answer != IN_JSON]
    assert naps == [30.0] * len(late)
    assert 70 < len(late) < 130
    assert all(answer == replace(IN_JSON, flaws=("injected_slow",)) for answer in late)


def test_the_meter_counts_failures_that_were_overcome() -> None:
    llm = FaultyLLM(Steady(IN_JSON), {"error": 0.5, "truncated": 0.3}, retries=20)
    meter = Meter(llm)

    async def requests() -> None:
        for number in range(200):
            await meter.complete(request(number))

    asyncio.run(requests())
    counted = meter.usage.flaws
    assert counted["judge/truncated"] == counted["judge/injected_truncated"] > 30
    # As many failures as successes are expected of a fair coin.
    assert 150 < counted["judge/injected_error"] < 250


def test_only_the_named_roles_get_faults() -> None:
    llm = FaultyLLM(Steady(WORDS), {"empty": 1.0}, roles=["agent"])
    agent, judge = complete_all(llm, [AGENT, request()])
    assert agent
    assert agent.flaws == ("injected_empty",)
    assert judge == WORDS


def test_an_answer_that_the_model_itself_truncated_is_not_broken_again() -> None:
    cut = replace(IN_JSON, finish_reason="length", flaws=("repaired",))
    assert complete_all(FaultyLLM(Steady(cut), {"malformed": 1.0}), [request()]) == [cut]


async def test_it_wraps_its_model() -> None:
    model = Steady(WORDS)
    llm = FaultyLLM(model, {})
    assert llm.name == "steady with faults"
    model.name = "another"
    assert llm.name == "another with faults", "a client learns the name from its server"
    assert await llm.complete(AGENT) == WORDS
    await llm.close()
    assert model.closed


@given(seed=st.integers(), order=st.permutations(range(12)))
@settings(max_examples=30, deadline=None)
def test_a_request_gets_the_same_fault_whenever_it_is_sent(seed: int, order: list[int]) -> None:
    def answers(numbers: Sequence[int]) -> dict[int, Completion | None]:
        llm = FaultyLLM(Steady(IN_JSON), ALL, retries=1, slow_s=0.0, seed=seed)
        return dict(zip(numbers, complete_all(llm, [request(number) for number in numbers]), strict=True))

    assert answers(order) == answers(range(12))


@pytest.mark.parametrize(
    ("settings_", "why"),
    [
        ({"shares": {"malformd": 0.2}}, "'llm.shares.malformd'; did you mean 'malformed'"),
        ({"shares": {"empty": -0.1}}, "'llm.shares.empty': .*greater than or equal to 0"),
        ({"shares": {"empty": 0.6, "unclosed": 0.6}}, "add up to 1.2; at most 1 is expected"),
        ({"shares": {"error": 0.6, "timeout": 0.6}}, "error, timeout add up to 1.2"),
        ({"shares": {}, "roles": ["agnet"]}, r"unknown roles \['agnet'\]; roles: .*agent"),
        ({"shares": {}, "retries": -1}, "llm.retries=-1 was given; a number from 0 is expected"),
        ({"shares": {}, "slow_s": "long"}, "llm.slow_s='long' was given"),
    ],
)
def test_impossible_settings_are_named(settings_: dict[str, Any], why: str) -> None:
    with pytest.raises(UserError, match=why):
        FaultyLLM(Steady(WORDS), **settings_)


def test_shares_may_add_up_to_one_despite_rounding() -> None:
    FaultyLLM(Steady(WORDS), {"malformed": 0.2, "truncated": 0.4, "empty": 0.3, "unclosed": 0.1})


# Complete pipelines.


def faulty(shares: dict[str, float], seed: int = 0, **more: Any) -> FaultyLLM:
    return FaultyLLM(ScriptedLLM(seed=seed), shares, seed=seed, slow_s=0.0, **more)


@pytest.mark.parametrize("kind", [*KINDS, "together"])
@pytest.mark.parametrize("name", PIPELINES)
def test_each_fault_occurs_and_every_dialogue_is_accounted_for(
    name: str, kind: str, domains: Domains, tmp_path: Path
) -> None:
    shares = ALL if kind == "together" else {kind: 0.2}
    played = run_with_faults(name, domains, tmp_path, n=5, llm=faulty(shares))
    assert adds_up(played, 5)
    assert set(injected_faults(played)) == (set(KINDS) if kind == "together" else {kind})
    harmless = kind in SERVER
    assert played.statistics.failed == played.statistics.unanswered
    if harmless:
        plain = run_with_faults(name, domains, tmp_path / "plain", n=5)
        assert [d.messages for d in played.accepted] == [d.messages for d in plain.accepted], "retries succeed"


@pytest.mark.parametrize("name", PIPELINES)
def test_the_same_seed_gives_the_same_files_at_any_concurrency(name: str, domains: Domains, tmp_path: Path) -> None:
    shares = ALL | {"error": 0.3, "timeout": 0.3}
    one, many = (
        run_with_faults(name, domains, tmp_path / str(workers), n=6, llm=faulty(shares, retries=4), concurrency=workers)
        for workers in (1, 16)
    )
    assert files(one.directory) == files(many.directory)
    assert one.statistics.unanswered, "some dialogues go unanswered"
    other = FaultyLLM(ScriptedLLM(), shares, seed=1, slow_s=0.0, retries=4)
    assert files(run_with_faults(name, domains, tmp_path / "other", n=6, llm=other).directory) != files(one.directory)


def test_unanswered_dialogues_give_the_reason(domains: Domains, tmp_path: Path) -> None:
    llm = faulty({"error": 0.02}, retries=0)
    played = run_with_faults("user_oriented_exec", domains, tmp_path, n=20, llm=llm)
    lost = [letter for letter in played.dead if letter.unanswered]
    assert adds_up(played, 20)
    assert 3 < len(lost) == played.statistics.unanswered < 17
    assert all(r.reasons[0].startswith(f"llm: {r.dialogue_id}/") for r in lost)
    assert all("injected: HTTP 503 (tried 1 times)" in r.reasons[0] for r in lost)


@pytest.mark.parametrize(("role", "kind"), [("user", "empty"), ("agent", "unclosed"), ("agent", "truncated")])
def test_the_role_that_never_answers_usably_is_to_blame(
    role: Role, kind: str, domains: Domains, tmp_path: Path
) -> None:
    llm = faulty({kind: 1.0}, roles=[role])
    played = run_with_faults("user_oriented_exec", domains, tmp_path, n=3, llm=llm)
    assert played.statistics.blame == {role: 3}


def test_toolsets_are_generated_despite_faults(seeds: Sequence[Seed], tmp_path: Path) -> None:
    def generate(seed: int, concurrency: int) -> list[Toolset]:
        stages = [Tools(max_tools=10, batch=5, attempts=6, questions=0, expansion=0)]
        path = tmp_path / f"{seed}-{concurrency}" / "toolsets.jsonl"
        llm = FaultyLLM(ScriptedLLM(), dict.fromkeys(BREAKAGES, 0.2) | {"error": 0.2}, seed=seed, slow_s=0.0)
        return asyncio.run(
            run_toolset_stages(
                [source_from_seed(source) for source in seeds], stages, llm, path, concurrency, lambda toolset: None
            )
        )

    first = generate(0, 1)
    assert first == generate(0, 4)
    assert all(len(toolset.tools) >= 3 for toolset in first)
    assert any(toolset.provenance.usage.flaws for toolset in first)
