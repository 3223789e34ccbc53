"""Parts of the rules that the stand-in writes."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

RuleJson = dict[str, Any]

_DESKS = ("the front desk", "the office", "customer service", "the manager on duty", "the service desk")


def rule(form: str, rule_id: str, text: str, tools: Sequence[str], **fields: Any) -> RuleJson:
    """A rule as a model writes it."""
    return {"form": form, "rule_id": rule_id, "text": text, "tools": list(tools), **fields}


def contact(rng: Random) -> str:
    """Whom users turn to, with a telephone number that belongs to no one."""
    return f"{rng.choice(_DESKS)}, 555-01{rng.randrange(100):02}"


def listed(values: Sequence[str]) -> str:
    """Several values in a sentence: "waiting, ready or collected"."""
    *first, last = values
    return f"{', '.join(first)} or {last}" if first else last


def with_article(noun: str) -> str:
    """A noun with its article: "an order"."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def decimal(value: float) -> float | int:
    """A number as people write it: 20 and not 20.0."""
    return int(value) if float(value).is_integer() else round(value, 2)
