"""Schemas of Spider and BFCL, read from files in their form."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from core.settings import UserError
from generation.synthesis.known_schemas import known_schemas, schemas_hash

OTHERS = known_schemas(None, None)


def test_spider(tmp_path: Path) -> None:
    columns = [[-1, "*"], [0, "Boat_ID"], [0, "Boat_Name"], [1, "Sailor_ID"], [1, "Boat_ID"], [1, "Rank"]]
    schema = {"db_id": "harbour", "table_names_original": ["Boats", "Sailors"], "column_names_original": columns}
    (tmp_path / "tables.json").write_text(json.dumps([schema]))
    known = known_schemas(None, tmp_path)
    assert known[:-1] == OTHERS
    assert known[-1].of == "Spider's harbour"
    assert known[-1].tables == {"boat": {"name"}, "sailor": {"rank"}}
    assert schemas_hash(known) != schemas_hash(OTHERS) == schemas_hash(known_schemas(None, None))


@pytest.mark.parametrize("content", [None, "{", '{"db_id": 1}', '[{"db_id": "a"}]', "[7]"])
def test_what_is_not_spider(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "tables.json").write_text(content)
    with pytest.raises(UserError, match=r"expected: Spider's folder|is not Spider's list of schemas"):
        known_schemas(None, tmp_path)


def test_bfcl(tmp_path: Path) -> None:
    def tool(name: str, properties: dict[str, Any]) -> str:
        return json.dumps({"name": name, "response": {"type": "object", "properties": properties}})

    ticket = {"ticket_id": {}, "status": {}, "priority": {}}
    tools = [
        tool("get_ticket", ticket),
        tool("list_tickets", {"tickets": {"type": "array", "items": {"type": "object", "properties": ticket}}}),
        tool("close_ticket", {"status": {}}),  # too few fields
        json.dumps({"name": "get_nothing"}),
    ]
    folder = tmp_path / "lib/python3.11/site-packages/bfcl_eval/data/multi_turn_func_doc"
    folder.mkdir(parents=True)
    (folder / "ticket_api.json").write_text("\n".join(tools))
    (folder / "math_api.json").write_text(tool("get_sum", {"sum": {}}))
    known = known_schemas(tmp_path, None)
    assert known[:-1] == OTHERS
    assert known[-1].of == "BFCL's ticket_api"
    assert known[-1].tables == {"ticket": {"status", "priority"}}
