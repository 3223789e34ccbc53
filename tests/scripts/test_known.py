"""make eval-known: which score counts as the known one."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from core.sampling import Sampling
from evaluation.bfcl.categories import SIZES
from evaluation.bfcl.disputed import UNSATISFIABLE
from evaluation.known_answers.bfcl_check import CATEGORIES, passes, passes_half, row
from evaluation.known_answers.check import KnownSettings, Row
from evaluation.trials import TrialRecord
from scripts import known


def record(name: str, success: bool | None) -> TrialRecord:
    return TrialRecord(
        benchmark="bfcl",
        harness="h",
        category=name.rsplit("_", 1)[0],
        task_id=name,
        trial=0,
        model="m",
        success=success,
        infrastructure_error="down" if success is None else None,
        stop_reason="stop",
        sampling=Sampling(),
    )


def test_the_known_score_is_by_task_not_by_share() -> None:
    names = ["simple_java_35", "simple_java_36", "simple_java_37"]
    right = [record(name, name not in UNSATISFIABLE) for name in names]
    result = row("bfcl", "simple_java", "ground truth", right, 3, passes)
    assert (result.tasks, result.passed, result.expected, result.holds) == (
        3,
        2,
        2,
        True,
    )
    swapped = [record(names[0], False), record(names[1], True), record(names[2], True)]
    assert not row("bfcl", "simple_java", "ground truth", swapped, 3, passes).holds, "as many, but not the same"
    assert not row("bfcl", "simple_java", "ground truth", right[:2], 3, passes).holds, "one is missing"
    assert not row("bfcl", "simple_java", "ground truth", [record(names[0], None), *right[1:]], 3, passes).holds, (
        "one is lost"
    )
    half = [record("live_simple_2-1-0", True), record("live_simple_3-1-1", False), record("simple_java_36", False)]
    assert row("bfcl", "all", "half", half, 3, passes_half).holds


def test_every_category_but_web_search_is_checked() -> None:
    assert set(CATEGORIES) == set(SIZES) - {"web_search_base", "web_search_no_snippet"}


def test_a_score_that_differs_is_shown_and_ends_with_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    wrong_row = Row(
        benchmark="b", category="c", answers="gold", tasks=4, passed=3, expected=4, holds=False, seconds=1.5
    )
    asked: list[KnownSettings] = []
    monkeypatch.setattr(known, "CHECKS", {"b": lambda settings, progress: asked.append(settings) or [wrong_row]})
    monkeypatch.setattr(sys, "argv", ["known", f"outputs={tmp_path}", "only=[b]", "concurrency=3"])
    with pytest.raises(SystemExit, match="1 of 1 scores differ from the known ones"):
        known.main()
    assert asked == [KnownSettings(outputs=tmp_path, only=("b",), concurrency=3)]
    assert "75.00" in capsys.readouterr().out
    assert json.loads((tmp_path / "known" / "known.json").read_text()) == [wrong_row.model_dump()]
    monkeypatch.setattr(sys, "argv", ["known", "only=[bfcl]"])
    with pytest.raises(SystemExit) as refused:
        known.main()
    assert refused.value.code == 2
    assert len(asked) == 1
