"""make mutants: which changes it makes, and that it tells tests that notice from tests that do not."""

from __future__ import annotations

import re
import tomllib
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from core.journal import Journal
from scripts.mutants import ROOT, MutantSettings, mutants, run_tests, try_module

SOURCE = '''"""Text with 1 number."""
LIMIT = 5

def fits(sizes: list[int], most: int = 0) -> bool:
    assert len(sizes) < 9
    if not sizes or sizes[0] >= LIMIT:
        raise ValueError(f"Ä {1 + 1}")
    sizes.sort()
    return sizes[-1] + 2 in (3, *zip(sizes, strict=True), most)
'''


def test_each_mutant_has_one_change_and_texts_and_invariants_have_none() -> None:
    found = [
        (mutant.line, mutant.diff.splitlines()[-1].removeprefix("+").strip()) for mutant in mutants("m.py", SOURCE)
    ]
    assert found == [
        (2, "LIMIT = 6"),
        (4, "def fits(sizes: list[int], most: int = 1) -> bool:"),
        (6, "if (not sizes and sizes[0] >= LIMIT):"),
        (6, "if (sizes) or sizes[0] >= LIMIT:"),
        (6, "if not sizes or (sizes[0] > LIMIT):"),
        (6, "if not sizes or sizes[1] >= LIMIT:"),
        (8, "pass"),
        (9, "return (sizes[-1] + 2 not in (3, *zip(sizes, strict=True), most))"),
        (9, "return (sizes[-1] - 2) in (3, *zip(sizes, strict=True), most)"),
        (9, "return sizes[-1] + 2 in (4, *zip(sizes, strict=True), most)"),
        (9, "return sizes[-1] + 3 in (3, *zip(sizes, strict=True), most)"),
        (9, "return sizes[-2] + 2 in (3, *zip(sizes, strict=True), most)"),
    ]


def test_every_listed_module_and_test_exists() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mutants"]
    assert len(listed) >= 20
    for module, tests in listed.items():
        assert mutants(module, (ROOT / module).read_text(encoding="utf-8")), module
        assert [test for test in tests if not (ROOT / test).exists()] == []


@pytest.mark.parametrize(
    ("module", "failure"),
    [
        ("HALF = 2\n", None),
        ("HALF = 3\n", r"assert 3 == 2[\s\S]*FAILED test_half.py::test_half[\s\S]*pytest ended with 1\Z"),
        ("from core import two\n", r"cannot import name 'two'[\s\S]*pytest ended with"),
        ("while True: ...\n", r"stopped after 8 s\Z"),
    ],
)
def test_tests_run_on_the_copy_and_not_on_this_tree(module: str, failure: str | None, tmp_path: Path) -> None:
    (tmp_path / "core").mkdir()
    (tmp_path / "core" / "__init__.py").touch()
    (tmp_path / "core" / "half.py").write_text(module)
    (tmp_path / "test_half.py").write_text("from core.half import HALF\n\n\ndef test_half():\n    assert HALF == 2\n")
    found = run_tests(tmp_path, ["test_half.py"], 60 if "while" not in module else 8)
    assert found is None if failure is None else found and re.search(failure, found), found


def test_mutants_are_made_of_the_copy_not_of_a_tree_that_changes_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree, working_tree = tmp_path / "tree", tmp_path / "changed"
    for root, module in ((tree, "HALF = 2\n"), (working_tree, "from core.other import HALF\n")):
        (root / "core").mkdir(parents=True)
        (root / "core" / "__init__.py").touch()
        (root / "core" / "half.py").write_text(module)
    (tree / "test_half.py").write_text("from core.half import HALF\n\n\ndef test_half():\n    assert HALF > 1\n")
    monkeypatch.setattr("scripts.mutants.FOLDER", tmp_path)
    monkeypatch.setattr("scripts.mutants.ROOT", working_tree)
    out = Console(file=StringIO(), width=200)
    with Journal(tmp_path / "killed.jsonl", key=lambda record: str(record["key"])) as journal:
        tried, survived = try_module("core/half.py", ["test_half.py"], MutantSettings(), journal, out)
    assert (tried, [mutant.mutated for mutant in survived]) == (1, ["HALF = 3\n"])
    assert (tree / "core" / "half.py").read_text() == "HALF = 2\n"
