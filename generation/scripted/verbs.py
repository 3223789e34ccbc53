"""What a tool does according to its name, in words that a user would use."""

from __future__ import annotations

from generation.specs.naming import Action, action
from generation.specs.spelling import snake

_PHRASES: dict[Action, tuple[str, str]] = {
    "search": ("look for the", "matching entries"),
    "list": ("see the", "details"),
    "rank": ("see the", "details"),
    "get": ("see the", "details"),
    "compute": ("work out the", "result"),
    "check": ("check the", "state"),
}
"""(the action, its object if the name does not give one)."""


def destroys(tool: str) -> bool:
    """Whether the tool removes something for good, so that a careful agent asks first."""
    return action(tool) in ("delete", "cancel")


def spoken_action(tool: str) -> tuple[str, str]:
    """(the action, its object), without the tool's name: get_order_details -> ("see the", "order details")."""
    first, _, rest = snake(tool).partition("_")
    what, kind = rest.replace("_", " "), action(tool)
    if kind is None:
        return "get the", f"{first} {what}".strip()
    doing, usual = _PHRASES.get(kind, (f"{first} a new" if kind in ("create", "book") else f"{first} the", "entry"))
    return doing, what or usual
