"""What a generation prints at its end: its toolsets, metrics, costs and warnings, and where the files are."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from core.dialogue import Dialogue
from core.journal import read_jsonl
from core.messages import AssistantMessage, Message
from core.usage import RoleUsage
from generation.llm.meter import MODELS_JOINED_BY, bad_answers
from generation.metrics.diversity import DiversityPoint
from generation.metrics.statistics import RoleMetrics, Statistics
from generation.tools.progress import lost_domains, tools_table, unserved_parts
from generation.tools.toolset import Toolset

# The paper's signs of failure: a user simulator that is not incremental, and tasks that do not fit the tools.
MIN_TURNS_PER_TASK = 5
LEAST_ASKED = 5
"""Requests of a kind that were asked for, from which their number is judged."""

MAX_REJECTION = 0.5
MAX_DOMAINS = 20
"""Up to this many domains, and parts of databases that were left out, get a line each."""


def summarise(console: Console, statistics: list[Statistics], directory: Path) -> None:
    """Print the toolsets of a run, the metrics and warnings of each pipeline, and where the files are."""
    toolsets = list(read_jsonl(directory / "toolsets.jsonl", Toolset))
    if toolsets:
        console.print(tools_table(toolsets, per_domain=not statistics and len(toolsets) <= MAX_DOMAINS))
    if not all(toolset.tools for toolset in toolsets):
        console.print(lost_domains(toolsets, MAX_DOMAINS))
    if any(toolset.left_out for toolset in toolsets):
        console.print(unserved_parts(toolsets, MAX_DOMAINS))
    if statistics:
        console.print(_overview(statistics))
    if (ledger := _ledger(statistics, toolsets)).row_count:
        console.print(ledger)
    for pipeline in statistics:
        tables = (_task_counts(pipeline), *([_kinds(pipeline)] if len(pipeline.kinds) > 1 else []), _details(pipeline))
        for table in tables:
            if table.row_count:
                console.print(table)
    for pipeline in statistics:
        for warning in _warnings(pipeline):
            console.print(f"[bold yellow]{pipeline.pipeline}: {escape(warning)}[/]")
    for pipeline in statistics:
        pairs = directory / pipeline.pipeline / "preferences.jsonl"
        if pairs.is_file():
            console.print(f"{_lines(pairs)} preference pairs in {pairs}", soft_wrap=True)
    console.print(f"written to {directory}", soft_wrap=True)


def _lines(path: Path) -> int:
    with path.open("rb") as file:
        return sum(1 for _ in file)


def _overview(statistics: list[Statistics]) -> Table:
    table = Table(title="Generated dialogues: mean (max)", box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("pipeline", "accepted/rejected/failed", "step", "turn", "task", "s/sample", "tok/s"):
        table.add_column(heading, justify="left" if heading == "pipeline" else "right")
    for f in statistics:
        spread = [f"{metric.mean:.2f} ({metric.max})" for metric in (f.step, f.turn, f.task)]
        speed = [
            "-" if f.latency_s is None else f"{f.latency_s:.3f}",
            "-" if f.throughput is None else f"{f.throughput:,.0f}",
        ]
        table.add_row(f.pipeline, f"{f.accepted}/{f.rejected}/{f.failed}", *spread, *speed)
    return table


def _ledger(statistics: list[Statistics], toolsets: list[Toolset]) -> Table:
    """Cost per role: of the toolsets, then of each pipeline."""
    table = Table(title="Ledger", box=box.SIMPLE_HEAD, pad_edge=False)
    left = ("pipeline", "role", "model")
    right = ("retries", "prompt", "cached", "generated", "s/request", "GPU-h")
    for heading in (*left, "requests", "of these", *right):
        table.add_column(heading, justify="left" if heading in (*left, "of these") else "right")
    usages = [toolset.provenance.usage for toolset in toolsets if toolset.provenance.usage]
    flaws = sum((Counter[str](usage.flaws) for usage in usages), Counter[str]())
    for name in sorted({name for usage in usages for name in usage.roles}):
        usage = sum((usage.roles[name] for usage in usages if name in usage.roles), RoleUsage())
        counts = [f"{usage.requests:,}", bad_answers(flaws, name), ""]
        models = {toolset.provenance.llms.get(name, toolset.provenance.llm or "") for toolset in toolsets} - {""}
        table.add_row("toolsets", name, MODELS_JOINED_BY.join(sorted(models)), *counts, *_tokens(usage), "", "")
    for f in statistics:
        for name, role in f.roles.items():
            bad = bad_answers(f.flaws, name)
            counts = [f"{role.requests:,}", bad, f"{role.retries:,}"]
            rest = [f"{role.seconds / max(1, role.requests):.3f}", f"{role.gpu_hours:.2f}"]
            table.add_row(f.pipeline, name, role.llm or "", *counts, *_tokens(role), *rest)
        total = [
            f"{f.requests:,}",
            "",
            "",
            _count(f.prompt_tokens),
            "",
            _count(f.completion_tokens),
            "",
        ]
        table.add_row(f.pipeline, f"all (costs {f.cost:,.2f})" if f.cost else "all", "", *total, f"{f.gpu_hours:.2f}")
    return table


def _tokens(usage: RoleUsage | RoleMetrics) -> tuple[str, str, str]:
    """Tokens of prompts, the share of them that was cached, generated tokens."""
    prompt = usage.prompt_tokens
    cached = "?" if prompt is None else f"{usage.cached_tokens / max(1, prompt):.0%}"
    return _count(prompt), cached, _count(usage.completion_tokens)


def _count(tokens: int | None) -> str:
    return "?" if tokens is None else f"{tokens:,}"


def _task_counts(f: Statistics) -> Table:
    """Dialogues by requested (rows) and actual (columns) number of tasks."""
    table = Table(title=f"{f.pipeline}: tasks per dialogue", box=box.SIMPLE_HEAD, pad_edge=False)
    actual_counts = sorted({actual for dialogues in f.tasks.values() for actual in dialogues})
    table.add_column("requested", justify="right")
    for actual in actual_counts:
        table.add_column(f"actual {actual}", justify="right")
    for requested, dialogues in f.tasks.items():
        table.add_row(str(requested), *(str(dialogues.get(actual, "-")) for actual in actual_counts))
    return table


def _kinds(f: Statistics) -> Table:
    """Requests by kind, and what their decisions rest on."""
    table = Table(title=f"{f.pipeline}: requests by kind", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("kind", "asked for", "written", "accepted", "judge agrees"):
        table.add_column(column, justify="left" if column == "kind" else "right")
    for kind, counts in f.kinds.items():
        agreed = f"{counts.agreed / counts.judged:.1%}" if counts.judged else "-"
        table.add_row(kind, str(counts.asked), str(counts.written), str(counts.accepted), agreed)
    for wanted, evidence in f.evidence.items():
        name = f"decisions from at least {wanted} rows" if wanted else "other decisions from look-ups"
        table.add_row(name, "", str(evidence.tasks), f"{evidence.rows:g} rows", f"{evidence.lookups:g} look-ups")
    return table


def _details(f: Statistics) -> Table:
    """One line per metric: difficulty, follow-ups, dependency, parallel calls, agreement, quality, blame, flaws."""
    table = Table(title=f"{f.pipeline}: metrics", box=box.SIMPLE_HEAD, pad_edge=False, show_header=False)
    for requested, measured in f.difficulties.items():
        table.add_row(
            "tasks imported" if requested == "given" else f"tasks requested as {requested}", _counts(measured)
        )
    if f.follow_ups:
        table.add_row("follow-ups", "; ".join(f"{name}: {count}" for name, count in f.follow_ups.items()))
    if f.dependency and f.dependency.all.pairs:
        flows = {name: getattr(f.dependency, name) for name in type(f.dependency).model_fields}
        table.add_row(
            "dependency on earlier tasks",
            ", ".join(
                f"{name} {flow.mean:.2f} ({flow.pairs})" for name, flow in flows.items() if flow.mean is not None
            ),
        )
    if f.parallel:
        p = f.parallel
        text = f"{p.several} of {p.messages} messages with calls ({p.share:.1%})"
        groups = f"; of {p.eligible} groups of independent look-ups, {p.merged} merged" if p.eligible else ""
        table.add_row("parallel calls", text + groups)
    if f.agreement:
        a = f.agreement
        tasks = a.both_valid + a.judge_only + a.execution_only + a.both_invalid
        values = {"precision": a.precision, "recall": a.recall, "kappa": a.kappa}
        text = ", ".join(f"{name} {'-' if value is None else f'{value:.3f}'}" for name, value in values.items())
        table.add_row("judge compared with execution", f"{text} (of {tasks})")
    if f.quality and _has_user_messages(f):
        shares = ", ".join(f"{name.replace('_', ' ')} {share:.1%}" for name, share in f.quality.shares.items())
        passed = "passed" if f.quality.passed else "FAILED"
        table.add_row(f"user quality gate: {passed}", f"{shares}, distinct openings {f.quality.distinct_openings:.1%}")
    if f.pass_rates:
        table.add_row("rollouts accepted/played", _counts(f.pass_rates))
    if f.diversity and (whole := f.diversity.curve[:1]):
        table.add_row("distinct among accepted dialogues", _distinct(whole[0]))
    if f.rejected_untold:
        table.add_row("rejected for telling alone", f"{f.rejected_untold} of {f.rejected}")
    for name, counts in (("blame for rejections", f.blame), ("unusable answers and injected faults", f.flaws)):
        if counts:
            table.add_row(name, _counts(counts))
    return table


def _distinct(point: DiversityPoint) -> str:
    return (
        f"goals without values {point.goal_skeletons:,}, subgoals {point.subgoal_skeletons:,}, plan shapes "
        f"{point.plan_shapes:,}, system prompts {point.system_prompts:,}; tools in gold calls {point.tools_used:,} of "
        f"{point.tools_declared:,}"
    )


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items()) or "-"


def _has_user_messages(f: Statistics) -> bool:
    """Whether the dialogues were rolled out; False for a run that only wrote tasks."""
    return f.accepted > 0 and f.turn.max > 0


def _warnings(f: Statistics) -> list[str]:
    warnings = []
    if (
        _has_user_messages(f)
        and f.pipeline.startswith("user")
        and f.turn.mean < (least := MIN_TURNS_PER_TASK * f.task.mean)
    ):
        warnings.append(
            f"{f.turn.mean:.1f} turns on average (< {least:.1f} for {f.task.mean:.1f} tasks): the user simulator is not "
            "incremental"
        )
    if f.started and f.rejected / f.started > MAX_REJECTION:
        causes = ", ".join(f"{reason} {count}" for reason, count in list(f.reasons.items())[:3])
        blamed = f", blame: {_counts(f.blame)}" if f.blame else " before they started"
        warnings.append(f"{f.rejected} of {f.started} rejected{blamed} ({causes})")
    if f.quality and _has_user_messages(f):
        warnings += [f"user quality gate: {failure}" for failure in f.quality.failures]
    if f.diversity and f.diversity.saturated and f.diversity.growth is not None:
        half, whole = f.diversity.curve[1], f.diversity.curve[0]
        warnings.append(
            f"goals repeat themselves: {whole.goal_skeletons} distinct ones without their values in {whole.dialogues} "
            f"dialogues, {half.goal_skeletons} in {half.dialogues} of them; doubling the dialogues adds "
            f"{f.diversity.growth:.1%}: use more domains, tools or settings that vary the tasks"
        )
    if scarce := [
        f"{kind} {counts.written} of {counts.asked}"
        for kind, counts in f.kinds.items()
        if kind != "plain" and counts.asked >= LEAST_ASKED and 2 * counts.written < counts.asked
    ]:
        warnings.append(
            f"few requests of some kinds could be written ({', '.join(scarce)}): dialogues with more tools allow more, "
            "variety.tools.count=null offers all of them; forbidden ones need rules about the tools of their dialogue"
        )
    if f.unanswered:
        warnings.append(
            f"{f.unanswered} dialogues failed because no model responded; see dead_letters.jsonl; the same command "
            "retries them"
        )
    if faults := f.failed - f.unanswered:
        warnings.append(f"{faults} dialogues failed with an internal error; see dead_letters.jsonl")
    return warnings


def sample_rows(directory: Path, count: int = 10) -> list[dict[str, str]]:
    """The first `count` accepted dialogues of a pipeline as readable rows for a table in the tracker."""
    dialogues = itertools.islice(read_jsonl(directory / "dialogues.jsonl", Dialogue), count)
    return [
        {
            "dialogue": dialogue.dialogue_id,
            "domain": dialogue.domain,
            "tasks": "\n".join(task.goal for task in dialogue.tasks),
            "transcript": "\n".join(_line(message) for message in dialogue.messages if message.role != "system"),
        }
        for dialogue in dialogues
    ]


def _line(message: Message) -> str:
    calls = message.tool_calls or () if isinstance(message, AssistantMessage) else ()
    return " ".join([f"[{message.role}]", message.content, *(f"{c.name}({c.function.arguments})" for c in calls)])
