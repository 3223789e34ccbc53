"""make mutants: which changes it makes, and that it tells tests that notice from tests that do not."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from scripts.mutants import ROOT, mutants, run_tests

SOURCE = '''"""Text with 1 number."""
LIMIT = 5

def fits(sizes: list[int], most: int = 0) -> bool:
    assert len(sizes) < 9
    if not sizes or sizes[0] >= LIMIT:
        raise ValueError(f"Ä {1 + 1}")
    sizes.sort()
    return sizes[-1] + 2 in (3, most)
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
        (9, "return (sizes[-1] + 2 not in (3, most))"),
        (9, "return (sizes[-1] - 2) in (3, most)"),
        (9, "return sizes[-1] + 2 in (4, most)"),
        (9, "return sizes[-1] + 3 in (3, most)"),
        (9, "return sizes[-2] + 2 in (3, most)"),
    ]


def test_every_listed_module_and_test_exists() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mutants"]
    assert len(listed) >= 20
    for module, tests in listed.items():
        assert mutants(module, (ROOT / module).read_text(encoding="utf-8")), module
        assert [test for test in tests if not (ROOT / test).exists()] == []


@pytest.mark.parametrize(
    ("module", "passes"), [("HALF = 2\n", True), ("HALF = 3\n", False), ("while True: ...\n", False)]
)
def test_tests_run_on_the_copy_and_not_on_this_tree(module: str, passes: bool, tmp_path: Path) -> None:
    (tmp_path / "core").mkdir()
    (tmp_path / "core" / "__init__.py").touch()
    (tmp_path / "core" / "half.py").write_text(module)
    (tmp_path / "test_half.py").write_text("from core.half import HALF\n\n\ndef test_half():\n    assert HALF == 2\n")
    assert run_tests(tmp_path, ["test_half.py"], 60 if "while" not in module else 8) == passes
