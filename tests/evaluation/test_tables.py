"""Tables 1, 2 and 4: the paper's rows as printed there, ours from manifests, recomputed here from what went in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from core.records import RecordError
from core.runs import open_run
from core.sampling import Sampling
from core.settings import UserError
from evaluation.paper import TABLE_1, TABLE_2, TABLE_2_COLUMNS, TABLE_4
from evaluation.results import TrialRecord
from evaluation.suite import Target, sum_up
from evaluation.tables import PaperTable, tables, write_tables
from evaluation.tau2 import Tau2

GENERATION = {
    "seeds": {"_target_": "generation.seeds.bundled.BundledSeeds"},
    "llm": {"_target_": "generation.llm.scripted.ScriptedLLM"},
    "serve": None,
}
FIGURES = {
    "step": {"mean": 1.254, "max": 4},
    "turn": {"mean": 17.0, "max": 37},
    "task": {"mean": 2.0, "max": 4},
    "accepted": 1234,
    "latency_s": 0.0742,
    "throughput": 16122.4,
}
EVALUATION = {
    "subset": "smoke",
    "trials": 2,
    "sampling": {"temperature": 0.6},
    "simulator_model": "scripted-user",
    "profile": "cpu",
}


def finished(outputs: Path, stage: str, config: dict[str, Any], results: dict[str, Any]) -> Path:
    with open_run(outputs, stage, config) as run:
        run.finish(results)
    return run.directory


def ours(table: PaperTable) -> list[tuple[str, ...]]:
    return [row for row in table.rows if "(ours)" in row[0]]


def trial(benchmark: str, category: str, task: int, number: int, success: bool | None, calls: int = 0) -> TrialRecord:
    return TrialRecord(
        benchmark=benchmark,
        harness=f"{benchmark} 1",
        category=category,
        task_id=str(task),
        trial=number,
        model="m",
        success=success,
        infrastructure_error="down" if success is None else None,
        stop_reason="stop",
        sampling=Sampling(),
        calls=calls,
        valid_calls=calls // 2,
    )


class Groups:
    """A benchmark whose figures are given."""

    def __init__(self, figures: dict[str, float | None]) -> None:
        self.given = figures

    def run(self, *_: Any) -> list[TrialRecord]:
        raise AssertionError("nothing is run here")

    def figures(self, _: Any) -> dict[str, float | None]:
        return self.given


def test_without_runs_the_papers_rows_stand_alone() -> None:
    one, two, four = tables(None, None)
    assert [len(t.rows) for t in (one, two, four)] == [len(TABLE_1), len(TABLE_2), len(TABLE_4)]
    assert one.rows[4] == (
        "user-oriented + execution (paper)",
        "SQL",
        "3.74 (322)",
        "30.85 (680)",
        "1.86 (11)",
        "16,618",
    )
    assert four.rows[0] == ("task-oriented (paper)", "GPT-OSS-120b, 32 H100", "0.64", "8,819")
    by_name = {row[0]: row[1:] for row in two.rows}
    assert by_name["Qwen3-30B + OURS"][:8] == ("55.5", "86.5", "90.1", "88.9", "83.8", "56.0", "57.8", "42.1")
    assert by_name["Gemini-3.0-Pro (reported)"] == ("–", "–", "–", "–", "–", "73.0", "85.3", "85.4", "–", "–")
    assert all(len(row) == len(t.columns) for t in (one, two, four) for row in t.rows)
    assert all(len(values) == len(TABLE_2_COLUMNS) for _, values in TABLE_2)


def test_generation_rows_come_from_the_manifest(tmp_path: Path) -> None:
    without = FIGURES | {"latency_s": None, "throughput": None}
    run = finished(tmp_path, "generate", GENERATION, {"user_oriented": FIGURES, "task_oriented": without})
    one, _, four = tables(run, None)
    assert ours(one)[0] == ("**user_oriented (ours)**", "BundledSeeds", "1.25 (4)", "17.00 (37)", "2.00 (4)", "1,234")
    assert [row[2:] for row in ours(four)] == [("0.074", "16,122"), ("–", "–")]
    assert run.name in one.notes[0]
    assert "stand-in without weights" in one.notes[0]


@pytest.mark.parametrize(
    ("llm", "serve", "name"),
    [
        ({"_target_": "generation.llm.openai.OpenAILLM", "model": None}, "openai/gpt-oss-120b", "openai/gpt-oss-120b"),
        ({"_target_": "generation.llm.openai.OpenAILLM", "model": "qwen"}, None, "qwen"),
    ],
)
def test_a_real_model_is_named(llm: dict[str, Any], serve: str | None, name: str, tmp_path: Path) -> None:
    run = finished(tmp_path, "generate", GENERATION | {"llm": llm, "serve": serve}, {"user_oriented": FIGURES})
    one, _, four = tables(run, None)
    assert ours(four)[0][1] == name
    assert one.notes == (f"ours: run {run.name}, model {name}",)


def test_evaluation_rows_are_pass_1_of_what_was_held(tmp_path: Path) -> None:
    records = {
        "bfcl": [trial("bfcl", "simple_python", 1, 0, True)],
        "tau2": [
            *(trial("tau2", "retail", 1, n, success) for n, success in enumerate((True, False, False, False))),
            *(trial("tau2", "retail", 2, n, success) for n, success in enumerate((True, True, None, None))),
            trial("tau2", "telecom", 3, 0, None),
        ],
        "heldout": [trial("heldout", "unseen_databases", t, 0, t < 3, calls=4) for t in range(8)],
    }
    figures: dict[str, float | None] = {"multi_turn": 0.125, "non_live": 0.5, "irrelevance": 1.0, "live": None}
    benchmarks = {"bfcl": Groups(figures), "tau2": Tau2(domains=["retail"], subset="full"), "heldout": Groups({})}
    scores = sum_up(Target("trained", tmp_path / "checkpoint"), benchmarks, records, (1, 2))
    run = finished(tmp_path, "evaluate", EVALUATION, {"models": [scores.model_dump(mode="json")]})
    table = tables(None, run)[1]
    (row,) = ours(table)
    # Retail: task 1 passes a quarter of its trials, task 2 all that were held.
    assert row[1:] == ("12.5", "–", "50.0", "–", "100.0", "–", "62.5", "–", "37.5", "50.0")
    notes = "\n".join(table.notes)
    assert "3 infrastructure errors, in no score" in notes
    assert run.name in notes
    assert "subset smoke, 2 trials" in notes
    assert "bfcl 1, tau2 1, heldout 1" in notes
    assert "tiny" in notes
    assert str(tmp_path / "checkpoint") in notes


def test_what_doing_nothing_scores_stands_beside_tau2(tmp_path: Path) -> None:
    figures: dict[str, float | None] = {"retail": 0.5, "retail, doing nothing": 0.25}
    scores = sum_up(Target("m"), {"tau2": Groups(figures)}, {"tau2": [trial("tau2", "retail", 1, 0, True)]}, (1,))
    run = finished(
        tmp_path, "evaluate", EVALUATION | {"profile": "paper"}, {"models": [scores.model_dump(mode="json")]}
    )
    notes = tables(None, run)[1].notes
    assert "τ² user simulator: scripted-user; retail, doing nothing 25 %" in notes
    assert "profile paper" in notes


def test_only_runs_with_a_manifest_count(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a run: it has no manifest"):
        tables(tmp_path, None)
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(RecordError, match="is not a run manifest"):
        tables(None, tmp_path)


def test_they_are_written_as_markdown_and_json(tmp_path: Path) -> None:
    found = tables(finished(tmp_path, "generate", GENERATION, {"user_oriented": FIGURES}), None)
    write_tables(found, tmp_path / "tables")
    assert [
        PaperTable.model_validate(t) for t in json.loads((tmp_path / "tables" / "tables.json").read_text())
    ] == found
    blocks = (tmp_path / "tables" / "tables.md").read_text().split("### ")[1:]
    for block, table in zip(blocks, found, strict=True):
        lines = [line for line in block.splitlines() if line.startswith("| ")]
        assert len(lines) == 2 + len(table.rows)
        assert {line.count("|") for line in lines} == {len(table.columns) + 1}
        assert [line for line in block.splitlines() if line.startswith("- ")] == [f"- {note}" for note in table.notes]
