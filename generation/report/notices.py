"""What must not be missed about a run, as the first sentences of its report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from core.journal import RecordError
from core.manifest import Manifest
from core.page.contents import Notice
from generation.metrics.statistics import Statistics
from generation.report.content import share
from generation.report.counts import Counts
from generation.report.records import PipelineRecords
from generation.summary import MAX_REJECTION, MIN_TURNS_PER_TASK
from generation.toolset_runner import failed_domains


def run_notices(run: Path, manifest: Manifest, begun: Sequence[PipelineRecords]) -> Iterator[Notice]:
    """About the run as a whole: interrupted, no dialogues, domains without tools."""
    missing = [name for name in manifest.config.get("pipelines", {}) if name not in {records.name for records in begun}]
    if manifest.status != "finished":
        not_begun = f" Not begun: {', '.join(missing)}." if missing else ""
        yield Notice(
            level="warning",
            text=f"The run has not finished: the report shows the dialogues that have ended.{not_begun} The command that "
            "started the run resumes it.",
        )
    elif not begun:
        yield Notice(level="info", text="The run made tools only, no dialogues.")
    try:
        failed = failed_domains(run / "toolsets.jsonl")
    except RecordError as error:
        yield Notice(level="warning", text=f"The run's tools cannot be read: {error}")
    else:
        if failed:
            yield Notice(
                level="error", text=f"An internal error left these domains without tools: {', '.join(failed)}."
            )


def pipeline_notices(
    records: PipelineRecords, statistics: Statistics | None, counts: Counts, asked: int | None
) -> Iterator[Notice]:
    """About one pipeline: interrupted, failed and unreadable dialogues, gates that it did not pass, saturation."""
    started = counts.status.total()
    if not records.finished:
        of = f" of {asked:,}" if asked else ""
        yield _notice(records, "warning", f"interrupted: {started:,}{of} dialogues have ended.")
    for kind, count in counts.failures.most_common():
        what = "cannot be read" if kind == "unreadable" else "failed"
        example = counts.first_examples[kind]
        yield _notice(records, "error", f"{count:,} of {started:,} dialogues {what} ({kind}), for example {example}")
    if started and counts.status["rejected"] / started > MAX_REJECTION:
        causes = ", ".join(f"{kind} {count:,}" for kind, count in counts.first.most_common(3))
        rejected = share(counts.status["rejected"], started)
        yield _notice(records, "warning", f"{rejected} of the dialogues were rejected ({causes}).")
    if statistics is None:
        yield _notice(
            records,
            "warning",
            "its statistics or settings are those of another version and cannot be read; the report lacks what follows "
            "from them.",
        )
        return
    turns, tasks = statistics.turn.mean, statistics.task.mean
    if records.users and 0 < turns < MIN_TURNS_PER_TASK * tasks:
        text = f"{turns:.1f} turns on average for {tasks:.1f} tasks: the user simulator is not incremental."
        yield _notice(records, "warning", text)
    if statistics.quality and statistics.turn.max > 0:
        for failure in statistics.quality.failures:
            yield _notice(records, "warning", f"the user simulator did not pass its quality gate: {failure}")
    if statistics.diversity and statistics.diversity.saturated:
        half, whole = statistics.diversity.curve[1], statistics.diversity.curve[0]
        yield _notice(
            records,
            "warning",
            f"goals repeat themselves: {whole.goal_skeletons:,} distinct ones, without their values, in "
            f"{whole.dialogues:,} dialogues, {half.goal_skeletons:,} in {half.dialogues:,} of them. Use more domains, "
            "tools or settings that vary the tasks.",
        )


def _notice(records: PipelineRecords, level: str, text: str) -> Notice:
    return Notice.model_validate({"level": level, "text": f"{records.name}: {text}"})
