"""The documentation against the code: links lead somewhere, commands compose, the settings reference is current."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest

from core.settings import UserError
from scripts.docs import MAP_PAGE, SETTINGS_PAGE, build, code_map, reference
from scripts.launch import STAGES, distribute
from tests.helpers.paths import CONF, ROOT

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
_LINK = re.compile(r"\]\((?!https?://|#)([^)#\s]+)(?:#[^)]*)?\)")
_COMMAND = re.compile(r"^make (?:\\\n|[^#\n])+", re.M)
_BLOCK = re.compile(r"^```\n(.*?)^```", re.M | re.S)


def commands() -> list[str]:
    """Every make command in a code block of README.md and docs/, without its comment."""
    blocks = (block for page in PAGES if page.name != "EXPERIMENTS.md" for block in _BLOCK.findall(page.read_text()))
    found = [command.replace("\\\n", " ").strip() for block in blocks for command in _COMMAND.findall(block)]
    return sorted({command for command in found if set(shlex.split(command)[1:]) & set(STAGES)})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_lead_to_files(page: Path) -> None:
    missing = [link for link in _LINK.findall(page.read_text()) if not (page.parent / link).exists()]
    assert not missing


@pytest.mark.parametrize("command", commands())
def test_documented_commands_compose(command: str) -> None:
    words = shlex.split(command.replace("…", "x"))[1:]
    goals = [word for word in words if "=" not in word]
    overrides = [word for word in words if "=" in word and "changes_something" not in word]
    shared = distribute(goals, overrides, CONF)
    assert set(shared) == {goal for goal in goals if goal in STAGES}


def test_there_are_commands_to_compose() -> None:
    assert len(commands()) > 30


def test_the_settings_reference_is_current() -> None:
    """`make docs` rewrites it; a key without a description fails here."""
    assert SETTINGS_PAGE.read_text() == reference(), "run make docs and commit docs/settings.md"


def test_the_map_is_current() -> None:
    """`make docs` rewrites it; a module without a docstring fails here."""
    assert MAP_PAGE.read_text() == code_map(), "run make docs and commit docs/map.md"


def test_readme_is_short() -> None:
    lines = (ROOT / "README.md").read_text().splitlines()
    assert len(lines) <= 120


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_lines_have_at_most_120_columns(page: Path) -> None:
    """Tables, links and code cannot wrap; prose can."""
    prose = [line for line in _without_code(page.read_text()).splitlines() if not line.startswith("|")]
    assert not [line for line in prose if len(line) > 120]


def _without_code(text: str) -> str:
    return re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)


@pytest.mark.parametrize(
    ("broken", "complaint"), [("[a](nowhere.md)", "nowhere.md"), ("[a](index.md#nope)", "#nope"), ("", None)]
)
def test_a_broken_link_fails_the_build(tmp_path: Path, broken: str, complaint: str | None) -> None:
    for name in ("docs", "mkdocs.yml", *(page.name for page in ROOT.glob("*.md"))):
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, tmp_path / name)
    with (tmp_path / "docs" / "gpus.md").open("a") as page:
        page.write(f"\n{broken}\n")
    if complaint is None:
        build(tmp_path, tmp_path / "site")
        assert (tmp_path / "site" / "gpus.html").is_file()
        return
    with pytest.raises(UserError, match=complaint):
        build(tmp_path, tmp_path / "site")


def test_one_version_number() -> None:
    """pyproject.toml has it, and the changelog a section for it."""
    (version,) = re.findall(r'^version = "(.*)"', (ROOT / "pyproject.toml").read_text(), re.M)
    newest = re.findall(r"^## (\d+\.\d+\.\d+)", (ROOT / "CHANGELOG.md").read_text(), re.M)[0]
    assert version == newest
