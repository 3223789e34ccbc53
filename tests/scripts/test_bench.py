"""The benchmarks at their smallest: they run, their counts add up, and they write their reports. Times are not
checked."""

from __future__ import annotations

import asyncio
import sqlite3
import statistics
from collections import OrderedDict
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.messages import AssistantMessage, SystemMessage, ToolCall, ToolMessage, UserMessage
from core.settings import Settings, UserError
from generation.llm.base import Completion, Request
from generation.llm.contexts import AgentContext
from generation.seeds.bundled import BundledSeeds
from scripts.bench import bfcl_cost, environment, orchestration, prefix
from scripts.bench import eval as evaluation
from scripts.bench.benchmark import BenchSettings, Metric, Report
from scripts.bench.databases import count_rows, enlarged_copy, make_tools, sample_calls
from scripts.bench.mock_server import latency
from scripts.bench.orchestration import TASK
from scripts.bench.prefix import TokenCosts
from scripts.bench.prefix_cache_sim import BLOCK, EngineRequest, PrefixCache, Tally, engine_request, read_metrics, total
from scripts.bench.tau2_cost import tau2_cost
from scripts.launch import read_settings
from tests.scripts.helpers.bench_runs import published


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    (seed,) = BundledSeeds(tmp_path_factory.mktemp("seeds"), ["library"]).load()
    assert seed.database
    return seed.database


def test_a_missed_target_is_reported_without_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    metrics = (
        Metric(name="speed", value=0.4, target=0.5, better="higher"),
        Metric(name="cost", value=1.0, target=1.0, better="lower"),
    )
    content = published(Report(name="example", inputs={"n": 1}, metrics=metrics, notes={"noise": "much"}), tmp_path)
    assert [metric["met"] for metric in content["metrics"]] == [False, True]
    printed = capsys.readouterr().out
    assert "1 missed: speed" in printed
    assert "noise: much" in printed


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["rounds=many"], "rounds"),
        (["ronds=3"], "unknown config key 'ronds'; did you mean 'rounds'?"),
        (["fast"], "'fast' was given; expected key=value"),
    ],
)
def test_wrong_words_name_themselves(words: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message.replace("?", r"\?")):
        read_settings(words, environment.EnvironmentSettings)


def test_words_become_settings() -> None:
    class Some(BenchSettings):
        times: tuple[int, ...]
        on: bool
        name: str

    read = read_settings(["times=[1,2]", "on=true", "name=a=b", "outputs=/x"], Some)
    assert (read.times, read.on, read.name, read.outputs) == ((1, 2), True, "a=b", Path("/x"))
    assert isinstance(read, Settings)


def test_environment(tmp_path: Path, library: Path) -> None:
    configured = environment.EnvironmentSettings(
        outputs=tmp_path, database=library, rounds=2, repeats=1, times=(1, 2), max_tools=6, changes=1, samples=1
    )
    content = published(environment.measure(configured), configured.directory)
    assert len(content["metrics"]) == 3
    assert all(metric["value"] > 0 for metric in content["metrics"])
    sizes = content["notes"]["sizes"]
    assert sizes["2"]["rows"] == 2 * sizes["1"]["rows"]
    assert not (configured.directory / "environment").exists(), "its copies are deleted"


def test_an_enlarged_database_has_every_row_several_times(tmp_path: Path, library: Path) -> None:
    enlarged = enlarged_copy(library, 3, tmp_path)
    assert count_rows(enlarged) == 3 * count_rows(library)
    with closing(sqlite3.connect(enlarged)) as connection, closing(sqlite3.connect(library)) as original:
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        count = "SELECT b.title, count(*) FROM loans l JOIN books b USING (book_id) GROUP BY 1"
        once = dict(original.execute(count).fetchall())
        assert dict(connection.execute(count).fetchall()) == {title: 3 * n for title, n in once.items()}


def test_sampled_calls_succeed_and_writing_calls_are_separate(library: Path) -> None:
    tools = make_tools(library, 8)
    reads, writes = sample_calls(tools, library, 2)
    assert reads
    assert writes
    assert {name for name, _ in reads}.isdisjoint(name for name, _ in writes)
    assert {name for name, _ in reads + writes} <= {tool.spec.name for tool in tools}


def test_a_database_without_enough_calls_is_refused(tmp_path: Path, library: Path) -> None:
    with pytest.raises(UserError, match="expected at least one and changes=99"):
        environment.measure(environment.EnvironmentSettings(outputs=tmp_path, database=library, changes=99))
    with pytest.raises(UserError, match="there is no such file"):
        environment.measure(environment.EnvironmentSettings(outputs=tmp_path, database=tmp_path / "none.sqlite"))


@pytest.mark.slow
def test_orchestration(tmp_path: Path) -> None:
    configured = orchestration.OrchestrationSettings(
        outputs=tmp_path,
        repeats=1,
        dialogues=6,
        calls=2,
        in_flight=3,
        fixed_s=0.01,
        in_flight_heavy=3,
        mean_s=0.01,
        domains=("gym",),
        replayed=2,
        replayed_s=0.0,
        concurrent=4,
        concurrent_s=0.0,
    )
    content = published(orchestration.measure(configured), configured.directory)
    assert len(content["metrics"]) == 5
    assert all(metric["value"] > 0 for metric in content["metrics"])
    notes = content["notes"]["pipeline"]
    assert sum(notes["runs"][0]["outcomes"].values()) == 2
    assert sum(notes["concurrent"]["outcomes"].values()) == 4
    assert notes["concurrent"]["requests"] == 2 * notes["runs"][0]["requests"], "the same two dialogues, twice"
    assert notes["concurrent"]["calls"] == notes["concurrent"]["requests"] + notes["runs"][0]["requests"], (
        "and once as warm-up"
    )
    assert "failed" not in notes["concurrent"]["outcomes"]


def test_both_clients_send_the_same_requests_within_the_limit(tmp_path: Path) -> None:
    configured = orchestration.OrchestrationSettings(outputs=tmp_path, dialogues=10, calls=3)
    with orchestration.mock(configured, "fixed:0.005") as url:
        for client in (orchestration.ours, orchestration.bare):
            asyncio.run(client(url, configured, 4)())
            assert orchestration.counts(url) == {"calls": 30, "in_flight": 0, "max_in_flight": 4, "unrecorded": 0}


def test_lognormal_latency_has_its_mean_and_follows_the_seed() -> None:
    drawn = [latency("lognormal:1.0")(seed) for seed in range(20_000)]
    assert statistics.fmean(drawn) == pytest.approx(1.0, rel=0.05)
    assert statistics.median(drawn) == pytest.approx(2.718281828**-0.5, rel=0.05), "σ = 1"
    assert latency("lognormal:1.0")(7) == drawn[7]
    assert latency("fixed:0.2")(1) == 0.2
    with pytest.raises(ValueError, match="expected fixed:SECONDS or lognormal:MEAN"):
        latency("uniform:1")


def test_prefix(tmp_path: Path) -> None:
    configured = prefix.PrefixSettings(
        outputs=tmp_path, dialogues=4, concurrency=2, domains=("gym",), tasks_per_dialogue=2, turns=1, replicas=2
    )
    content = published(prefix.measure(configured), configured.directory)
    names = [metric["name"] for metric in content["metrics"]]
    assert len(names) == 4
    assert all(metric["value"] > 0 for metric in content["metrics"])
    affine, random_routing = (
        content["notes"][key] for key in ("hit rate with affinity", "hit rate with random routing")
    )
    assert 0 < random_routing["user and agent"] < affine["user and agent"] < 1
    assert content["notes"]["cost model"]["assumptions"]["prefill"] == 0.1


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 6), st.integers(0, 2)), min_size=1, max_size=40),
    st.integers(1, 12),
)
@settings(max_examples=100, deadline=None)
def test_a_cache_hits_what_a_plain_list_of_blocks_would(requests: list[tuple[int, int, int]], size: int) -> None:
    """Prompts of a few families, with blocks named by family and position, against a list in order of use."""
    cache, recent = PrefixCache(size), OrderedDict[int, None]()
    for family, complete, answer in requests:
        blocks = tuple(100 * family + place for place in range(complete + answer))
        request = EngineRequest("agent", "d", complete * BLOCK + 1, answer * BLOCK, blocks)
        expected = 0
        for place in range(complete):
            if blocks[place] not in recent:
                break
            expected += BLOCK
        for block in reversed(blocks):
            recent.pop(block, None)
            recent[block] = None
        for oldest in list(recent)[: max(0, len(recent) - size)]:
            del recent[oldest]
        assert cache.serve(request) == expected


def _request(*messages: Any) -> Request:
    context = AgentContext(task=TASK, task_start=1)
    return Request(role="agent", messages=messages, key="k", affinity="d", context=context)


def test_the_next_turn_shares_the_prefix_up_to_the_dropped_reasoning() -> None:
    """By hand: after the next user message the prompt no longer has the reasoning of the answer before it."""
    first = _request(SystemMessage(content="rule " * 200), UserMessage(content="question " * 40))
    answer = AssistantMessage(reasoning_content="hm", content="answer " * 40)
    first_served = engine_request(first, Completion(answer), thinking=64)
    second_served = engine_request(
        _request(*first.messages, answer, UserMessage(content="more " * 40)), Completion(answer), thinking=64
    )
    shared = next(i for i, (a, b) in enumerate(zip(first_served.blocks, second_served.blocks, strict=False)) if a != b)
    assert shared == first_served.prompt_tokens // BLOCK, "the prompt and not the answer, which followed reasoning"
    assert first_served.answer_tokens > 64 + 40
    assert second_served.prompt_tokens - first_served.prompt_tokens < 64 + 40 + 40


def test_the_next_step_of_a_turn_shares_prompt_and_answer() -> None:
    """By hand: only the tool's result is new; the reasoning stays."""
    first = _request(SystemMessage(content="rule " * 200), UserMessage(content="question " * 40))
    answer = AssistantMessage(reasoning_content="hm", tool_calls=(ToolCall.make("c", "look", {"id": 5}),))
    first_served = engine_request(first, Completion(answer), thinking=64)
    result = ToolMessage(tool_call_id="c", content="row " * 30)
    second_served = engine_request(_request(*first.messages, answer, result), Completion(answer), thinking=64)
    cache = PrefixCache(1_000)
    assert cache.serve(first_served) == 0
    cached = cache.serve(second_served)
    assert cached >= first_served.prompt_tokens + first_served.answer_tokens - 2 * BLOCK
    assert second_served.prompt_tokens - cached < 30 + 2 * BLOCK + 20


def test_an_engine_s_counters_are_read() -> None:
    text = """# HELP vllm:prefix_cache_queries_total Prefix cache queries
vllm:prefix_cache_queries_total{engine="0",model_name="tiny"} 1.458674e+06
vllm:prefix_cache_queries_total{engine="1",model_name="tiny"} 10.0
vllm:prefix_cache_hits_total{engine="0",model_name="tiny"} 7.0
vllm:external_prefix_cache_hits_total{engine="0",model_name="tiny"} 99.0
"""
    assert read_metrics(text) == {"queries": 1_458_684, "hits": 7}


def test_token_costs_by_hand() -> None:
    tally = Tally(prompt=10_000, cached=9_000, generated=1_000, requests=10)
    costs = TokenCosts(prefill=0.1, cached=0.01, context_of_two=1_000, thinking=0)
    context = 10_000 / 10 + 1_000 / 10 / 2
    assert costs.of(tally) == pytest.approx(100 + 90 + 1_000 * (1 + context / 1_000))
    both = total([tally, tally])
    assert (both.hit, both.requests) == (0.9, 20)


@pytest.mark.slow
@pytest.mark.skipif(
    not Path(".venv-bfcl/bin/python").is_file(), reason="BFCL's own environment is not built (make setup)"
)
def test_eval(tmp_path: Path) -> None:
    configured = evaluation.EvalSettings(outputs=tmp_path, categories=("live_relevance",), in_flight=4, samples=0)
    content = published(evaluation.measure(configured), configured.directory)
    assert [metric["target"] for metric in content["metrics"]] == [1.0]
    notes = content["notes"]["bfcl"]
    assert notes["tasks"] == 16
    assert notes["requests"] == {"ours": 16, "official": 16}
    assert notes["passed, with both"] == {"live_relevance": 16}
    assert content["metrics"][0]["value"] == pytest.approx(notes["official_s"][0] / notes["ours_s"][0], rel=0.1)


@pytest.mark.slow
def test_tau2_cost() -> None:
    """The stock task alone would take half a minute; `make bench-eval` measures it."""
    assert tau2_cost(1, ("ours",))["ours"] > 0


def test_eval_refuses_categories_it_cannot_compare(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"memory_kv was given"):
        bfcl_cost.bfcl_cost(("memory_kv",), 1, 1, tmp_path)
