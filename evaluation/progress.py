"""What a person sees of a running evaluation: a bar a benchmark."""

from __future__ import annotations

from rich.console import Console
from rich.progress import TaskID

from core.console import Bars


class BenchmarkProgress(Bars):
    """A bar for each benchmark of the model `label` that reports; call it with (what, done, of)."""

    def __init__(self, console: Console, label: str) -> None:
        super().__init__(console)
        self._label = label
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, what: str, done: int, of: int) -> None:
        if what not in self._tasks:
            self._tasks[what] = self._progress.add_task(f"{self._label} · {what}", total=of)
        self._progress.update(self._tasks[what], completed=done, total=of)
