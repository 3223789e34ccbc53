"""What a stage does when its results are written: a report of its run."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from core.tracking import Tracker
from scripts.stage_runs import runs_directory


def end_with_report(run: Path, transcripts: int | None, console: Console, tracker: Tracker) -> None:
    """Write the report of a run and keep it with the tracked one, unless `transcripts` is None or an experiment made
    the run, of which it has many."""
    outputs = run.resolve().parent.parent
    if transcripts is not None and outputs != runs_directory(outputs.parent.parent):
        file = try_report(run, transcripts, console)
        if file:
            tracker.artifact("report", file)


def try_report(run: Path, transcripts: int, console: Console) -> Path | None:
    """Write the report of a run or an experiment and return its file; None with a warning if that fails: a stage that
    has done its work does not fail by it."""
    try:
        from scripts.report import write_report  # noqa: PLC0415 - needs the extra eval; a generation does not

        return write_report(run, transcripts, console)
    except Exception as error:
        text = f"the report could not be written ({error}); try: make report run={run}"
        console.print(text, style="yellow", markup=False, soft_wrap=True)
        return None
