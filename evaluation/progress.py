"""The progress bars of a running evaluation."""

from __future__ import annotations

from rich.console import Console
from rich.progress import TaskID

from core.console import Bars


class BenchmarkProgress(Bars):
    """One bar per benchmark of the model `label`. An instance is called as `Progress`: with (name, done, total)."""

    def __init__(self, console: Console, label: str) -> None:
        super().__init__(console)
        self._label = label
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, name: str, done: int, total: int) -> None:
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(f"{self._label} · {name}", total=total)
        self._progress.update(self._tasks[name], completed=done, total=total)
