"""Tables with the paper's rows and ours, and the formats of their cells."""

from __future__ import annotations

from collections.abc import Sequence

from core.messages import Frozen
from evaluation.metrics.pass_at_k import Estimate


class PaperTable(Frozen):
    """A table as rows of cells; `notes` are the caveats of our rows."""

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()

    def markdown(self) -> str:
        lines = [
            f"### {self.title}",
            "",
            _line(self.columns),
            _line(["---"] * len(self.columns)),
            *map(_line, self.rows),
        ]
        return "\n".join([*lines, *(["", *(f"- {note}" for note in self.notes)] if self.notes else [])])


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def percent(share: float | None) -> str:
    return cell(None if share is None else 100 * share)


def cell(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


def interval(estimate: Estimate | None, form: str = ".1f") -> str:
    """An estimate in % with its interval, "–" for None."""
    if estimate is None:
        return "–"
    value, low, high = (format(100 * share, form) for share in (estimate.value, estimate.low, estimate.high))
    return f"{value} [{low}, {high}]"
