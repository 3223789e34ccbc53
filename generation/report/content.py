"""How numbers and tables of the report are written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from core.page.contents import Filter, Row, Table
from generation.metrics.statistics import MeanMax


def number(value: float | None) -> str:
    """1,234; a dash for a number that is not known."""
    return "–" if value is None else f"{value:,.0f}"


def share(part: int, whole: int) -> str:
    """part/whole in percent; a dash of nothing."""
    return f"{part / whole:.1%}" if whole else "–"


def decimal(value: float | None, places: int = 3) -> str:
    return "–" if value is None else f"{value:.{places}f}"


def spread(metric: MeanMax) -> str:
    """As Table 1 prints it."""
    return f"{metric.mean:.2f} ({metric.max})"


def table(
    title: str, columns: Sequence[str], rows: Iterable[tuple[Sequence[str], Filter]], labels: int = 1, note: str = ""
) -> list[Table]:
    """A table whose columns after the first `labels` are numbers; none if it has no rows."""
    filled = tuple(Row(cells=tuple(cells), filter=chosen) for cells, chosen in rows)
    numeric = tuple(range(labels, len(columns)))
    return [Table(title=title, columns=tuple(columns), rows=filled, numeric=numeric, note=note)] if filled else []
