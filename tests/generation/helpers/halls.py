"""A small database of halls and their owners, its tools and a policy with rules of every form but identity."""

from __future__ import annotations

from typing import Any

from core.messages import ToolSpec
from core.policy import ArgumentRule, Comparison, ConfirmRule, LookUp, Policy, StaffRule, StateRule
from generation.database.sql_tools import SqlTool

HALLS = """
CREATE TABLE owners (owner_id INTEGER PRIMARY KEY, name TEXT NOT NULL);
CREATE TABLE halls (hall_id INTEGER PRIMARY KEY, owner_id INTEGER NOT NULL REFERENCES owners (owner_id),
    city TEXT NOT NULL, seats INTEGER NOT NULL, price REAL NOT NULL, status TEXT NOT NULL);
INSERT INTO owners VALUES (1, 'Ann'), (2, 'Bob');
INSERT INTO halls VALUES (1, 1, 'Oslo', 80, 500, 'open'), (2, 1, 'Rome', 120, 450, 'open'),
    (3, 1, 'Bonn', 60, 700, 'closed'), (4, 2, 'Oslo', 300, 900, 'open'), (5, 2, 'Lyon', 30, 450, 'open');
INSERT INTO owners VALUES (50, 'Fifty'), (51, 'Fifty-one');
WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 51) INSERT INTO halls
    SELECT owner_id * 100 + i, owner_id, 'Turku', 1000 + i, 100, 'open' FROM owners, n WHERE owner_id >= max(i, 50);
"""


def _tool(name: str, sql: str, returns: dict[str, Any], /, **parameters: str) -> SqlTool:
    properties = {key: {"type": kind} for key, kind in parameters.items()}
    schema = {"type": "object", "properties": properties, "required": list(parameters)}
    return SqlTool(spec=ToolSpec(name=name, description=name, parameters=schema, returns=returns), sql=sql)


def rows(**fields: str) -> dict[str, Any]:
    return {
        "type": "array",
        "items": {"type": "object", "properties": {key: {"type": kind} for key, kind in fields.items()}},
    }


HALL = rows(hall_id="integer", owner_id="integer", city="string", seats="integer", price="number", status="string")
CHANGED = {"type": "object", "properties": {"rows_affected": {"type": "integer"}}}
TOOLS = (
    _tool(
        "find_owner", "SELECT * FROM owners WHERE name = :name", rows(owner_id="integer", name="string"), name="string"
    ),
    _tool("list_halls", "SELECT * FROM halls WHERE owner_id = :owner_id", HALL, owner_id="integer"),
    _tool("get_hall", "SELECT * FROM halls WHERE hall_id = :hall_id", HALL, hall_id="integer"),
    _tool(
        "update_seats",
        "UPDATE halls SET seats = :seats WHERE hall_id = :hall_id",
        CHANGED,
        hall_id="integer",
        seats="integer",
    ),
    _tool("delete_hall", "DELETE FROM halls WHERE hall_id = :hall_id", CHANGED, hall_id="integer"),
)
POLICY = Policy(
    rules=(
        StateRule(
            rule_id="only_open",
            text="Only open halls are changed.",
            tools=("update_seats",),
            look_up=LookUp(tool="get_hall", arguments={"hall_id": "${hall_id}"}),
            require=(Comparison(field="status", op="is", value="open"),),
        ),
        ArgumentRule(
            rule_id="most_seats",
            text="No hall has more than 400 seats.",
            tools=("update_seats",),
            require=(Comparison(field="seats", op="at_most", value=400),),
        ),
        StaffRule(
            rule_id="staff_deletes",
            text="Halls are deleted by the office: 555-0142.",
            tools=("delete_hall",),
            contact="555-0142",
        ),
        ConfirmRule(rule_id="ask", text="Ask before a change.", tools=("update_seats",)),
    )
)
