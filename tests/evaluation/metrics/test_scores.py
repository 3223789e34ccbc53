"""Scores of a run's trials, groups and differences, transcripts, and the printed summary."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from core.journal import write_jsonl
from core.settings import UserError
from evaluation.benchmark import Benchmark
from evaluation.bfcl.benchmark import Bfcl
from evaluation.metrics.scores import RECORDS, by_axis, differences, read_records, run_records, score_model
from evaluation.reports.summary import print_infrastructure_errors, print_summary
from evaluation.transcripts import transcript_path, write_transcript
from evaluation.trials import TrialRecord
from tests.evaluation.helpers.trials import trial


class Counting(Benchmark):
    """A benchmark whose metric is the number of its records."""

    def run(self, *_: Any) -> list[TrialRecord]:
        raise AssertionError("nothing is run here")

    def metrics(self, records: Any) -> dict[str, float | None]:
        return {"records": len(records)}


def test_trials_are_scored_by_benchmark_and_category() -> None:
    outcomes = [("x", 1, 0, True), ("x", 1, 1, False), ("y", 2, 0, True), ("y", 2, 1, None)]
    records = [trial("b", *outcome) for outcome in outcomes]
    scores = score_model("trained", "path", {"p": 1.0}, {"b": Counting(), "c": Counting()}, records, (1, 2))
    assert scores.metrics == {"b": {"records": 4}, "c": {"records": 0}}
    assert list(scores.categories) == ["b/x", "b/y"]
    at = {name: {k: e.value if e else None for k, e in s.pass_at.items()} for name, s in scores.categories.items()}
    assert at == {"b/x": {1: 0.5, 2: 1.0}, "b/y": {1: 1.0, 2: None}}
    hat = scores.categories["b/x"].pass_hat[2]
    assert hat
    assert hat.value == 0.0
    summary = scores.benchmarks["b"]
    assert (summary.tasks, summary.trials, summary.infrastructure_errors) == (2, 3, 1)


def test_records_of_a_run_name_their_model_and_their_transcript(tmp_path: Path) -> None:
    telecom = "[mms_issue]a|b[PERSONA:None]/../../x"
    records = {"tau2": [trial("tau2", "telecom", telecom, 0, False), trial("tau2", "telecom", "2", 1, True)]}
    messages = [
        {"role": "user", "content": "A lone surrogate: \ud83d"},
        {
            "role": "assistant",
            "reasoning_content": "So.",
            "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}],
        },
    ]
    written = write_transcript(tmp_path / "trained" / "tau2", records["tau2"][0], ["FAILED state"], messages)
    first, second = run_records(tmp_path, "trained", records)
    assert (first.model, second.model, second.transcript) == ("trained", "trained", None)
    assert first.transcript == f"trained/tau2/{written.transcript}"
    file = tmp_path / str(first.transcript)
    assert file.parent == tmp_path / "trained" / "tau2" / "transcripts" / "telecom"
    for part in (telecom, "FAILED", "--- assistant", "(thinking) So.", "-> f({})"):
        assert part in file.read_text()
    write_jsonl(tmp_path / RECORDS, [first, second])
    assert read_records(tmp_path) == [first, second]
    with pytest.raises(UserError, match=r"has no records.jsonl"):
        read_records(tmp_path / "trained")


def test_transcripts_of_names_invalid_for_files_stay_distinct() -> None:
    names = ["a/b", "a_b", "a|b", "x" * 300, "x" * 301]
    paths = {transcript_path("c", name, 0) for name in names}
    assert len(paths) == len(names)
    assert all(len(Path(path).name) < 200 and Path(path).parent == Path("transcripts/c") for path in paths)
    assert transcript_path("retail", "17", 2) == "transcripts/retail/17-2.txt"


def axes(varied: str, **values: str) -> dict[str, str]:
    return {"tasks_per_dialogue": "1", "fault": "none"} | values | {"varied": varied, "databases": "unseen_databases"}


def test_values_of_an_axis_have_the_other_axes_at_their_base() -> None:
    records = [
        trial("heldout", "c", 1, 0, True, axes=axes("")),
        trial("heldout", "d", 2, 0, True, axes=axes("tasks_per_dialogue", tasks_per_dialogue="2")),
        trial("heldout", "d", 3, 0, True, axes=axes("tasks_per_dialogue", tasks_per_dialogue="10")),
        trial("heldout", "f", 4, 0, False, axes=axes("fault", fault="tool_error")),
        trial("bfcl", "simple", 5, 0, False),
    ]
    found = {
        name: {value: [r.task_id for r in g] for (_, value), g in groups.items()}
        for name, groups in by_axis(records).items()
    }
    assert found == {
        "tasks_per_dialogue": {"1": ["1"], "2": ["2"], "10": ["3"]},
        "fault": {"none": ["1"], "tool_error": ["4"]},
    }
    assert list(found["tasks_per_dialogue"]) == ["1", "2", "10"]
    assert by_axis(records[4:]) == {}


def two_models() -> list[TrialRecord]:
    """In category x, A solves ten tasks and B four of them; in category y they are equal."""
    records = [
        trial("b", "x", task, 0, task < share, model=name)
        for name, share in (("A", 10), ("B", 4))
        for task in range(12)
    ]
    return records + [trial("b", "y", 1, 0, True, model=name) for name in "AB"]


def test_models_are_compared_on_every_benchmark_and_category() -> None:
    by_name = {d.name: d for d in differences(two_models())}
    assert list(by_name) == ["b", "b/x", "b/y"]
    x = by_name["b/x"]
    assert (x.first, x.second, x.comparison.difference.value) == ("A", "B", pytest.approx(0.5))
    assert x.comparison.p_value == 2 / 2**6
    assert (by_name["b/y"].comparison.difference.value, by_name["b/y"].comparison.p_value) == (0.0, 1.0)
    assert differences([record for record in two_models() if record.model == "A"]) == []


def summary_text(records: list[TrialRecord], directory: Path) -> str:
    console = Console(file=StringIO(), width=132)
    names = dict.fromkeys(record.model for record in records)
    scores = [score_model(m, m, {}, {"b": Counting()}, [r for r in records if r.model == m], (1,)) for m in names]
    print_summary(console, scores, differences(records), records, (1,), directory, {"b": ["a subset"]})
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def test_the_summary_compares_models_and_links_the_worst_transcripts(tmp_path: Path) -> None:
    records = two_models()
    failed = records[10].model_copy(update={"transcript": "A/b/transcripts/x/10-0.txt", "stop_reason": "max_steps"})
    text = summary_text([*records[:10], failed, *records[11:]], tmp_path)
    assert "A − B" in text
    assert "+50.0 [+25.0, +75.0]" in text
    assert "0.0312" in text
    assert text.index("33 % b/x, B: 8 failed (8 stop)") < text.index("83 % b/x, A: 2 failed (1 max_steps, 1 stop)")
    assert str(tmp_path / "A/b/transcripts/x/10-0.txt") in text
    assert "worst: 100 %" not in text
    assert "INFRASTRUCTURE" not in text
    assert "b: a subset" in text
    assert "undisputed" not in text


def test_the_summary_shows_bfcls_groups_with_and_without_disputed_tasks() -> None:
    tasks = ("live_simple_1-1-0", "live_simple_106-63-0", "live_simple_112-68-0", "live_simple_2-2-0")
    records = [trial("bfcl", "live_simple", task, 0, number == 0) for number, task in enumerate(tasks)]
    bfcl = Bfcl.__new__(Bfcl)
    scores = [score_model("m", "m", {}, {"bfcl": bfcl}, records, (1,))]
    console = Console(file=StringIO(), width=132)
    print_summary(console, scores, [], records, (1,), Path(), {})
    assert isinstance(console.file, StringIO)
    (row,) = [line.split() for line in console.file.getvalue().splitlines() if line.split()[:1] == ["live"]]
    assert row == ["live", "m", "25.0", "50.0"]


def test_infrastructure_errors_mark_every_table(tmp_path: Path) -> None:
    text = summary_text([*two_models(), trial("b", "x", 99, 0, None, model="A")], tmp_path)
    assert text.count("1 INFRASTRUCTURE ERRORS") == 4, "scores, differences, two categories below 100 %"
    console = Console(file=StringIO(), width=132)
    print_infrastructure_errors(console, [trial("b", "x", n, 0, None if n else True) for n in range(4)], tmp_path)
    assert isinstance(console.file, StringIO)
    assert "3 trials of b with m, for example: down" in console.file.getvalue()
    assert "3 of 4 trials had infrastructure errors" in console.file.getvalue()
