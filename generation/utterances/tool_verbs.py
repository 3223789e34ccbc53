"""The verbs by which people speak of using a tool, by the first word of the tool's name."""

from __future__ import annotations

READING = ("check", "get", "can", "run", "list", "read", "look", "show", "view")
"""First words of tools that change nothing."""
_VERBS = {
    "check": "check look see tell view read report verify confirm show describe inspect is are does has what which how",
    "can": "try test check see confirm verify are is does",
    "run": "run rerun perform do start repeat take",
    "toggle": "toggle",
    "set": "set change choose select adjust",
    "reset": "reset restore",
    "reseat": "reseat remove reinsert insert eject",
    "reboot": "reboot restart",
    "grant": "grant give allow",
    "make": "make pay",
    "press": "press push hold",
    "replace": "replace swap exchange",
}
SYNONYMS = {name: frozenset(words.split()) for name, words in _VERBS.items()} | {
    name: frozenset(_VERBS["check"].split()) for name in ("get", "list", "read", "look", "show", "view")
}
"""Verbs for using a tool, by the first word of its name; that word itself needs no entry."""
SWITCHED = {"on": ("toggle", "connect", "enable", "open"), "off": ("toggle", "disconnect", "disable", "close")}
"""First words of tools that "turn … on" and "turn … off" can stand for."""
QUESTION_VERBS = frozenset({"is", "are", "does", "do", "has", "what", "which", "how"})
"""Verbs that ask for a look in questions only: in statements they order nothing."""
TURNS = {
    "on": frozenset({"enable", "activate"}),
    "off": frozenset({"disable", "deactivate"}),
    "": frozenset({"turn", "switch", "put"}),
}
"""Verbs that switch something, by the state that they give it; empty if other words of the clause say it."""
