"""How alike two schemas are, by the names of their tables and columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from generation.database.spec import DatabaseSpec
from generation.specs.spelling import singular, snake

_FEWEST_TABLES = 3
"""Schemas with fewer tables count as if they had so many: one shared table does not make a copy."""


@dataclass(frozen=True)
class SchemaNames:
    """A schema as names: what a row of each table is -> its columns, without keys, references and the table's own name
    in them. `of` says whose schema it is."""

    of: str
    tables: Mapping[str, frozenset[str]]


def schema_names(of: str, tables: Iterable[tuple[str, Iterable[str]]]) -> SchemaNames:
    """The names of (table, columns) pairs in any spelling: members (member_id, member_name, email) is member (name,
    email)."""
    nouns: dict[str, frozenset[str]] = {}
    for table, columns in tables:
        noun = singular(snake(table))
        nouns[noun] = frozenset(
            snake(column).removeprefix(f"{noun}_") for column in columns if not f"_{snake(column)}".endswith("_id")
        )
    return SchemaNames(of, nouns)


def names_of(spec: DatabaseSpec, of: str) -> SchemaNames:
    return schema_names(of, ((table.name, [column.name for column in table.columns]) for table in spec.tables))


def likeness(schema: SchemaNames, other: SchemaNames) -> float:
    """From 0 to 1: tables are paired with their most alike ones, and the likenesses of the pairs are added up and
    divided by the number of tables of the smaller schema.

    A table is as like another as their columns are (Jaccard index), or as the mean of that and of having the same name.
    """
    pairs = sorted(
        (
            (-_table_likeness(a, columns, b, others), a, b)
            for a, columns in schema.tables.items()
            for b, others in other.tables.items()
        )
    )
    used: set[str] = set()
    used_others: set[str] = set()
    total = 0.0
    for negative, a, b in pairs:
        if a not in used and b not in used_others:
            used.add(a)
            used_others.add(b)
            total -= negative
    return total / max(_FEWEST_TABLES, min(len(schema.tables), len(other.tables)))


def most_alike(names: SchemaNames, known: Iterable[SchemaNames]) -> tuple[float, SchemaNames | None]:
    """The most alike of the known schemas, and how alike it is; (0, None) without any."""
    closest: tuple[float, SchemaNames | None] = (0.0, None)
    for other in known:
        if (alike := likeness(names, other)) > closest[0]:
            closest = alike, other
    return closest


def _table_likeness(a: str, columns: frozenset[str], b: str, others: frozenset[str]) -> float:
    both = columns | others
    jaccard = len(columns & others) / len(both) if both else 0.0
    return max(jaccard, ((a == b) + jaccard) / 2)
