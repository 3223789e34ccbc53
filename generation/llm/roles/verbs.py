"""What a tool's name says it does, in words a user would use."""

from __future__ import annotations

from generation.llm.roles.sql_shapes import snake

_DESTROYING = {"delete", "remove", "cancel", "drop", "erase", "revoke", "terminate", "unsubscribe", "deactivate"}
_MAKING = {"create", "add", "book", "place", "open", "register", "insert", "make", "schedule", "submit", "reserve"}
_MAKING |= {"order", "post", "file", "generate", "start", "issue", "request"}
_CHANGING = {"update", "change", "modify", "set", "edit", "rename", "move", "reschedule", "renew", "extend", "adjust"}
_CHANGING |= {
    "send",
    "pay",
    "transfer",
    "return",
    "exchange",
    "refund",
    "assign",
    "approve",
    "confirm",
    "close",
    "convert",
}
_CHANGING |= {
    "apply",
    "upload",
    "share",
    "translate",
    "merge",
    "activate",
    "enable",
    "disable",
    "mark",
    "archive",
    "buy",
}
_FINDING = {"search", "find", "query", "look", "lookup"}
_WORKING_OUT = {"count", "total", "calculate", "compute", "estimate", "compare"}
_CHECKING = {"check", "verify", "is", "has", "track"}
_SEEING = {"get", "list", "fetch", "view", "show", "read", "retrieve", "describe", "top"}


def destroys(tool: str) -> bool:
    """Whether the tool takes something away for good, so that a careful agent asks first."""
    return _first(tool) in _DESTROYING


def makes(tool: str) -> bool:
    """Whether the tool makes a new record, whose identifier is news."""
    return _first(tool) in _MAKING


def deed(tool: str) -> tuple[str, str]:
    """(what is done, to what), without the tool's name: get_order_details -> ("see the", "order details")."""
    first, _, rest = snake(tool).partition("_")
    what = rest.replace("_", " ")
    if first in _MAKING:
        return f"{first} a new", what or "entry"
    if first in _DESTROYING | _CHANGING:
        return f"{first} the", what or "entry"
    if first in _FINDING:
        return "look for the", what or "matching entries"
    if first in _WORKING_OUT:
        return "work out the", what or "result"
    if first in _CHECKING:
        return "check the", what or "state"
    if first in _SEEING:
        return "see the", what or "details"
    return "get the", f"{first} {what}".strip()


def _first(tool: str) -> str:
    return snake(tool).partition("_")[0]
