"""What a person sees of a running generation: a live bar with counts, and the summary at the end."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import TextColumn
from rich.table import Table

from core.console import Bars
from core.dialogue import Dialogue, RoleUsage
from core.journal import read_jsonl
from core.messages import AssistantMessage, Message
from generation.metrics.statistics import Statistics
from generation.outcomes import Outcome
from generation.tools.toolset import Toolset

# The paper's failure signatures: a simulator that is not incremental, and tasks that do not fit the tools.
MIN_MEAN_TURNS = 10
MAX_REJECTION = 0.5
NEVER_BEGUN = {"start", "tool_maker"}
"""Kinds of rejections of which tasks are no cause."""

MAX_DOMAINS = 20
"""Up to so many are told of one by one."""


class GenerationProgress(Bars):
    """A bar for the toolsets and one for each pipeline."""

    def __init__(self, console: Console) -> None:
        super().__init__(console, TextColumn("{task.fields[counts]}"))

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
    """The toolsets of a run and the figures of each of its pipelines, what they warn of, and where everything is."""
    toolsets = list(read_jsonl(directory / "toolsets.jsonl", Toolset))
    if toolsets:
        console.print(_toolsets(toolsets, singly=not figures and len(toolsets) <= MAX_DOMAINS))
    if figures:
        console.print(_overview(figures))
        console.print(_ledger(figures, toolsets))
    for f in figures:
        for part in (_density(f), _details(f)):
            if part.row_count:
                console.print(part)
    for f in figures:
        for warning in _warnings(f):
            console.print(f"[bold yellow]{f.pipeline}: {escape(warning)}[/]")
    for f in figures:
        pairs = directory / f.pipeline / "preferences.jsonl"
        if pairs.is_file():
            console.print(f"{_lines(pairs)} preference pairs in {pairs}", soft_wrap=True)
    console.print(f"written to {directory}", soft_wrap=True)


def _toolsets(toolsets: list[Toolset], singly: bool) -> Table:
    """What was made of each domain, or of all of them together: tools, what was refused, what was counted on the way."""
    table = Table(title="Tools", box=box.SIMPLE_HEAD, pad_edge=False, show_footer=singly and len(toolsets) > 1)
    parts = [(toolset.domain, [toolset]) for toolset in toolsets] if singly else []
    everything = _tools_row(f"{len(toolsets)} domain{'s' * (len(toolsets) > 1)}", toolsets)
    for heading, total in zip(("", "tools", "refused", "in the making"), everything, strict=True):
        table.add_column(heading, footer=total, justify="right" if heading in ("tools", "refused") else "left")
    for row in [_tools_row(name, part) for name, part in parts] or [everything]:
        table.add_row(*row)
    return table


def _tools_row(name: str, toolsets: list[Toolset]) -> tuple[str, str, str, str]:
    counts: Counter[str] = Counter()
    for toolset in toolsets:
        counts.update(toolset.counts)
    tools, refused = sum(len(toolset.tools) for toolset in toolsets), sum(len(toolset.refused) for toolset in toolsets)
    # What was kept are the tools, and most things that can be counted did not happen.
    shown = {kind.replace("_", " "): count for kind, count in counts.items() if count and kind != "kept"}
    return name, f"{tools:,}", f"{refused:,}", _counts(shown)


def _lines(path: Path) -> int:
    with path.open("rb") as file:
        return sum(1 for _ in file)


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


def _ledger(figures: list[Statistics], toolsets: list[Toolset]) -> Table:
    """What each role cost in each pipeline, after what was spent on the toolsets."""
    table = Table(title="Ledger", box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in (
        "pipeline",
        "role",
        "requests",
        "sent again",
        "prompt",
        "cached",
        "generated",
        "s/request",
        "GPU-h",
    ):
        table.add_column(heading, justify="left" if heading in ("pipeline", "role") else "right")
    spent = [toolset.provenance.usage for toolset in toolsets if toolset.provenance.usage]
    for name in sorted({name for usage in spent for name in usage.roles}):
        made = sum((usage.roles[name] for usage in spent if name in usage.roles), RoleUsage())
        tokens = [f"{made.prompt_tokens:,}", "", f"{made.completion_tokens:,}", "", ""]
        table.add_row("toolsets", name, f"{made.requests:,}", "", *tokens)
    for f in figures:
        for name, role in f.roles.items():
            counts = [f"{count:,}" for count in (role.requests, role.retries, role.prompt_tokens)]
            cached = f"{role.cached_tokens / max(1, role.prompt_tokens):.0%}"
            rest = [
                f"{role.completion_tokens:,}",
                f"{role.seconds / max(1, role.requests):.3f}",
                f"{role.gpu_hours:.2f}",
            ]
            table.add_row(f.pipeline, name, *counts, cached, *rest)
        total = [f"{f.requests:,}", "", f"{f.prompt_tokens:,}", "", f"{f.completion_tokens:,}", ""]
        table.add_row(f.pipeline, f"all (costs {f.cost:,.2f})" if f.cost else "all", *total, f"{f.gpu_hours:.2f}")
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
    for asked, are in f.difficulties.items():
        table.add_row(f"tasks asked for as {asked}" if asked != "given" else "tasks given", _counts(are))
    if f.follow_ups:
        table.add_row("follow-ups asked for", _counts(f.follow_ups))
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
    if f.quality and _played(f):
        shares = ", ".join(f"{name.replace('_', ' ')} {share:.1%}" for name, share in f.quality.shares.items())
        passed = "passed" if f.quality.passed else "FAILED"
        table.add_row(f"gate on users: {passed}", f"{shares}, distinct openings {f.quality.distinct_openings:.1%}")
    for name, counts in (("to blame for rejections", f.blame), ("bad answers, injected faults", f.flaws)):
        if counts:
            table.add_row(name, _counts(counts))
    return table


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items()) or "-"


def _played(figures: Statistics) -> bool:
    """Whether users have said anything: not where only tasks were written."""
    return figures.accepted > 0 and figures.turn.max > 0


def _warnings(figures: Statistics) -> list[str]:
    found = []
    if _played(figures) and figures.pipeline.startswith("user") and figures.turn.mean < MIN_MEAN_TURNS:
        found.append(
            f"{figures.turn.mean:.1f} turns on average (< {MIN_MEAN_TURNS}): the user simulator is not incremental"
        )
    if figures.started and figures.rejected / figures.started > MAX_REJECTION:
        causes = ", ".join(f"{reason} {count}" for reason, count in list(figures.reasons.items())[:3])
        begun = not figures.reasons.keys() <= NEVER_BEGUN
        sign = ": tasks and tools do not fit" if begun else " before they began"
        found.append(f"{figures.rejected} of {figures.started} rejected{sign} ({causes})")
    if figures.quality and _played(figures):
        found += [f"the gate on user simulators: {failure}" for failure in figures.quality.failures]
    if figures.lost:
        found.append(
            f"{figures.lost} dialogues failed for reasons of infrastructure; see dead_letters.jsonl; the same command "
            "tries them again"
        )
    if faults := figures.failed - figures.lost:
        found.append(f"{faults} dialogues failed through a fault of a stage; see dead_letters.jsonl")
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
