"""make reproduce: the experiments behind the paper's tables, then Tables 1 to 4 and Figure 5 from their runs, and every
verdict -> outputs/ablations/reproduction.md."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from core.console import stage_console
from core.files import write_atomically
from core.settings import typed
from evaluation.ablation.registry import REGISTRY, Entry, read_registry
from evaluation.ablation.settings import AblationSettings
from evaluation.reports.ablation import show_analysis, summary_lines
from evaluation.reports.tables import publish_tables
from scripts.ablation import compose_experiment, entries_by_cell, launcher_words, read_experiment, run_experiment
from scripts.launch import clear_errors
from scripts.stage_runs import runs_directory


class ReproduceSettings(AblationSettings):
    """What `make reproduce` runs; all other keys are those of every experiment."""

    experiments: tuple[str, ...] = Field(min_length=1, description="experiments, files of conf/ablation/")


def read_settings(words: Sequence[str]) -> ReproduceSettings:
    return typed(compose_experiment("reproduce", words), ReproduceSettings)


def runs_of(outputs: Path, entries: Sequence[Entry], stage: str) -> list[Path]:
    """The runs of a stage behind the entries, each once."""
    names = dict.fromkeys(entry.runs[stage].run for entry in entries if stage in entry.runs)
    return [runs_directory(outputs) / stage / name for name in names]


def main(words: Sequence[str]) -> None:
    launcher = launcher_words(words)
    overrides = [word for word in words if word not in launcher]
    settings = read_settings(overrides)
    console = stage_console()
    own = [word for word in overrides if not word.startswith("experiments=")]
    chosen = [(f"ablation={name}", *own) for name in settings.experiments]
    known = [read_experiment(each) for each in chosen]
    analyses = [run_experiment(console, each, launcher) for each in chosen]
    if settings.plan:
        return
    registry = read_registry(settings.outputs / REGISTRY)
    entries = [e for each in known for of_cell in entries_by_cell(each, registry).values() for e in of_cell]
    generations = runs_of(settings.outputs, entries, "generate")
    publish_tables(
        console,
        settings.outputs,
        generations[0] if generations else None,
        runs_of(settings.outputs, entries, "evaluate"),
    )
    done = [analysis for analysis in analyses if analysis]
    for analysis in done:
        show_analysis(console, analysis)
    lines = summary_lines(done)
    write_atomically(settings.outputs / "ablations" / "reproduction.md", "".join(f"- {line}\n" for line in lines))
    for line in lines:
        console.print(line, markup=False)


if __name__ == "__main__":
    with clear_errors():
        main(sys.argv[1:])
