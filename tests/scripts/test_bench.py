"""The benchmarks at their smallest: that they run, add up, and write what they promise. Times are not looked at."""

from __future__ import annotations

import asyncio
import json
import random
import sqlite3
import statistics
from collections import OrderedDict
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from core.messages import AssistantMessage, SystemMessage, ToolCall, ToolMessage, UserMessage
from core.settings import Settings, UserError
from generation.llm.base import Completion, Request
from generation.llm.contexts import AgentContext
from generation.seeds.bundled import BundledSeeds
from scripts.bench import bfcl_cost, environment, gpu, orchestration, packing, prefix, synthetic_dialogues, tree
from scripts.bench import eval as evaluation
from scripts.bench.databases import calls_of, grown, rows_in, tools_of
from scripts.bench.mock_server import latency
from scripts.bench.orchestration import TASK
from scripts.bench.prefix import Costs
from scripts.bench.prefix_cache_sim import BLOCK, PrefixCache, Served, Tally, read_metrics, served, total
from scripts.bench.report import BenchSettings, Figure, Report, publish
from scripts.bench.tau2_cost import tau2_cost
from scripts.launch import read_settings


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    (seed,) = BundledSeeds(tmp_path_factory.mktemp("seeds"), ["library"]).load()
    assert seed.database
    return seed.database


def published(report: Report, directory: Path) -> dict[str, Any]:
    """The JSON of a report, with the shape that all of them have."""
    content: dict[str, Any] = json.loads(publish(report, directory, {"load before": 0.5}).read_text())
    assert {"inputs", "machine", "figures"} <= content.keys()
    assert {"processor", "cpus", "system", "python", "load before"} <= content["machine"].keys()
    for figure in content["figures"]:
        assert figure.keys() == {"name", "value", "target", "better", "holds"}
        value, target = figure["value"], figure["target"]
        assert figure["holds"] is (value >= target if figure["better"] == "higher" else value <= target)
    return content


def test_a_missed_target_is_said_and_no_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figures = (
        Figure(name="speed", value=0.4, target=0.5, better="higher"),
        Figure(name="cost", value=1.0, target=1.0, better="lower"),
    )
    content = published(Report(name="made", inputs={"n": 1}, figures=figures, notes={"noise": "much"}), tmp_path)
    assert [figure["holds"] for figure in content["figures"]] == [False, True]
    shown = capsys.readouterr().out
    assert "1 missed: speed" in shown
    assert "noise: much" in shown


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["rounds=many"], "rounds"),
        (["ronds=3"], "unknown config key 'ronds'; did you mean 'rounds'?"),
        (["fast"], "'fast' was given; expected key=value"),
    ],
)
def test_wrong_words_name_themselves(words: list[str], told: str) -> None:
    with pytest.raises(UserError, match=told.replace("?", r"\?")):
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
    given = environment.EnvironmentSettings(
        outputs=tmp_path, database=library, rounds=2, repeats=1, times=(1, 2), max_tools=6, changes=1, samples=1
    )
    content = published(environment.measure(given), given.directory)
    assert len(content["figures"]) == 3
    assert all(figure["value"] > 0 for figure in content["figures"])
    sizes = content["notes"]["sizes"]
    assert sizes["2"]["rows"] == 2 * sizes["1"]["rows"]
    assert not (given.directory / "environment").exists(), "its copies are gone"


def test_a_grown_database_is_the_same_so_many_times_over(tmp_path: Path, library: Path) -> None:
    big = grown(library, 3, tmp_path)
    assert rows_in(big) == 3 * rows_in(library)
    with closing(sqlite3.connect(big)) as connection, closing(sqlite3.connect(library)) as original:
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        count = "SELECT b.title, count(*) FROM loans l JOIN books b USING (book_id) GROUP BY 1"
        once = dict(original.execute(count).fetchall())
        assert dict(connection.execute(count).fetchall()) == {title: 3 * n for title, n in once.items()}


def test_calls_succeed_and_writing_ones_change_something(library: Path) -> None:
    tools = tools_of(library, 8)
    reads, writes = calls_of(tools, library, 2)
    assert reads
    assert writes
    assert {name for name, _ in reads}.isdisjoint(name for name, _ in writes)
    assert {name for name, _ in reads + writes} <= {tool.spec.name for tool in tools}


def test_a_database_without_enough_calls_is_refused(tmp_path: Path, library: Path) -> None:
    with pytest.raises(UserError, match="expected one and changes=99 at least"):
        environment.measure(environment.EnvironmentSettings(outputs=tmp_path, database=library, changes=99))
    with pytest.raises(UserError, match="there is no such file"):
        environment.measure(environment.EnvironmentSettings(outputs=tmp_path, database=tmp_path / "none.sqlite"))


@pytest.mark.slow
def test_orchestration(tmp_path: Path) -> None:
    given = orchestration.OrchestrationSettings(
        outputs=tmp_path,
        repeats=1,
        dialogues=6,
        calls=2,
        in_flight=3,
        fixed_s=0.01,
        in_flight_heavy=3,
        mean_s=0.01,
        domains=("gym",),
        played=2,
        played_s=0.0,
        crowd=4,
        crowd_s=0.0,
    )
    content = published(orchestration.measure(given), given.directory)
    assert len(content["figures"]) == 5
    assert all(figure["value"] > 0 for figure in content["figures"])
    notes = content["notes"]["pipeline"]
    assert sum(notes["runs"][0]["outcomes"].values()) == 2
    assert sum(notes["crowd"]["outcomes"].values()) == 4
    assert notes["crowd"]["requests"] == 2 * notes["runs"][0]["requests"], "the same two dialogues, twice"
    assert notes["crowd"]["calls"] == notes["crowd"]["requests"] + notes["runs"][0]["requests"], "and once to warm up"
    assert "failed" not in notes["crowd"]["outcomes"]


def test_both_clients_ask_the_same_and_never_more_at_once(tmp_path: Path) -> None:
    given = orchestration.OrchestrationSettings(outputs=tmp_path, dialogues=10, calls=3)
    with orchestration.mock(given, "fixed:0.005") as url:
        for client in (orchestration.ours, orchestration.bare):
            asyncio.run(client(url, given, 4)())
            assert orchestration.counts(url) == {"calls": 30, "now": 0, "most": 4, "unknown": 0}


def test_lognormal_latency_has_its_mean_and_follows_the_seed() -> None:
    drawn = [latency("lognormal:1.0")(seed) for seed in range(20_000)]
    assert statistics.fmean(drawn) == pytest.approx(1.0, rel=0.05)
    assert statistics.median(drawn) == pytest.approx(2.718281828**-0.5, rel=0.05), "σ = 1"
    assert latency("lognormal:1.0")(7) == drawn[7]
    assert latency("fixed:0.2")(1) == 0.2
    with pytest.raises(ValueError, match="expected fixed:SECONDS or lognormal:MEAN"):
        latency("uniform:1")


def test_prefix(tmp_path: Path) -> None:
    given = prefix.PrefixSettings(
        outputs=tmp_path, dialogues=4, concurrency=2, domains=("gym",), tasks_per_dialogue=2, turns=1, replicas=2
    )
    content = published(prefix.measure(given), given.directory)
    names = [figure["name"] for figure in content["figures"]]
    assert len(names) == 4
    assert all(figure["value"] > 0 for figure in content["figures"])
    near, apart = (content["notes"][key] for key in ("hit with affinity", "hit with random routing"))
    assert 0 < apart["user and agent"] < near["user and agent"] < 1
    assert content["notes"]["cost model"]["assumptions"]["prefill"] == 0.1


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 6), st.integers(0, 2)), min_size=1, max_size=40),
    st.integers(1, 12),
)
@settings(max_examples=100, deadline=None)
def test_a_cache_hits_what_a_plain_list_of_blocks_would(asked: list[tuple[int, int, int]], size: int) -> None:
    """Prompts of few families, whose blocks are told by family and place, against a list kept in order of use."""
    cache, kept = PrefixCache(size), OrderedDict[int, None]()
    for family, whole, answer in asked:
        blocks = tuple(100 * family + place for place in range(whole + answer))
        request = Served("agent", "d", whole * BLOCK + 1, answer * BLOCK, blocks)
        expected = 0
        for place in range(whole):
            if blocks[place] not in kept:
                break
            expected += BLOCK
        for block in reversed(blocks):
            kept.pop(block, None)
            kept[block] = None
        for oldest in list(kept)[: max(0, len(kept) - size)]:
            del kept[oldest]
        assert cache.serve(request) == expected


def _request(*messages: Any) -> Request:
    context = AgentContext(task=TASK, task_start=1)
    return Request(role="agent", messages=messages, key="k", affinity="d", context=context)


def test_a_dialogue_that_goes_on_shares_its_prefix_until_thoughts_are_dropped() -> None:
    """By hand: the next round of the same turn goes on from prompt and answer; after the user spoke the thought is gone."""
    first = _request(SystemMessage(content="rule " * 200), UserMessage(content="question " * 40))
    answer = AssistantMessage(reasoning_content="hm", content="answer " * 40)
    one = served(first, Completion(answer), thinking=64)
    two = served(_request(*first.messages, answer, UserMessage(content="more " * 40)), Completion(answer), thinking=64)
    shared = next(i for i, (a, b) in enumerate(zip(one.blocks, two.blocks, strict=False)) if a != b)
    assert shared == one.prompt_tokens // BLOCK, "the prompt and not the answer, which had a thought before it"
    assert one.answer_tokens > 64 + 40
    assert two.prompt_tokens - one.prompt_tokens < 64 + 40 + 40


def test_the_next_round_of_a_turn_finds_prompt_and_answer() -> None:
    """By hand: the tool's result is all that is new, thoughts included."""
    first = _request(SystemMessage(content="rule " * 200), UserMessage(content="question " * 40))
    answer = AssistantMessage(reasoning_content="hm", tool_calls=(ToolCall.make("c", "look", {"id": 5}),))
    one = served(first, Completion(answer), thinking=64)
    result = ToolMessage(tool_call_id="c", content="row " * 30)
    two = served(_request(*first.messages, answer, result), Completion(answer), thinking=64)
    cache = PrefixCache(1_000)
    assert cache.serve(one) == 0
    cached = cache.serve(two)
    assert cached >= one.prompt_tokens + one.answer_tokens - 2 * BLOCK
    assert two.prompt_tokens - cached < 30 + 2 * BLOCK + 20


def test_an_engines_counters_are_read() -> None:
    text = """# HELP vllm:prefix_cache_queries_total Prefix cache queries
vllm:prefix_cache_queries_total{engine="0",model_name="tiny"} 1.458674e+06
vllm:prefix_cache_queries_total{engine="1",model_name="tiny"} 10.0
vllm:prefix_cache_hits_total{engine="0",model_name="tiny"} 7.0
vllm:external_prefix_cache_hits_total{engine="0",model_name="tiny"} 99.0
"""
    assert read_metrics(text) == {"queries": 1_458_684, "hits": 7}


def test_what_tokens_cost() -> None:
    tally = Tally(prompt=10_000, cached=9_000, generated=1_000, requests=10)
    costs = Costs(prefill=0.1, cached=0.01, context_of_two=1_000, thinking=0)
    context = 10_000 / 10 + 1_000 / 10 / 2
    assert costs.of(tally) == pytest.approx(100 + 90 + 1_000 * (1 + context / 1_000))
    both = total([tally, tally])
    assert (both.hit, both.requests) == (0.9, 20)


@pytest.mark.slow
@pytest.mark.skipif(
    not Path(".venv-bfcl/bin/python").is_file(), reason="BFCL's own environment is not built (make setup)"
)
def test_eval(tmp_path: Path) -> None:
    given = evaluation.EvalSettings(outputs=tmp_path, categories=("live_relevance",), in_flight=4, samples=0)
    content = published(evaluation.measure(given), given.directory)
    assert [figure["target"] for figure in content["figures"]] == [1.0]
    notes = content["notes"]["bfcl"]
    assert notes["tasks"] == 16
    assert notes["requests"] == {"ours": 16, "official": 16}
    assert notes["passed, with both"] == {"live_relevance": 16}
    assert content["figures"][0]["value"] == pytest.approx(notes["official_s"][0] / notes["ours_s"][0], rel=0.1)


@pytest.mark.slow
def test_tau2_cost() -> None:
    """The stock task alone would take half a minute; `make bench-eval` measures it."""
    assert tau2_cost(1, ("ours",))["ours"] > 0


def test_eval_refuses_what_it_cannot_compare(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"memory_kv was given"):
        bfcl_cost.bfcl_cost(("memory_kv",), 1, 1, tmp_path)


def test_packing_runs(tmp_path: Path) -> None:
    settings = packing.PackingSettings(outputs=tmp_path, items=400, compared=100, many=1000, repeats=1)
    content = published(packing.measure(settings), tmp_path)
    figures = {figure["name"]: figure["value"] for figure in content["figures"]}
    made = packing.trees(settings, 400)
    rows = 400 / figures["rows, one tree each over packed"]
    assert figures["fill"] == pytest.approx(sum(tokens for tokens, _ in made) / (rows * settings.capacity))
    assert 0 <= figures["time spent waiting for other ranks"] < content["notes"]["waiting without balancing"]


def test_made_up_lengths_are_those_of_table_1() -> None:
    draw = random.Random(0)
    drawn = [packing.turns(draw) for _ in range(60_000)]
    weights = [min(samples, 22_930) for _, _, samples in packing.TABLE_1.values()]
    pairs = zip(weights, packing.TABLE_1.values(), strict=True)
    assert statistics.fmean(drawn) == pytest.approx(sum(w * mean for w, (mean, _, _) in pairs) / sum(weights), rel=0.03)
    assert 300 < max(drawn) < 1500


def test_a_made_up_tree_counted_by_hand() -> None:
    # 14 turns are two requests of 7; each has 695 tokens on the trunk and 1695 in its branch.
    tokens, pairs = packing.tree(14, prefix=4000, capacity=32768)
    assert tokens == 4000 + 2 * (695 + 1695)
    trunk = sum(range(1, 4000 + 2 * 695 + 1))
    branches = sum(start + depth for start in (4050, 4745) for depth in range(1, 1695 + 1))
    assert pairs == trunk + branches
    assert packing.tree(10_000, prefix=4000, capacity=32768)[0] <= 32768


def test_a_made_up_dialogue_counted_by_hand() -> None:
    """Three turns of 2, 3 and 2 steps: on the trunk 60 and what was said, in each branch the reasoning too."""
    made = synthetic_dialogues.ways(synthetic_dialogues.Turns(3, scale=1.0, vocabulary=500), row_tokens=20_000)
    two, three = 60 + 150 + 120, 2 * (60 + 150) + 120
    marks = 2 + 3  # one on the trunk for every step of a past turn; the branch has its own
    trunk = 4000 + (60 + two) + (60 + three) + marks
    branches = [steps * 300 + said + 2 * steps for steps, said in ((2, two), (3, three), (2, two))]
    # The first mark of each turn is the same in branch and trunk.
    assert synthetic_dialogues.tokens(made["tree"]) == trunk + 60 + sum(branches) - 2
    assert synthetic_dialogues.trained(made["tree"]) == 7 * 300 + 4 * 60 + 3 * 120
    assert (
        synthetic_dialogues.trained(made["turns"])
        == synthetic_dialogues.trained(made["keep_all"])
        == 7 * 300 + 4 * 60 + 3 * 120
    )
    assert synthetic_dialogues.tokens(made["keep_all"]) == 4000 + 3 * 60 + sum(branches)
    assert all(row.size <= 20_000 for row in made["turns"])


def test_tree_and_gpu_benchmarks_run(tmp_path: Path) -> None:
    short = tree.TreeSettings(outputs=tmp_path, turns=(1, 2), scale=0.01, repeats=1)
    content = published(tree.measure(short), tmp_path)
    assert all(figure["holds"] for figure in content["figures"] if "error" in figure["name"])
    assert len(content["figures"]) == 2 + 2 * 2 * 2
    small = gpu.GpuSettings(outputs=tmp_path, device="cpu", turns=2, scale=0.01, repeats=1, shrink=64)
    content = published(gpu.measure(small), tmp_path)
    assert {figure["name"] for figure in content["figures"] if "cosine" in figure["name"]}
    assert all(figure["value"] > 0.99 for figure in content["figures"] if "cosine" in figure["name"])


@pytest.mark.skipif(torch.cuda.is_available(), reason="asks for what this machine then has")
def test_bench_gpu_says_what_it_needs() -> None:
    with pytest.raises(UserError, match="needs a CUDA GPU"):
        gpu.measure(gpu.GpuSettings())
