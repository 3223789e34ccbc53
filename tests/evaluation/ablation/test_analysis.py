"""From entries of the registry to scores, verdicts, plan and reports."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from core.settings import UserError
from evaluation.ablation.analysis import analyse
from evaluation.ablation.power_plan import power_plan
from evaluation.ablation.registry import Entry
from evaluation.ablation.scores import cell_scores
from evaluation.ablation.settings import OutcomeSettings
from evaluation.reports.ablation import show_analysis, show_plan, write_analysis, write_plan
from tests.evaluation.helpers.ablation_entries import SETTINGS, TASKS, entries, entry, settings


@pytest.fixture(scope="module")
def cells() -> dict[str, list[Entry]]:
    return {"good": entries("good", 0.6), "poor": entries("poor", 0.3), "equal": entries("equal", 0.3)}


def test_each_claim_gets_the_verdict_that_was_planted(cells: dict[str, list[Entry]]) -> None:
    analysis = analyse(settings(), cells)
    assert [claim.verdict.decision for claim in analysis.claims] == ["reproduced", "contradicted", "unresolved"]
    assert analysis.claims[2].verdict.reason == "not measured"
    good = analysis.cells[0]
    counts = [e.measured.outcomes["bfcl/multi_turn_base"].values() for e in cells["good"]]
    assert good.scores["mt"] == pytest.approx([sum(c / n for n, c in of) / TASKS for of in counts])
    assert good.measures["trained_tokens"] == 1000
    assert "vllm 0.32.0" in analysis.conditions[0]


def test_scores_are_of_the_tasks_and_seeds_that_all_cells_have() -> None:
    outcome = OutcomeSettings(name="x", benchmark="bfcl", categories=("multi_turn_*",), k=2, tasks=10)
    cells = {
        "a": [entry("a", 0, {"t1": (2, 2), "t2": (2, 1), "t3": (1, 1)}), entry("a", 1, {"t1": (2, 2), "t2": (2, 2)})],
        "b": [entry("b", 0, {"t2": (4, 2), "t1": (2, 0), "t3": (2, 2)})],
        "none": [entry("none", 0, {"t1": (2, 1)}, category="tau2/telecom")],
    }
    scores = cell_scores(outcome, cells)
    assert scores.keys() == {"a", "b"}
    # Pass^2 of t1 and t2: both of two trials, one of two; and none of two, two of four: 1 of the 6 pairs.
    assert scores["a"].values.tolist() == [[1.0, 0.0]]
    assert scores["b"].values.tolist() == [[0.0, pytest.approx(1 / 6)]]
    assert scores["a"].trials == 2


def test_weights_are_of_the_categories_that_were_run() -> None:
    outcome = OutcomeSettings(
        name="x", benchmark="bfcl", categories=("simple_*", "missing", "many"), weights=(3, 5, 1), tasks=9
    )
    simple = entry("a", 0, {"s": (1, 1)}, category="bfcl/simple_python")
    outcomes = simple.measured.outcomes | {"bfcl/many": {"m1": (1, 0), "m2": (1, 1)}}
    both = simple.model_copy(update={"measured": simple.measured.model_copy(update={"outcomes": outcomes})})
    assert cell_scores(outcome, {"a": [both]})["a"].by_seed[0] == pytest.approx((3 * 1 + 1 * 0.5) / 4)


def test_the_plan_takes_variation_and_times_from_results_and_else_from_assumptions(
    cells: dict[str, list[Entry]],
) -> None:
    plan = power_plan(settings(), cells, [])
    assert plan.measured
    assert plan.seconds == {"generate": 100, "train": 60, "evaluate": 120}  # no generation was measured
    # Three seeds: one generation and one training for cells that do not differ, three evaluations.
    assert plan.hours == pytest.approx(3 * (100 + 60 + 3 * 120) / 3600)
    assert plan.cost == pytest.approx(2 * plan.hours)
    first, _, telecom = plan.claims
    assert first.pilot
    assert first.power > 0.99
    assert (first.design.tasks, first.design.trials) == (TASKS, 4)
    assert not telecom.pilot
    assert (telecom.design.tasks, telecom.difference) == (114, 0.062)
    before = power_plan(settings(), {}, [])
    assert not before.measured
    assert before.claims[0].design.tasks == 800


def test_what_is_not_run_is_neither_planned_nor_counted_against_the_rest(cells: dict[str, list[Entry]]) -> None:
    chosen = settings(benchmarks=["bfcl"])
    assert chosen.needed_benchmarks == ("bfcl",)
    assert [claim.claim for claim in power_plan(chosen, cells, []).claims] == [c.key for c in chosen.claims[:2]]
    without = settings(cells={**SETTINGS["cells"], "good": {"name": "good data", "requires_data": True}})
    assert without.runnable.keys() == {"poor", "equal"}
    assert [claim.cell for claim in without.measurable] == ["equal", "equal"]


def test_reports_say_it_in_text_numbers_and_a_figure(cells: dict[str, list[Entry]], tmp_path: Path) -> None:
    chosen = settings()
    analysis = analyse(chosen, cells)
    console = Console(width=200, record=True, file=(tmp_path / "console").open("w"))
    show_analysis(console, analysis)
    show_plan(console, plan := power_plan(chosen, cells, []))
    write_plan(plan, tmp_path)
    files = write_analysis(analysis, tmp_path)
    assert files == ["report.md", "results.json", "differences.png", "differences.pdf"]
    assert all((tmp_path / name).stat().st_size for name in files)
    text = (tmp_path / "report.md").read_text()
    for expected in ("good data − poor data, BFCL multi-turn", "+30.0", "reproduced", "contradicted", "vllm 0.32.0"):
        assert expected in text
        assert expected in console.export_text(clear=False)
    assert json.loads((tmp_path / "results.json").read_text())["claims"][0]["verdict"]["decision"] == "reproduced"
    assert "60 × 4 × 3" in (tmp_path / "plan.md").read_text()


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"claims": [{"cell": "god", "against": "poor", "outcome": "mt"}]}, "did you mean 'good'"),
        ({"claims": [{"cell": "good", "against": "poor", "outcome": "bfcl"}]}, "known: mt, telecom"),
        ({"benchmarks": ["heldout"]}, r"none of those that claims are about: \['bfcl', 'tau2'\]"),
        ({"seeds": [1, 1]}, "seed 1 is given twice"),
        ({"outcomes": {"mt": {**SETTINGS["outcomes"]["mt"], "weights": [1, 2]}}}, "2 weights were given for 1"),
    ],
)
def test_an_experiment_that_does_not_fit_is_refused(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(UserError, match=problem):
        settings(**changes)
