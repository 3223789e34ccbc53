"""The kinds of requests that a task can be: what is special about them, and after which nothing must have happened."""

from __future__ import annotations

from typing import Literal

RequestKind = Literal[
    "plain",
    "evidence",
    "computed",
    "long_result",
    "incomplete",
    "ambiguous",
    "changed",
    "withdrawn",
    "late_tool",
    "forbidden",
    "not_found",
    "no_tool",
    "irrelevant",
    "guided",
]
"""What is special about a request. It can be met: nothing is (plain), it follows from comparing look-ups (evidence), is
computed (computed), or found among more than 50 rows (long_result); it lacks a value (incomplete), fits several records
(ambiguous), the user changes the wish (changed), a tool is offered only after the assistant had to decline (late_tool),
or it follows a procedure in which the user acts, too (guided). Nothing must happen: the user takes it back
(withdrawn), the policy forbids it (forbidden), the record does not exist (not_found), no tool does it (no_tool), or it
has nothing to do with the service (irrelevant)."""
DECLINED: frozenset[RequestKind] = frozenset({"forbidden", "not_found", "no_tool"})
"""Requests that the assistant has to decline."""
NOTHING_HAPPENS: frozenset[RequestKind] = DECLINED | {"withdrawn", "irrelevant"}
"""Requests after which the state must be as before."""
