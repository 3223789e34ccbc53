"""make reproduce: the experiments it takes and their plans; the experiments are those of make ablation."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.settings import UserError
from scripts.reproduce import main, read_settings, runs_of
from tests.evaluation.helpers.ablation_entries import entry


def test_its_plans_are_those_of_the_experiments_behind_the_tables(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["plan=true", f"outputs={tmp_path}", "seeds=[0,1,2]"])
    printed = capsys.readouterr().out
    for name in read_settings([]).experiments:
        plan = json.loads((tmp_path / "ablations" / name / "plan.json").read_text())
        assert {claim["design"]["seeds"] for claim in plan["claims"]} == {3}
        assert f"{name} · power plan" in printed
    assert not (tmp_path / "registry.jsonl").exists()


def test_an_unknown_experiment_is_refused_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="table_9"):
        main(["experiments=[table_3,table_9]", f"outputs={tmp_path}"])
    assert not [*tmp_path.iterdir()]


def test_tables_are_of_each_run_once(tmp_path: Path) -> None:
    entries = [entry("a", 0, {"t": (1, 1)}), entry("a", 0, {"t": (1, 0)}), entry("b", 1, {"t": (1, 1)})]
    assert [path.name for path in runs_of(tmp_path, entries, "evaluate")] == ["evaluate-a-0", "evaluate-b-1"]
    assert runs_of(tmp_path, entries, "generate") == []
