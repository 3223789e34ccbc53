"""What the stand-in composes databases from: the words of areas, and tables in a short notation that becomes a model's
JSON (database_words.txt, database_parts.yaml)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import yaml

from generation.specs.spelling import plural

_HERE = Path(__file__).parent
_KINDS = "Classic|Grand|Little|Royal|Modern|Old|Special|Double|Prime|Wild|Quiet|Bold|Twin|Early"
_PLACES = "House|Corner|Hall|Yard|Point|Park|Gate|Field|Bay|Court|Mill|Hill"

Json = dict[str, Any]


@dataclass(frozen=True)
class Words:
    """One area's words. `slots` fill the placeholders of tables and sentences, `attributes` ($thing …) are columns."""

    area: str
    slots: Mapping[str, str]
    attributes: Mapping[str, tuple[str, ...]]
    names: str


@cache
def all_words() -> tuple[Words, ...]:
    lines = (_HERE / "database_words.txt").read_text(encoding="utf-8").splitlines()
    return tuple(_words(line) for line in lines if line and not line.startswith("#"))


@cache
def parts() -> Json:
    content: Json = yaml.safe_load((_HERE / "database_parts.yaml").read_text(encoding="utf-8"))
    return content


def words_of(sentence: str, rng: Random) -> Words:
    """The words of the area that a sentence names, else of one that shares words with it, else of any."""
    text = sentence.casefold()
    if named := [words for words in all_words() if words.area in text]:
        return max(named, key=lambda words: len(words.area))
    mentioned = set(re.findall(r"[a-z]{4,}", text))
    shared = {words.area: len(mentioned & set(re.findall(r"[a-z]{4,}", _text(words)))) for words in all_words()}
    most = max(shared.values())
    return rng.choice([words for words in all_words() if shared[words.area] == most])


def _text(words: Words) -> str:
    return " ".join((words.area, *words.slots.values())).replace("_", " ")


def _words(line: str) -> Words:
    area, thing, person, place, event, names = (part.strip() for part in line.split("|"))
    slots: dict[str, str] = {"event": event, "events": plural(event)}
    attributes: dict[str, tuple[str, ...]] = {}
    for slot, text in (("thing", thing), ("person", person), ("place", place)):
        noun, _, listed = text.partition(":")
        slots |= {slot: noun, {"person": "people"}.get(slot, f"{slot}s"): plural(noun)}
        attributes[f"${slot}"] = tuple(_attribute(part.strip()) for part in listed.split(", "))
    return Words(area, slots, attributes, names.replace(",", "|").replace(" ", "_"))


def _attribute(text: str) -> str:
    """An attribute in the notation of columns: "berths 4..20/1" -> "berths integer numbers 4 20 1"."""
    if matched := re.fullmatch(r"(\w+) (-?[\d.]+)\.\.(-?[\d.]+)/([\d.]+)", text):
        name, low, high, step = matched.groups()
        kind = "number" if "." in low + step else "integer"
        return f"{name} {kind} numbers {low} {high} {step}"
    name, _, options = text.partition("=")
    kind = "integer" if options.replace("/", "").isdigit() else "text"
    return f"{name} {kind} choices {options.replace(' ', '_').replace('/', '|')}"


def column(text: str, words: Words) -> Json:
    """A column of a model's answer from its notation."""
    text, _, missing = text.partition(" ~")
    name, kind, generator, *arguments = text.format(**words.slots).removeprefix("?").split()
    answer: Json = {"name": name.rstrip("!"), "type": kind, "kind": generator} | _values(generator, arguments, words)
    return answer | ({"unique": True} if name.endswith("!") else {}) | ({"missing": float(missing)} if missing else {})


def _values(generator: str, arguments: list[str], words: Words) -> Json:
    match generator:
        case "faker":
            return {"provider": arguments[0]}
        case "words":
            text = arguments[0].replace("$names", words.names).replace("$kinds", _KINDS).replace("$places", _PLACES)
            return {"parts": [[_plain(word) for word in part.split("|")] for part in text.split("+")]}
        case "choices":
            return _choices(arguments[0].split("|"))
        case "pattern":
            return {"pattern": _plain(arguments[0])}
        case "numbers":
            low, high, step = (float(part) for part in arguments[:3])
            return {"low": low, "high": high, "step": step} | ({"shape": arguments[3]} if arguments[3:] else {})
        case "dates":
            return {"first": arguments[0], "last": arguments[1]}
        case "times":
            return {"first": arguments[0], "last": arguments[1]} | (
                {"step_minutes": int(arguments[2])} if arguments[2:] else {}
            )
        case "flag":
            return {"share": float(arguments[0])}
        case "product":
            return {"of": arguments}
        case "days_after":
            return {"of": arguments[0], "fewest": int(arguments[1]), "most": int(arguments[2])}
        case "copied":
            return {"through": arguments[0], "of": arguments[1]}
    return {"of": arguments[0]}


def _choices(items: list[str]) -> Json:
    pairs = [(item.partition("*")[0], float(item.partition("*")[2] or 1)) for item in items]
    options: list[Any] = [int(name) if name.isdigit() else _plain(name) for name, _ in pairs]
    if not all(isinstance(option, int) for option in options):
        options = [str(option) for option in options]
    weighted = len({weight for _, weight in pairs}) > 1
    return {"options": options} | ({"weights": [weight for _, weight in pairs]} if weighted else {})


def _plain(text: str) -> str:
    return text.replace("_", " ")


def check(text: str) -> Json:
    """A check from its notation: "due_on > lent_on", "places > 0"."""
    left, op, right = text.split()
    return {"column": left, "op": op} | ({"other": right} if right[0].isalpha() else {"value": float(right)})


def reference(text: str, words: Words) -> Json:
    """A reference from its notation: "teams@home_team_id~0.2", with * if few rows are referred to often."""
    text, _, missing = text.format(**words.slots).partition("~")
    table, _, name = text.replace("*", "").partition("@")
    answer: Json = {"table": table} | ({"column": name} if name else {})
    return answer | ({"missing": float(missing)} if missing else {}) | ({"skewed": True} if "*" in text else {})
