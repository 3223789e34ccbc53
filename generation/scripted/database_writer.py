"""The stand-in's writer of databases: sentences, outlines and tables as a model's JSON, composed from an area's words,
a core of tables, and modules that attach to it.

Like a model it takes other names and columns every time, and makes a mistake now and then.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from random import Random
from typing import Any

from generation.llm.contexts import LinkContext, OutlineContext, SentenceContext, TableContext
from generation.scripted.database_parts import Json, Words, check, column, parts, reference, words_of
from generation.specs.spelling import singular

_MOST_TABLES = 8
_COLUMN_CHANCE = 0.6
"""Chance of a column that nothing depends on."""
_EXTRAS = (0, 0, 1, 1, 2, 3)
"""How many further columns a table has."""
_MISTAKES = 0.05
_DESIGNS = 8
"""Designs of one sentence among which the one of an outline is found again."""


def answer(context: SentenceContext | OutlineContext | LinkContext | TableContext, rng: Random) -> str:
    match context:
        case SentenceContext():
            return _sentence(context, rng)
        case OutlineContext():
            return _outline(context)
        case LinkContext():
            return json.dumps({"link": context.links[0]})
    return _table(context, rng)


def _sentence(context: SentenceContext, rng: Random) -> str:
    words = words_of(context.area, rng)
    core = rng.choice(sorted(parts()["cores"]))
    return json.dumps({"sentence": f"A service for {context.area} {_does(core, words)}."})


def _outline(context: OutlineContext) -> str:
    """Another design for every refused one."""
    design = _design(context.sentence, len(context.refused))
    tables = [{key: table[key] for key in ("name", "rows", "refers_to")} for table in design["tables"]]
    return json.dumps({"title": design["title"], "description": design["description"], "tables": tables})


def _table(context: TableContext, rng: Random) -> str:
    planned = [other.name for other in context.outline.tables]
    designs = (_design(context.sentence, number) for number in range(_DESIGNS))
    chosen = next(d for d in designs if {t["name"] for t in d["tables"]} == set(planned))
    table = next(t for t in chosen["tables"] if t["name"] == context.table.name)
    columns = list(table["columns"])
    if rng.random() < _MISTAKES:
        columns[-1] = columns[-1] | {"unique": True}  # often of too few values
    first = [{"name": name} for name in context.table.key_columns]
    return json.dumps({"columns": [*first, *columns], "checks": table["checks"], "unique_together": table["unique"]})


def _does(core: str, words: Words) -> str:
    text = str(parts()["cores"][core]["sentence"]).format(**words.slots)
    return text.replace("_", " ")


def _design(text: str, number: int) -> Json:
    """The database of a sentence; further ones with higher numbers."""
    rng = Random(f"{text}/{number}")
    words = words_of(text, Random(text))
    cores = parts()["cores"]
    core = next((name for name in sorted(cores) if _does(name, words) in text), None) or rng.choice(sorted(cores))
    tables = _without_some_leaves([_drafted(table, words) for table in cores[core]["tables"]], rng)
    for module in rng.sample(sorted(parts()["modules"]), len(parts()["modules"])):
        attached = parts()["modules"][module]
        entity = words.slots[{"thing": "things", "person": "people", "place": "places"}[attached["attaches_to"]]]
        added = [_drafted(table, words, entity) for table in attached["tables"]]
        if entity in {t["name"] for t in tables} and len(tables) + len(added) <= rng.randint(
            _MOST_TABLES - 2, _MOST_TABLES
        ):
            tables += added
    for drafted in tables:
        _thin_out(drafted, tables, rng)
        known = {other["name"] for other in drafted["columns"]}
        further = [column(text, words) for text in rng.sample(parts()["extras"], rng.choice(_EXTRAS))]
        drafted["columns"] += [extra for extra in further if extra["name"] not in known]
        low, high = map(int, drafted["rows"].split("-"))
        drafted["rows"] = rng.randint(low, high)
    _rename(tables, rng)
    return {
        "title": f"{words.area} {core}" if len(words.area.split()) < 4 else words.area,
        "description": f"It {_does(core, words)}.",
        "tables": tables,
    }


def _drafted(table: Json, words: Words, entity: str = "") -> Json:
    """A table with its words filled in; `entity` is the table that a module attaches to."""
    columns: list[Json] = []
    for text in table["columns"]:
        for part in words.attributes.get(text, (text,)):
            columns.append(column(part, words) | {"optional": part.startswith("?")})
    return {
        "name": table["name"].format(**words.slots),
        "rows": table["rows"],
        "refers_to": [reference(entity if text == "$entity" else text, words) for text in table.get("refers_to", ())],
        "columns": columns,
        "checks": [check(text) for text in table.get("checks", ())],
        "unique": [text.format(**words.slots) for text in table.get("unique", ())],
    }


def _without_some_leaves(tables: list[Json], rng: Random) -> list[Json]:
    """The tables without up to two that no other table refers to, and without those that are then alone."""
    remaining = list(tables)
    for _ in range(rng.choice((0, 1, 1, 2, 2))):
        referred = {ref["table"] for table in remaining for ref in table["refers_to"] if ref["table"] != table["name"]}
        leaves = [table for table in remaining if table["name"] not in referred]
        if len(remaining) > 4 and leaves:
            gone = rng.choice(leaves)
            remaining = [table for table in remaining if table is not gone]
    linked = {name for table in remaining for ref in table["refers_to"] for name in (table["name"], ref["table"])}
    joined = [table for table in remaining if table["name"] in linked]
    return joined if len(joined) >= 4 and _is_joined(joined) else tables


def _is_joined(tables: Sequence[Json]) -> bool:
    reached = {tables[0]["name"]}
    for _ in tables:
        for table in tables:
            links = {table["name"], *(ref["table"] for ref in table["refers_to"])}
            reached |= links if links & reached else set()
    return {table["name"] for table in tables} <= reached


def _thin_out(table: Json, tables: Sequence[Json], rng: Random) -> None:
    """Leave out some columns that nothing depends on and that do not name the rows."""
    needed = {name for part in table["checks"] for name in (part["column"], part.get("other"))} | set(table["unique"])
    for planned in table["columns"]:
        of = planned.get("of", [])
        needed |= {of} if isinstance(of, str) else set(of)
    key = f"{singular(table['name'])}_id"
    needed |= {planned["of"] for other in tables for planned in other["columns"] if planned.get("through") == key}
    named = next(
        (planned["name"] for planned in table["columns"] if planned["kind"] in ("faker", "words", "pattern")), None
    )
    remaining: list[Json] = []
    for planned in table["columns"]:
        chance = 0.5 if planned.pop("optional") else _COLUMN_CHANCE
        if planned["name"] in needed or planned["name"] == named or rng.random() < chance:
            remaining.append(planned)
    if len(remaining) >= 2:
        table["columns"] = remaining


def _rename(tables: list[Json], rng: Random) -> None:
    """Other names for tables and columns, the same throughout a database."""
    other: dict[str, str] = {}
    for name, names in parts()["table_names"].items():
        new = rng.choice([name, *names])
        other |= {name: new, f"{singular(name)}_id": f"{singular(new)}_id"}
    renamed = {name: rng.choice([name, *names]) for name, names in parts()["column_names"].items()}

    def named(value: Any) -> Any:
        if isinstance(value, list):
            return [named(part) for part in value]
        return renamed.get(value, other.get(value, value)) if isinstance(value, str) else value

    for table in tables:
        table["name"] = other.get(table["name"], table["name"])
        for ref in table["refers_to"]:
            ref["table"] = other.get(ref["table"], ref["table"])
        for part in (*table["columns"], *table["checks"]):
            for key in ("name", "of", "through", "column", "other"):
                if key in part:
                    part[key] = named(part[key])
        table["unique"] = named(table["unique"])
        # A word of the area may be the same as a new name.
        taken: set[str] = set()
        for part in table["columns"]:
            if part["name"] in taken:
                part["name"] += "_given"
            taken.add(part["name"])
