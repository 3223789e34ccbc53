"""What a person sees of a running generation: a live bar with counts, and the summary at the end."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from core.dialogue import Dialogue
from core.messages import AssistantMessage, Message
from core.records import read_jsonl
from generation.figures.statistics import Outcome, Statistics
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
    """The figures of each pipeline, what they warn of, and where everything is."""
    if figures:
        console.print(_overview(figures))
    for f in figures:
        for part in (_density(f), _details(f)):
            if part.row_count:
                console.print(part)
    for f in figures:
        for warning in _warnings(f):
            console.print(f"[bold yellow]{f.pipeline}: {escape(warning)}[/]")
    console.print(f"written to {directory}", soft_wrap=True)


def _overview(figures: list[Statistics]) -> Table:
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
    return table


def _density(f: Statistics) -> Table:
    """Tasks asked for against tasks there are."""
    table = Table(title=f"{f.pipeline}: tasks in a dialogue", box=box.SIMPLE_HEAD, pad_edge=False)
    there = sorted({count for counts in f.tasks.values() for count in counts})
    table.add_column("asked for", justify="right")
    for count in there:
        table.add_column(f"{count} there", justify="right")
    for asked, counts in f.tasks.items():
        table.add_row(str(asked), *(str(counts.get(count, "-")) for count in there))
    return table


def _details(f: Statistics) -> Table:
    """One line a kind of figure: difficulty, dependency, agreement, gate, blame, flaws."""
    table = Table(title=f"{f.pipeline}: what is in them", box=box.SIMPLE_HEAD, pad_edge=False, show_header=False)
    table.add_row("difficulty of the tasks", _counts(f.difficulties))
    if f.dependency and f.dependency.all.pairs:
        flows = {name: getattr(f.dependency, name) for name in type(f.dependency).model_fields}
        table.add_row(
            "dependency on earlier tasks",
            ", ".join(
                f"{name} {flow.mean:.2f} ({flow.pairs})" for name, flow in flows.items() if flow.mean is not None
            ),
        )
    if f.agreement:
        a = f.agreement
        of = a.both_valid + a.judge_only + a.execution_only + a.both_invalid
        values = {"precision": a.precision, "recall": a.recall, "kappa": a.kappa}
        said = ", ".join(f"{name} {'-' if value is None else f'{value:.3f}'}" for name, value in values.items())
        table.add_row("the judge against execution", f"{said} (of {of})")
    if f.quality:
        shares = ", ".join(f"{name.replace('_', ' ')} {share:.1%}" for name, share in f.quality.shares.items())
        passed = "passed" if f.quality.passed else "FAILED"
        table.add_row(f"gate on users: {passed}", f"{shares}, distinct openings {f.quality.distinct_openings:.1%}")
    for name, counts in (("to blame for rejections", f.blame), ("bad answers of models", f.flaws)):
        if counts:
            table.add_row(name, _counts(counts))
    return table


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items()) or "-"


def _warnings(figures: Statistics) -> list[str]:
    found = []
    if figures.accepted and figures.pipeline.startswith("user") and figures.turn.mean < MIN_MEAN_TURNS:
        found.append(
            f"{figures.turn.mean:.1f} turns on average (< {MIN_MEAN_TURNS}): the user simulator is not incremental"
        )
    if figures.started and figures.rejected / figures.started > MAX_REJECTION:
        causes = ", ".join(f"{reason} {count}" for reason, count in list(figures.reasons.items())[:3])
        found.append(f"{figures.rejected} of {figures.started} rejected: tasks and tools do not fit ({causes})")
    if figures.quality and figures.accepted:
        found += [f"the gate on user simulators: {failure}" for failure in figures.quality.failures]
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
