"""make figures: Figures 6 to 8 of hand-made runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from core.journal import write_jsonl
from core.settings import UserError
from evaluation.reports.tool_categories import CATEGORIES, OTHERS
from generation.tools.toolset import Toolset
from scripts.figures import FiguresSettings, main
from tests.generation.helpers.vet_dialogues import TOOLS
from tests.scripts.helpers.goal_dialogues import dialogues


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A generation run of one database and one domain without, and dialogues on the former."""
    run = tmp_path / "run"
    vet = Toolset(domain="vet", title="animal clinic", description="A clinic.", tools=TOOLS, database=tmp_path / "x")
    write_jsonl(run / "toolsets.jsonl", [vet, Toolset(domain="shop", description="A shop.", tools=TOOLS)])
    write_jsonl(run / "p" / "dialogues.jsonl", dialogues(7, 3))
    return run


def drawn(tmp_path: Path, **settings: Any) -> dict[str, Any]:
    values = {"outputs": tmp_path, "bfcl": tmp_path / "no environment"} | settings
    folder = main(FiguresSettings(**values), Console(quiet=True))
    for path in folder.glob("figure_*.png"):
        assert path.stat().st_size > 5000
    found: dict[str, Any] = json.loads((folder / "figures.json").read_text())
    return found


def test_figures_show_the_domains_and_the_tools(run: Path, tmp_path: Path, tiny_model: Path) -> None:
    found = drawn(tmp_path, data=(run,), names=("ours",), embedding=str(tiny_model))
    assert found["domains"] == {"animal clinic": 7}
    assert found["categories"].keys() == {"ours"}
    assert sum(found["categories"]["ours"].values()) == pytest.approx(1)
    assert found["categories"]["ours"].keys() <= {*CATEGORIES, OTHERS}
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {
        "figures.json",
        *(f"figure_{number}.{ending}" for number in (6, 7, 8) for ending in ("png", "pdf")),
    }


def test_data_without_toolsets_shows_the_tools_of_its_dialogues(run: Path, tmp_path: Path, tiny_model: Path) -> None:
    (run / "toolsets.jsonl").unlink()
    found = drawn(tmp_path, data=(run,), embedding=str(tiny_model))
    assert (found["domains"], list(found["categories"])) == ({}, ["run"])
    assert not (tmp_path / "figures" / "figure_6.png").exists()


def test_names_and_runs_must_fit(run: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"names=\['a', 'b'\] was given for 1 runs; expected one name each"):
        drawn(tmp_path, data=(run,), names=("a", "b"))


def test_an_embedding_model_that_cannot_be_loaded(run: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"embedding=.*cannot be loaded"):
        drawn(tmp_path, data=(run,), embedding=str(tmp_path))


def test_without_an_embedding_model_the_error_says_how_to_install_one(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scripts.figures.find_spec", lambda name: None)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    with pytest.raises(UserError, match="make setup-vector installs one"):
        drawn(tmp_path, data=(run,))
