"""Links between tables of an outline that nothing joins yet; a model chooses among them."""

from __future__ import annotations

from generation.database.spec import Outline, Reference, TableOutline
from generation.synthesis.outline_checks import joined_tables


def possible_links(outline: Outline) -> dict[str, Outline]:
    """The outline with each reference that joins the largest group of tables with another table, by words for the
    reference: "each booking refers to one visitor". None of them closes a circle. Empty if all tables are joined.

    Tables of more rows, which are mostly those of what happens, come first."""
    group = max((joined_tables(table.name, outline) for table in outline.tables), key=len, default=frozenset())
    by_size = sorted(outline.tables, key=lambda table: -table.rows)
    pairs = [(a, b) for a in by_size for b in by_size if (a.name in group) != (b.name in group)]
    return {
        f"each {_words(child)} refers to one {_words(parent)}": _linked(outline, child, parent)
        for child, parent in pairs
    }


def _words(table: TableOutline) -> str:
    return table.noun.replace("_", " ")


def _linked(outline: Outline, child: TableOutline, parent: TableOutline) -> Outline:
    column = f"{parent.noun}_id"
    reference = Reference(column=f"linked_{column}" if column in child.key_columns else column, table=parent.name)
    linked = child.model_copy(update={"references": (*child.references, reference)})
    return outline.model_copy(
        update={"tables": tuple(linked if table.name == child.name else table for table in outline.tables)}
    )
