"""BFCL's aggregates compared with the official tables and with hand calculations."""

from __future__ import annotations

import csv
import json
import os
import random
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from core.sampling import Sampling
from evaluation.bfcl.benchmark import Bfcl
from evaluation.bfcl.categories import MEMORY, SIZES, WEB_SEARCH, aggregate
from evaluation.bfcl.disputed import DISPUTED, REJECTED, UNSATISFIABLE
from evaluation.known_answers.bfcl_disputes import find
from evaluation.trials import TrialRecord
from tests.evaluation.helpers.bfcl_runs import PYTHON, needs_bfcl
from tests.helpers.paths import ROOT

OFFICIAL = """
import sys
from pathlib import Path
from evaluation.bfcl.worker.official import MODEL_CONFIG_MAPPING, ModelConfig
from bfcl_eval.eval_checker import eval_runner_helper as helper
names = dict.fromkeys(("model_name", "display_name", "url", "org", "license", "model_handler"), "m")
MODEL_CONFIG_MAPPING["m"] = ModelConfig(**names)
table, score = {}, Path(sys.argv[1])
helper.update_leaderboard_table_with_local_score_file(table, score)
helper.generate_leaderboard_csv(table, score)
"""
COLUMNS = {
    "data_overall.csv": {
        "Overall Acc": "overall",
        "Memory Acc": "memory",
        "Web Search Acc": "web_search",
        "Relevance Detection": "relevance",
        "Irrelevance Detection": "irrelevance",
    },
    "data_non_live.csv": {"Non-Live Overall Acc": "non_live"},
    "data_live.csv": {"Live Overall Acc": "live"},
    "data_multi_turn.csv": {"Multi Turn Overall Acc": "multi_turn"},
    "data_agentic.csv": {"Agentic Overall Acc": "agentic"},
}


def record(category: str, number: int, success: bool | None, trial: int = 0) -> TrialRecord:
    return TrialRecord(
        benchmark="bfcl",
        harness="h",
        category=category,
        task_id=f"{category}_{number}",
        trial=trial,
        model="m",
        success=success,
        infrastructure_error="down" if success is None else None,
        stop_reason="stop",
        sampling=Sampling(),
    )


def complete(category: str, success: bool) -> list[TrialRecord]:
    """Every task of a category."""
    return [record(category, number, success) for number in range(SIZES[category])]


def joined(parts: Iterable[list[TrialRecord]]) -> list[TrialRecord]:
    return [record for part in parts for record in part]


@needs_bfcl
@pytest.mark.slow
def test_all_metrics_of_a_complete_run_equal_the_official_tables(tmp_path: Path) -> None:
    rng = random.Random(5)
    records = []
    for category, size in SIZES.items():
        share = rng.random()
        outcomes = [rng.random() < share for _ in range(size)]
        records += [record(category, number, success) for number, success in enumerate(outcomes)]
        header = {"accuracy": sum(outcomes) / size, "correct_count": sum(outcomes), "total_count": size}
        path = tmp_path / "score" / "m" / f"BFCL_v4_{category}_score.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(header) + "\n")
    environment = os.environ | {"BFCL_PROJECT_ROOT": str(tmp_path), "PYTHONPATH": str(ROOT)}
    subprocess.run([PYTHON, "-P", "-c", OFFICIAL, tmp_path / "score"], env=environment, check=True)
    ours = aggregate(records)
    for name, columns in COLUMNS.items():
        (row,) = csv.DictReader((tmp_path / "score" / name).read_text().splitlines())
        for column, group in columns.items():
            value = ours[group]
            assert value is not None
            assert row[column] == f"{100 * value:.2f}%", column
    assert ours["overall_of_what_was_run"] == ours["overall"]
    assert ours["agentic_without_web"] == ours["memory"]


def test_aggregates_follow_the_official_weights() -> None:
    records = [record("simple_python", n, True) for n in range(4)] + [record("simple_java", 0, False)]
    records += [record("multiple", 0, True), record("multiple", 1, False), record("irrelevance", 0, True)]
    records += [record("live_simple", 0, False)] + [record("live_multiple", n, True) for n in range(4)]
    metrics = aggregate(records)
    assert metrics["non_live"] == pytest.approx(0.5), "mean of simple (1 + 0)/2 and multiple 1/2"
    assert metrics["live"] == pytest.approx(0.8), "weighted by count"
    assert metrics["irrelevance"] == 1.0
    assert metrics["multi_turn"] is None
    assert metrics["overall_of_what_was_run"] == pytest.approx((0.5 + 0.8 + 1.0) / 3), "three groups of equal weight"
    assert metrics["overall"] is None


def test_without_web_search_agentic_is_memory() -> None:
    records = [record("memory_kv", n, n == 0) for n in range(4)] + [record("memory_rec_sum", 0, True)]
    records += [record("multi_turn_base", 0, True), record("multi_turn_base", 1, False)]
    metrics = aggregate(records)
    assert metrics["memory"] == metrics["agentic_without_web"] == pytest.approx((0.25 + 1.0) / 2)
    assert metrics["agentic"] is None
    assert metrics["overall_of_what_was_run"] == pytest.approx((30 * 0.5 + 40 * 0.625) / 70)


def test_several_trials_are_averaged_without_infrastructure_errors() -> None:
    records = [record("multiple", 0, True, 0), record("multiple", 0, False, 1), record("multiple", 0, None, 2)]
    records += [record("multiple", 1, None, 0), record("multiple", 2, True, 0)]
    assert aggregate(records)["non_live"] == pytest.approx((0.5 + 1.0) / 2)


@needs_bfcl
def test_sizes_are_those_of_the_installed_data() -> None:
    (folder,) = PYTHON.parent.parent.glob("lib/python3*/site-packages/bfcl_eval/data")
    shared = dict.fromkeys(MEMORY, "memory") | dict.fromkeys(WEB_SEARCH, "web_search")
    for category, size in SIZES.items():
        file = folder / f"BFCL_v4_{shared.get(category, category)}.json"
        assert (category, len(file.read_text(encoding="utf-8").splitlines())) == (category, size)
    names = {path.stem.removeprefix("BFCL_v4_") for path in folder.glob("BFCL_v4_*.json")}
    assert names == {shared.get(category, category) for category in SIZES} | {"format_sensitivity"}


def test_agentic_needs_exactly_its_own_categories() -> None:
    agentic = {category: complete(category, category in WEB_SEARCH) for category in (*MEMORY, *WEB_SEARCH)}
    assert aggregate(joined(agentic.values()))["agentic"] == pytest.approx(0.5), "memory 0, web search 1"
    for missing, own in agentic.items():
        rest = [record for category in agentic if category != missing for record in agentic[category]]
        assert aggregate(rest)["agentic"] is None, missing
        assert aggregate([*rest, *own[1:]])["agentic"] is None, f"a task of {missing} is missing"


def test_overall_needs_exactly_all_categories() -> None:
    records = {category: complete(category, True) for category in SIZES}
    assert aggregate(joined(records.values()))["overall"] == 1.0
    for missing in SIZES:
        rest = [record for category in SIZES if category != missing for record in records[category]]
        for subset in (rest, [*rest, *records[missing][1:]]):
            metrics = aggregate(subset)
            assert (metrics["overall"], metrics["overall_of_what_was_run"]) == (None, 1.0)


def test_disputed_tasks_count_as_run_but_not_in_the_undisputed_score() -> None:
    names = ["live_simple_1-1-0", "live_simple_2-1-0", "live_simple_106-63-0", "live_multiple_87-38-4"]
    records = [
        record(name.rsplit("_", 1)[0], 0, name == names[0]).model_copy(update={"task_id": name}) for name in names
    ]
    metrics = Bfcl.metrics(Bfcl.__new__(Bfcl), records)
    assert (metrics["live"], metrics["undisputed_live"]) == (pytest.approx(1 / 4), pytest.approx(1 / 2))
    everything = [one for category in SIZES for one in complete(category, True)]
    failed = [
        one.model_copy(update={"task_id": name, "success": False})
        for one, name in zip(everything, DISPUTED, strict=False)
    ]
    metrics = Bfcl.metrics(Bfcl.__new__(Bfcl), [*failed, *everything[len(failed) :]])
    assert metrics["undisputed_overall"] == 1.0
    assert metrics["overall"] is not None
    assert metrics["overall"] < 1.0


@needs_bfcl
def test_the_disputed_tasks_are_what_the_official_data_says() -> None:
    """The data, read here again for two of them; the whole list from `find`."""
    derived = {task: reason for task, reason in DISPUTED.items() if reason != REJECTED}
    assert find(PYTHON) == derived
    assert len(derived) == 25
    assert len(UNSATISFIABLE) == 7
    (folder,) = PYTHON.parent.parent.glob("lib/python3*/site-packages/bfcl_eval/data")

    def line(path: str, name: str) -> dict[str, Any]:
        return next(line for text in (folder / path).open() for line in [json.loads(text)] if line["id"] == name)

    name, category = "live_multiple_87-38-4", "BFCL_v4_live_multiple.json"
    ((call, accepted),) = line(f"possible_answer/{category}", name)["ground_truth"][0].items()
    spec = next(tool for tool in line(category, name)["function"] if tool["name"] == call)
    assert accepted["type"] == ["openai"]
    assert spec["parameters"]["properties"]["type"]["enum"] == ["all", "postgres", "openapi", "graphql"]
    questions = [
        line(f"BFCL_v4_{category}.json", name)
        for category, name in (("live_simple", "live_simple_29-7-2"), ("live_irrelevance", "live_irrelevance_118-7-8"))
    ]
    assert questions[0]["question"] == questions[1]["question"]
    assert questions[0]["function"] == questions[1]["function"]
