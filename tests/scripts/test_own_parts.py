"""The stage of docs/extending.md: its files are put where the page says and run."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.paths import ROOT

EXTENDING = ROOT / "docs" / "extending.md"
_BLOCK = re.compile(r"^`([\w/.]+)`[^\n]*\n+```(?:python|yaml)\n(.*?)^```", re.M | re.S)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project without its virtual environments, with the files of the page's example added."""
    root = tmp_path_factory.mktemp("checkout")
    for folder in ("core", "generation", "scripts", "conf"):
        shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
    files = dict(_BLOCK.findall(EXTENDING.read_text()))
    assert len(files) == 2, "one file and one YAML"
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        assert not (root / name).exists(), "nothing else is edited"
        (root / name).write_text(text)
    return root


def generate(checkout: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    base = ["profile=tiny", "tracking.mode=disabled", "pipeline=user_oriented_exec", "domains.names=[gym]", "n=12"]
    return subprocess.run(
        [sys.executable, "-m", "scripts.launch", "generate", "--", *base, *overrides],
        cwd=checkout,
        env=os.environ | {"PYTHONPATH": str(checkout)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_the_documented_stage_runs_among_the_others(checkout: Path) -> None:
    (command,) = re.findall(r"^make generate (stage=\[.*changes_something.*\])", EXTENDING.read_text(), re.M)
    done = generate(checkout, command)
    assert done.returncode == 0, done.stderr
    folder = checkout / "outputs" / "generate" / "latest" / "user_oriented_exec"
    accepted = [json.loads(line) for line in (folder / "dialogues.jsonl").read_text().splitlines()]
    rejected = [json.loads(line) for line in (folder / "rejected.jsonl").read_text().splitlines()]
    assert len(accepted) + len(rejected) == 12
    assert accepted
    assert all(any(task["mutates"] for task in json.loads(line["tasks"])) for line in accepted)
    ours = [line for line in rejected if line["reasons"][0].startswith("finished: changes_something: ")]
    assert ours
    assert not any(task["mutates"] for line in ours for task in json.loads(line["dialogue"]["tasks"]))


def test_a_stage_that_does_not_exist_is_named(checkout: Path) -> None:
    done = generate(checkout, "stage=[tools,changes_nothing]")
    assert done.returncode == 2
    assert "changes_nothing" in done.stderr
