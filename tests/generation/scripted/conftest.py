"""The bundled databases with their tools and rows, as the stand-in's task writer sees them."""

from __future__ import annotations

import json
from random import Random

import pytest

from core.messages import ToolSpec
from generation.database.schema import DatabaseSchema, read_schema
from generation.database.views import sample_rows
from generation.llm.contexts import SqlToolsContext
from generation.scripted import tool_maker
from generation.seeds.bundled import BundledSeeds
from tests.generation.helpers.task_drafts import Rows


@pytest.fixture(scope="module")
def databases(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[DatabaseSchema, tuple[ToolSpec, ...], Rows]]:
    """Schema, ten tools and rows of every bundled training database."""
    entries = []
    for seed in BundledSeeds(tmp_path_factory.mktemp("all")).load():
        assert seed.database
        schema = read_schema(seed.database, seed.name)
        specs = json.loads(
            tool_maker.answer(SqlToolsContext(seed.called, seed.description, schema, 10), Random(seed.name))
        )
        keys = ("name", "description", "parameters", "returns")
        tools = tuple(ToolSpec(**{key: tool[key] for key in keys}) for tool in specs)
        entries.append((schema, tools, sample_rows(seed.database, schema, 20, 0)))
    assert len(entries) == 10
    return entries
