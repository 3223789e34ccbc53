"""Corrects in an outline what needs no second answer: small models repeat such a fault when it is reported to them."""

from __future__ import annotations

from collections.abc import Sequence

from generation.database.spec import Outline, TableOutline
from generation.synthesis.limits import Limits
from generation.synthesis.outline_checks import joined_tables


def corrected(outline: Outline, limits: Limits) -> tuple[Outline, list[str]]:
    """The outline with numbers of rows within the limits and without what cannot be used, and what was left out, each
    with the reason: tables with the name of an earlier one, references to tables that do not exist, in the column of
    the table's own key or closing a circle, and tables that cannot be joined with most others. Where fewer tables than
    the limit would remain, they stay, to be refused or joined."""
    left_out: list[str] = []
    tables = _without_repetitions(outline.tables, limits, left_out)
    names = {table.name for table in tables}
    tables = _without_circles([_corrected_table(table, names, limits, left_out) for table in tables], left_out)
    outline = outline.model_copy(update={"tables": tables})
    largest = max((joined_tables(table.name, outline) for table in tables), key=len, default=frozenset())
    joined = tuple(table for table in tables if table.name in largest)
    if len(joined) < limits.tables[0]:
        return outline, left_out
    left_out += [f"{table.name}: cannot be joined with the other tables" for table in tables if table not in joined]
    return outline.model_copy(update={"tables": joined}), left_out


def _without_repetitions(tables: Sequence[TableOutline], limits: Limits, left_out: list[str]) -> Sequence[TableOutline]:
    by_noun: dict[str, TableOutline] = {}
    for table in tables:
        by_noun.setdefault(table.noun, table)
    if len(by_noun) < limits.tables[0]:
        return tables
    first = list(by_noun.values())
    left_out += [f"{table.name}: another table has this name" for table in tables if table not in first]
    return first


def _without_circles(tables: Sequence[TableOutline], left_out: list[str]) -> tuple[TableOutline, ...]:
    """The tables without references that lead back to them; a reference to the own table stays."""
    reached = {table.name: {table.name} for table in tables}
    straight = []
    for table in tables:
        references = []
        for reference in table.references:
            if reference.table != table.name and table.name in reached[reference.table]:
                left_out.append(f"{table.name}.{reference.column}: {reference.table} refers to {table.name} already")
                continue
            references.append(reference)
            for names in reached.values():
                if table.name in names:
                    names.update(reached[reference.table])
        straight.append(table.model_copy(update={"references": tuple(references)}))
    return tuple(straight)


def _corrected_table(table: TableOutline, names: set[str], limits: Limits, left_out: list[str]) -> TableOutline:
    low, high = limits.rows
    references = []
    for reference in table.references:
        if reference.table not in names:
            left_out.append(f"{table.name}.{reference.column}: {reference.table} is not one of the tables")
        elif reference.column == table.key:
            left_out.append(f"{table.name}.{reference.column}: is the key of the table itself")
        else:
            references.append(reference)
    return table.model_copy(update={"rows": min(max(table.rows, low), high), "references": tuple(references)})
