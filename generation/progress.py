"""What a person sees of a running generation: a live bar with counts, and the summary at the end."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from core.dialogue import Dialogue
from core.messages import AssistantMessage, Message
from core.records import read_jsonl
from generation.statistics import Outcome, Statistics
from generation.toolset import Toolset

# The paper's failure signatures: a simulator that is not incremental, and tasks that do not fit the tools.
MIN_MEAN_TURNS = 10
MAX_REJECTION = 0.5


class GenerationProgress:
    """A rich progress bar a pipeline; use as a context manager."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[counts]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
        )

    def __enter__(self) -> GenerationProgress:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def toolsets(self, n: int) -> Callable[[Toolset], None]:
        task = self._progress.add_task("toolsets", total=n, counts="") if n else None
        tools = 0

        def on_toolset(toolset: Toolset) -> None:
            nonlocal tools
            tools += len(toolset.tools)
            if task is not None:
                self._progress.update(task, advance=1, counts=f"{tools} tools")
            if not toolset.tools:
                self.console.print(f"[yellow]{toolset.domain}: too few tools hold; the domain is left out[/]")

        return on_toolset

    def pipeline(self, name: str, n: int) -> Callable[[Outcome], None]:
        task = self._progress.add_task(name, total=n, counts="")
        counts: Counter[str] = Counter()

        def on_outcome(outcome: Outcome) -> None:
            counts[outcome.status] += 1
            text = f"{counts['accepted']} accepted, {counts['rejected']} rejected, {counts['failed']} failed"
            self._progress.update(task, advance=1, counts=text)

        return on_outcome


def summarise(console: Console, figures: list[Statistics], directory: Path) -> None:
    """The figures of each pipeline, the warnings the paper's failure signatures call for, and where everything is."""
    table = Table(title="Generated dialogues: mean (max)", box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("pipeline", "accepted/rejected/failed", "step", "turn", "task", "s/sample", "tok/s"):
        table.add_column(heading, justify="left" if heading == "pipeline" else "right")
    for f in figures:
        spread = [f"{s.mean:.2f} ({s.max})" for s in (f.step, f.turn, f.task)]
        speed = [
            "-" if f.latency_s is None else f"{f.latency_s:.3f}",
            "-" if f.throughput is None else f"{f.throughput:,.0f}",
        ]
        table.add_row(f.pipeline, f"{f.accepted}/{f.rejected}/{f.failed}", *spread, *speed)
    console.print(table)
    for f in figures:
        for warning in _warnings(f):
            console.print(f"[bold yellow]{f.pipeline}: {warning}[/]")
    console.print(f"written to {directory}", soft_wrap=True)


def _warnings(figures: Statistics) -> list[str]:
    found = []
    if figures.accepted and figures.pipeline.startswith("user") and figures.turn.mean < MIN_MEAN_TURNS:
        found.append(
            f"{figures.turn.mean:.1f} turns on average (< {MIN_MEAN_TURNS}): the user simulator is not incremental"
        )
    if figures.started and figures.rejected / figures.started > MAX_REJECTION:
        causes = ", ".join(f"{reason} {count}" for reason, count in list(figures.reasons.items())[:3])
        found.append(f"{figures.rejected} of {figures.started} rejected: tasks and tools do not fit ({causes})")
    if figures.failed:
        again = f"; the same command tries {figures.lost} of them again" if figures.lost else ""
        found.append(f"{figures.failed} dialogues failed for reasons of infrastructure; see rejected.jsonl{again}")
    return found


def sample_rows(directory: Path, count: int = 10) -> list[dict[str, str]]:
    """The first accepted dialogues of a pipeline as readable rows, for a table in the tracker."""
    dialogues = itertools.islice(read_jsonl(directory / "dialogues.jsonl", Dialogue), count)
    return [
        {
            "dialogue": dialogue.dialogue_id,
            "domain": dialogue.domain,
            "tasks": "\n".join(task.goal for task in dialogue.tasks),
            "transcript": "\n".join(_line(message) for message in dialogue.messages[1:]),
        }
        for dialogue in dialogues
    ]


def _line(message: Message) -> str:
    calls = message.tool_calls or () if isinstance(message, AssistantMessage) else ()
    return " ".join([f"[{message.role}]", message.content, *(f"{c.name}({c.function.arguments})" for c in calls)])
