"""What a tool does according to its name, in words that a user would use."""

from __future__ import annotations

from generation.specs.naming import Deed, deed
from generation.specs.spelling import snake

_PHRASES: dict[Deed, tuple[str, str]] = {
    "search": ("look for the", "matching entries"),
    "list": ("see the", "details"),
    "rank": ("see the", "details"),
    "see": ("see the", "details"),
    "work out": ("work out the", "result"),
    "check": ("check the", "state"),
}
"""(the action, its object if the name does not give one)."""


def destroys(tool: str) -> bool:
    """Whether the tool removes something for good, so that a careful agent asks first."""
    return deed(tool) in ("delete", "end")


def spoken_deed(tool: str) -> tuple[str, str]:
    """(the action, its object), without the tool's name: get_order_details -> ("see the", "order details")."""
    first, _, rest = snake(tool).partition("_")
    what, kind = rest.replace("_", " "), deed(tool)
    if kind is None:
        return "get the", f"{first} {what}".strip()
    action, usual = _PHRASES.get(kind, (f"{first} a new" if kind in ("create", "make") else f"{first} the", "entry"))
    return action, what or usual
