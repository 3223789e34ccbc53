"""Corrects in an outline what needs no second answer: small models repeat such a fault when it is reported to them."""

from __future__ import annotations

from generation.database.spec import Outline, TableOutline
from generation.synthesis.limits import Limits
from generation.synthesis.outline_checks import joined_tables


def corrected(outline: Outline, limits: Limits) -> tuple[Outline, list[str]]:
    """The outline with numbers of rows within the limits and without what cannot be used, and what was left out, each
    with the reason: references to tables that do not exist or in the column of the table's own key, and tables that
    cannot be joined with most others. If fewer tables than the limit would remain, all stay, to be refused."""
    left_out: list[str] = []
    names = {table.name for table in outline.tables}
    tables = tuple(_corrected_table(table, names, limits, left_out) for table in outline.tables)
    outline = outline.model_copy(update={"tables": tables})
    largest = max((joined_tables(table.name, outline) for table in tables), key=len, default=frozenset())
    joined = tuple(table for table in tables if table.name in largest)
    if len(joined) < limits.tables[0]:
        return outline, left_out
    left_out += [f"{table.name}: cannot be joined with the other tables" for table in tables if table not in joined]
    return outline.model_copy(update={"tables": joined}), left_out


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
