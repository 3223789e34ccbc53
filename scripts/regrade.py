"""make regrade [run=outputs/evaluate/<run id>] [only=[tau2]]: grade recorded trials again, without running a model."""

from __future__ import annotations

import sys
from pathlib import Path

from pydantic import Field
from rich.console import Console

from core.console import stage_console
from core.manifest import read_manifest
from core.runs import latest
from core.settings import Settings, UserError, closest, typed
from evaluation.regrade import REGRADED, RegradeReport, regrade
from evaluation.targets import EvaluateSettings
from scripts.launch import clear_errors, instantiate, read_settings

SHOWN = 20


class RegradeSettings(Settings):
    """Settings of make regrade."""

    run: Path | None = Field(default=None, description="an evaluation run; null: the newest finished one")
    only: tuple[str, ...] = Field(default=(), description="benchmarks to grade again; empty: all of the run")


def main() -> None:
    with clear_errors():
        given = read_settings(sys.argv[1:], RegradeSettings)
        run = given.run or latest(Path("outputs"), "evaluate", "make eval")
        manifest = read_manifest(run)
        settings = typed(manifest.config, EvaluateSettings)
        for name in given.only:
            if name not in settings.benchmarks:
                raise UserError(f"only={name} was given; {closest(name, list(settings.benchmarks))}")
        names = given.only or tuple(settings.benchmarks)
        benchmarks = {name: instantiate(settings.benchmarks[name]) for name in names}
        report = regrade(run, manifest, settings, benchmarks)
        print_report(stage_console(), report)
        stage_console().print(f"records and scores: {run / REGRADED}", soft_wrap=True)


def print_report(console: Console, report: RegradeReport) -> None:
    for name in sorted({*report.confirmed, *report.not_graded, *(change.benchmark for change in report.changed)}):
        changed = [change for change in report.changed if change.benchmark == name]
        reasons = [f"{count} not graded again: {reason}" for reason, count in report.not_graded.get(name, {}).items()]
        line = f"{name}: {report.confirmed.get(name, 0)} verdicts confirmed, {len(changed)} changed"
        console.print("; ".join([line, *reasons]), markup=False, soft_wrap=True)
        for change in changed[:SHOWN]:
            verdict = "failed before, passes now" if change.after else "passed before, fails now"
            place = f"{change.model} {change.category}/{change.task_id} trial {change.trial}"
            console.print(f"  {place}: {verdict} {change.detail}".rstrip(), markup=False, soft_wrap=True)
        if len(changed) > SHOWN:
            console.print(f"  … and {len(changed) - SHOWN} more")


if __name__ == "__main__":
    main()
