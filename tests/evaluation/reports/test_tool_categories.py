"""Categories of tools by hand-made vectors, and BFCL's tools as its own program declares them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from evaluation.bfcl.declared_tools import declared_tools
from evaluation.reports.tool_categories import OTHERS, categorise, shares
from tests.helpers.paths import ROOT


def test_a_tool_gets_the_nearest_category_or_none() -> None:
    categories = np.array([[1.0, 0.0], [0.0, 1.0]])
    tools = np.array([[0.8, 0.6], [0.6, 0.8], [-1.0, 0.0], [-0.6, 0.3]])
    assert categorise(tools, categories, ["food", "maps"], 0.3) == ["food", "maps", OTHERS, "maps"]
    assert categorise(tools, categories, ["food", "maps"], 0.31) == ["food", "maps", OTHERS, OTHERS]


def test_shares_put_the_others_last() -> None:
    labels = [OTHERS] * 4 + ["maps"] * 2 + ["food"] * 2 + ["games"] * 2
    assert list(shares(labels).items()) == [("food", 0.2), ("games", 0.2), ("maps", 0.2), (OTHERS, 0.4)]


def test_tools_are_read_from_tasks_and_from_files_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "multi_turn_func_doc").mkdir()
    one, two = {"name": "one", "description": "First."}, {"name": "two", "description": "Second."}
    tasks = [{"id": "a", "function": [one, two]}, {"id": "b", "function": two}, {"id": "c"}]
    (tmp_path / "BFCL_v4_x.json").write_text("\n".join(map(json.dumps, tasks)) + "\n")
    (tmp_path / "BFCL_v4_format_sensitivity.json").write_text('{\n"categories": []\n}')
    (tmp_path / "multi_turn_func_doc" / "m.json").write_text('{"name": "three", "description": "Third."}\n')
    assert declared_tools(tmp_path) == {"one": "First.", "two": "Second.", "three": "Third."}
    assert declared_tools(tmp_path / "nowhere") == {}


def test_the_official_files_are_read() -> None:
    found = sorted((ROOT / ".venv-bfcl").glob("lib/python3.*/site-packages/bfcl_eval/data"))
    if not found:
        pytest.skip("the official BFCL package is not installed: make setup")
    tools = declared_tools(found[0])
    assert len(tools) > 1900
    assert {"core_memory_add", "lockDoors", "search_engine_query"} <= tools.keys()
