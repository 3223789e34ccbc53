"""The console that a stage prints to, and its bars."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

LOG_WIDTH = 132


def stage_console() -> Console:
    """As wide as the terminal; a pipe or a log file, which has no width, gets one that fits the tables."""
    console = Console()
    return console if console.is_terminal else Console(width=LOG_WIDTH)


class Bars:
    """A bar for each part of long work, with `columns` of its own beside the count; use as a context manager."""

    def __init__(self, console: Console, *columns: ProgressColumn) -> None:
        self.console = console
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            *columns,
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
        )

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()
