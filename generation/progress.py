"""The live bars of a generation, with counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from rich.console import Console
from rich.markup import escape
from rich.progress import TextColumn

from core.console import Bars
from generation.llm.meter import Meter
from generation.outcomes import Outcome
from generation.tools.progress import ToolCounts, why_lost
from generation.tools.toolset import Toolset


class GenerationProgress(Bars):
    """One bar for the toolsets and one per pipeline."""

    def __init__(self, console: Console) -> None:
        super().__init__(console, TextColumn("{task.fields[counts]}"))

    def toolsets(self, n: int) -> tuple[Callable[[str, Meter], None], Callable[[Toolset], None]]:
        counts = ToolCounts()
        task = self._progress.add_task("toolsets", total=n, counts=counts) if n else None

        def on_toolset(toolset: Toolset) -> None:
            counts.finish(toolset)
            if task is not None:
                self._progress.update(task, advance=1)
            if not toolset.tools:
                self.console.print(f"[yellow]{escape(f'{toolset.domain} is left out: {why_lost(toolset)}')}[/]")

        return counts.begin, on_toolset

    def pipeline(self, name: str, n: int) -> Callable[[Outcome], None]:
        task = self._progress.add_task(name, total=n, counts="")
        counts: Counter[str] = Counter()

        def on_outcome(outcome: Outcome) -> None:
            counts[outcome.status] += 1
            text = f"{counts['accepted']} accepted, {counts['rejected']} rejected, {counts['failed']} failed"
            self._progress.update(task, advance=1, counts=text)

        return on_outcome
