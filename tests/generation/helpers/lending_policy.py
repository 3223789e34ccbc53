"""The bundled library with a few tools, and a policy of all five forms for them."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from core.messages import ToolSpec
from core.policy import Policy
from generation.database.sql_tools import SqlTool
from generation.environments.sql import SqlDomainEnvironment
from generation.seeds.bundled import BundledSeeds

NOW = "Sunday 2025-06-01 10:15"
LOAN_COLUMNS = ("loan_id", "member_id", "due_on", "returned_on", "loan_status", "fine_amount")


def _tool(name: str, sql: str, returns: dict[str, str | list[str]] | None = None, **parameters: Any) -> SqlTool:
    properties = {key: {"type": kind} if isinstance(kind, str) else kind for key, kind in parameters.items()}
    shape = {"type": "object", "properties": {"rows_affected": {"type": "integer"}}}
    if returns:
        columns = {column: {"type": kind} for column, kind in returns.items()}
        shape = {"type": "array", "items": {"type": "object", "properties": columns}}
    schema = {"type": "object", "properties": properties, "required": list(properties)}
    return SqlTool(spec=ToolSpec(name=name, description=name, parameters=schema, returns=shape), sql=sql)


_LOAN: dict[str, str | list[str]] = {
    "loan_id": "integer",
    "member_id": "integer",
    "due_on": "string",
    "returned_on": ["string", "null"],
    "loan_status": "string",
    "fine_amount": "number",
}
_STATUS = {"type": "string", "enum": ["on loan", "overdue", "returned", "lost"]}
_CREATE = (
    "INSERT INTO loans (loan_id, book_id, member_id, branch_id, loaned_on, due_on, loan_status, fine_amount) "
    "VALUES (:loan_id, :book_id, :member_id, 1, '2025-06-01', :due_on, 'on loan', 0)"
)
TOOLS = (
    _tool("get_loan", f"SELECT {', '.join(LOAN_COLUMNS)} FROM loans WHERE loan_id = :loan_id", _LOAN, loan_id="integer"),
    _tool(
        "list_loans_by_member_id",
        f"SELECT {', '.join(LOAN_COLUMNS)} FROM loans WHERE member_id = :member_id",
        _LOAN,
        member_id="integer",
    ),
    _tool(
        "search_members",
        "SELECT member_id, member_name FROM members WHERE member_name = :member_name",
        {"member_id": "integer", "member_name": "string"},
        member_name="string",
    ),
    _tool("update_loan_due_on", "UPDATE loans SET due_on = :due_on WHERE loan_id = :loan_id", loan_id="integer",
          due_on="string"),
    _tool("update_loan_fine", "UPDATE loans SET fine_amount = :fine WHERE loan_id = :loan_id", loan_id="integer",
          fine="number"),
    _tool("update_loan_status", "UPDATE loans SET loan_status = :status WHERE loan_id = :loan_id", loan_id="integer",
          status=_STATUS),
    _tool("delete_loan", "DELETE FROM loans WHERE loan_id = :loan_id", loan_id="integer"),
    _tool("create_loan", _CREATE, loan_id="integer", book_id="integer", member_id="integer", due_on="string"),
)  # fmt: skip
SPECS = tuple(tool.spec for tool in TOOLS)

_GET_LOAN = {"tool": "get_loan", "arguments": {"loan_id": "${loan_id}"}}
POLICY = Policy.model_validate(
    {
        "rules": [
            {
                "form": "state",
                "rule_id": "open_loans_only",
                "text": "Due dates can be changed only while the book is out.",
                "tools": ["update_loan_due_on"],
                "look_up": _GET_LOAN,
                "require": [{"field": "loan_status", "op": "in", "value": ["on loan", "overdue"]}],
            },
            {
                "form": "state",
                "rule_id": "three_loans",
                "text": "A member may have at most three loans that are not returned.",
                "tools": ["create_loan"],
                "look_up": {"tool": "list_loans_by_member_id", "arguments": {"member_id": "${member_id}"}},
                "require": [{"field": "returned_on", "op": "is", "value": None}],
                "fewer_than": 3,
            },
            {
                "form": "arguments",
                "rule_id": "four_weeks",
                "text": "Nothing is lent for longer than 28 days from today.",
                "tools": ["create_loan", "update_loan_due_on"],
                "require": [
                    {"field": "due_on", "op": "before", "value": "${now + 29 days}"},
                    {"field": "due_on", "op": "after", "value": "${now}"},
                ],
            },
            {
                "form": "arguments",
                "rule_id": "fine_limit",
                "text": "A fine is at most 20.",
                "tools": ["update_loan_fine"],
                "require": [{"field": "fine", "op": "at_most", "value": 20}],
            },
            {
                "form": "identity",
                "rule_id": "known_member",
                "text": "Search for the member before you lend.",
                "tools": ["create_loan"],
                "first": ["search_members"],
                "subject": "member_id",
            },
            {
                "form": "identity",
                "rule_id": "known_borrower",
                "text": "Search for the member before you change a loan's due date.",
                "tools": ["update_loan_due_on"],
                "first": ["search_members"],
                "subject": "member_id",
                "look_up": _GET_LOAN,
            },
            {
                "form": "confirm",
                "rule_id": "confirm_delete",
                "text": "Ask before you delete.",
                "tools": ["delete_loan"],
            },
            {
                "form": "staff",
                "rule_id": "lost_books",
                "text": "Only the front desk, 555-0142, declares a book lost.",
                "tools": ["update_loan_status"],
                "when": [{"field": "status", "op": "is", "value": "lost"}],
                "contact": "the front desk, 555-0142",
            },
        ]
    }
)


@cache
def library_database() -> Path:
    """The file of the bundled library's database."""
    (seed,) = BundledSeeds(Path(mkdtemp()), ["library"]).load()
    assert seed.database is not None
    return seed.database


@cache
def library() -> SqlDomainEnvironment:
    """One domain environment for all tests of a process."""
    return SqlDomainEnvironment("library", library_database(), TOOLS)
