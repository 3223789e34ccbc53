"""The console that a stage prints to, and its progress bars."""

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
    """Return a console as wide as the terminal, or LOG_WIDTH columns for a pipe or log file, so that tables fit."""
    console = Console()
    return console if console.is_terminal else Console(width=LOG_WIDTH)


class Bars:
    """Progress bars for the parts of long work, with extra `columns` after the count; use as a context manager."""

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
