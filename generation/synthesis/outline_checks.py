"""Checks an outline: names, sizes, and references that join all tables without a circle."""

from __future__ import annotations

import re
from collections.abc import Iterator

from generation.database.spec import Outline, TableOutline
from generation.specs.titles import readable
from generation.synthesis.limits import Limits
from generation.synthesis.problems import Problem, name_problems

MAX_MISSING = 0.9
_MAX_TITLE = 5  # words
_LONGEST_TITLE = 60  # characters: files are named after it
_MAX_DESCRIPTION = 400  # characters


def outline_problems(outline: Outline, limits: Limits) -> list[Problem]:
    """Everything wrong with an outline; the tables may stand in any order."""
    problems = separate_problems(outline, limits)
    if not any(problem.kind == "references" for problem in problems):
        problems += _join_problems(outline)
    return problems


def separate_problems(outline: Outline, limits: Limits) -> list[Problem]:
    """What is wrong with an outline apart from tables that nothing joins."""
    problems = [*_domain_problems(outline), *_size_problems(outline, limits)]
    nouns: set[str] = set()
    for table in outline.tables:
        problems += name_problems(table.name, "table")
        problems += name_problems(table.key, f"key of {table.name}")
        if table.noun in nouns:
            problems.append(Problem("names", f"two tables are named {table.name!r}; every table needs its own name"))
        nouns.add(table.noun)
        problems += _reference_problems(table, outline)
    return problems


def parents_first(outline: Outline) -> Outline | None:
    """The outline with every table after those that it refers to; None if references form a circle."""
    waiting, ordered = list(outline.tables), list[TableOutline]()
    while waiting:
        known = {table.name for table in ordered}
        ready = [t for t in waiting if all(ref.table in known or ref.table == t.name for ref in t.references)]
        if not ready:
            return None
        ordered += ready
        waiting = [table for table in waiting if table not in ready]
    return outline.model_copy(update={"tables": tuple(ordered)})


def joined_tables(table: str, outline: Outline) -> frozenset[str]:
    """The names of the tables that references join with a table, directly or through others, and its own."""
    reached = {table}
    links = [{table.name, reference.table} for table in outline.tables for reference in table.references]
    for _ in outline.tables:
        reached |= {name for link in links if link & reached for name in link}
    return frozenset(reached)


def _domain_problems(outline: Outline) -> Iterator[Problem]:
    title, description = outline.title, outline.description
    if not readable(title) or len(title.split()) > _MAX_TITLE or not re.fullmatch(r"[a-z][a-z -]*", title):
        yield Problem("names", f'"title" must be one to {_MAX_TITLE} plain words in lower case, not {title[:80]!r}')
    if len(title) > _LONGEST_TITLE:
        yield Problem("names", f'"title" has {len(title)} characters; expected at most {_LONGEST_TITLE}')
    if len(description.split()) < 4 or len(description) > _MAX_DESCRIPTION or "_" in description:
        yield Problem(
            "names", f'"description" must be one or two sentences without names in code, not {description[:80]!r}'
        )


def _size_problems(outline: Outline, limits: Limits) -> Iterator[Problem]:
    fewest, most = limits.tables
    if not fewest <= len(outline.tables) <= most:
        yield Problem("size", f"there are {len(outline.tables)} tables; expected {fewest} to {most}")
    low, high = limits.rows
    for table in outline.tables:
        if not low <= table.rows <= high:
            yield Problem("size", f"table {table.name} has {table.rows} rows; expected {low} to {high}")


def _reference_problems(table: TableOutline, outline: Outline) -> Iterator[Problem]:
    names = {other.name for other in outline.tables}
    columns = [table.key]
    for reference in table.references:
        yield from name_problems(reference.column, f"reference of {table.name}")
        if reference.table not in names:
            yield Problem("references", f"{table.name} refers to {reference.table!r}, which is not one of the tables")
        if reference.column in columns:
            yield Problem("names", f"{table.name} has two columns named {reference.column!r}")
        columns.append(reference.column)
        if not 0 <= reference.missing <= MAX_MISSING:
            yield Problem("references", f"{table.name}.{reference.column}: missing must be 0 to {MAX_MISSING}")


def _join_problems(outline: Outline) -> Iterator[Problem]:
    if parents_first(outline) is None:
        yield Problem("references", "tables refer to each other in a circle; one of these references must go")
        return
    reached = joined_tables(outline.tables[0].name, outline) if outline.tables else frozenset()
    if alone := [table.name for table in outline.tables if table.name not in reached]:
        yield Problem(
            "references",
            f"{', '.join(alone)} cannot be joined with {outline.tables[0].name}: let tables refer to each other, such as "
            f"{outline.tables[0].name} by {outline.tables[0].key}",
        )
