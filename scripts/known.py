"""Runs benchmarks against servers with known answers and checks their scores.

    make eval-known [only=[bfcl]] [concurrency=16] [tasks=12] [databases=[a.sqlite]]

A new benchmark needs an answer policy in evaluation/known_answers/__main__.py, or a model in this process, and a check
here.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import hydra
from omegaconf import OmegaConf
from rich.table import Table

from core.console import stage_console
from core.files import write_json
from core.settings import UserError, closest
from evaluation.heldout.benchmark import Heldout
from evaluation.known_answers import bfcl_check, heldout_check, tau2_check
from evaluation.known_answers.check import KnownSettings, Row
from evaluation.progress import BenchmarkProgress
from evaluation.trials import Progress
from scripts.launch import CONF, clear_errors, instantiate, read_settings


def heldout_benchmarks(settings: KnownSettings) -> dict[str, Heldout]:
    """The held-out benchmark as shipped, with tasks of every difficulty and kind: on the bundled databases, and on each
    of `settings.databases`."""
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        config = hydra.compose("evaluate", ["benchmark=[heldout]", "subset=full"])
    config.outputs = str(settings.outputs)
    values: Any = OmegaConf.to_container(config.benchmarks.heldout, resolve=True)
    tasks = values["tasks"] | {"difficulties": {"easy": 1.0, "medium": 1.0, "hard": 1.0}}
    given = {
        path.stem: {"_target_": "generation.seeds.sqlite.SqliteSeeds", "paths": [str(path)]}
        for path in settings.databases
    }
    sources = {"bundled": values["databases"]} | given
    changes = {"dialogues": settings.tasks, "categories": ["unseen_databases"], "tasks": tasks}
    changes["axes"] = {"kind": values["axes"]["kind"]}
    return {name: instantiate(values | changes | {"databases": source}) for name, source in sources.items()}


def check_heldout(settings: KnownSettings, progress: Progress | None) -> list[Row]:
    return heldout_check.check(heldout_benchmarks(settings), settings, progress)


CHECKS: dict[str, Callable[[KnownSettings, Progress | None], list[Row]]] = {
    "bfcl": bfcl_check.check,
    "tau2": tau2_check.check,
    "heldout": check_heldout,
}


def main() -> None:
    """Exits with code 1 if a score differs from the known one."""
    with clear_errors():
        settings = read_settings(sys.argv[1:], KnownSettings)
        for name in settings.only:
            if name not in CHECKS:
                raise UserError(f"only={name} was given; {closest(name, list(CHECKS))}")
        console = stage_console()
        rows: list[Row] = []
        for name in settings.only or CHECKS:
            with BenchmarkProgress(console, "known answers") as progress:
                rows += CHECKS[name](settings, progress)
        console.print(table(rows))
        path = settings.outputs / "known" / "known.json"
        write_json(path, [row.model_dump() for row in rows])
        console.print(f"written to {path}", soft_wrap=True)
    if wrong := [row for row in rows if not row.holds]:
        raise SystemExit(f"{len(wrong)} of {len(rows)} scores differ from the known ones")


def table(rows: list[Row]) -> Table:
    result = Table(
        "benchmark", "category", "answers", "tasks", "passed", "expected", "%", "seconds", "", title="known answers"
    )
    for row in rows:
        share = f"{100 * row.passed / row.tasks:.2f}" if row.tasks else "–"
        seconds = "" if row.seconds is None else f"{row.seconds:.1f}"
        verdict = "[green]holds[/]" if row.holds else "[bold red]differs[/]"
        result.add_row(
            row.benchmark,
            row.category,
            row.answers,
            str(row.tasks),
            str(row.passed),
            str(row.expected),
            share,
            seconds,
            verdict,
        )
    return result


if __name__ == "__main__":
    main()
