"""What a tool's name says it does, in words a user would use."""

from __future__ import annotations

from generation.specs.naming import Action, action
from generation.specs.spelling import snake

_SAID: dict[Action, tuple[str, str]] = {
    "search": ("look for the", "matching entries"),
    "list": ("see the", "details"),
    "rank": ("see the", "details"),
    "get": ("see the", "details"),
    "compute": ("work out the", "result"),
    "check": ("check the", "state"),
}
"""(what is done, to what if the name does not say)."""


def destroys(tool: str) -> bool:
    """Whether the tool takes something away for good, so that a careful agent asks first."""
    return action(tool) in ("delete", "cancel")


def spoken_deed(tool: str) -> tuple[str, str]:
    """(what is done, to what), without the tool's name: get_order_details -> ("see the", "order details")."""
    first, _, rest = snake(tool).partition("_")
    what, kind = rest.replace("_", " "), action(tool)
    if kind is None:
        return "get the", f"{first} {what}".strip()
    said, usual = _SAID.get(kind, (f"{first} a new" if kind in ("create", "book") else f"{first} the", "entry"))
    return said, what or usual
