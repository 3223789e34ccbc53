"""make ablation ablation=NAME: conf/ablation.yaml -> outputs/ablations/NAME/ with plan, table, figure and verdicts, and
outputs/registry.jsonl with every result."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import hydra
from hydra.errors import HydraException
from omegaconf import DictConfig
from rich.console import Console

from core.console import stage_console
from core.processes import start_supervised
from core.settings import UserError, typed
from evaluation.ablation.analysis import Analysis, analyse
from evaluation.ablation.power_plan import power_plan
from evaluation.ablation.registry import REGISTRY, Entry, newest, read_registry
from evaluation.ablation.settings import AblationSettings
from evaluation.reports.ablation import show_analysis, show_plan, write_analysis, write_plan
from scripts.ablation_cell import cell_key
from scripts.launch import CONF, QUIET, clear_errors
from scripts.stage_end import try_report
from scripts.stage_runs import GRACE_S

GROUP = "ablation"
STOP_S = 2 * GRACE_S
"""Time for a cell to stop its stage first."""


def experiments(words: Sequence[str]) -> list[tuple[str, ...]]:
    """The overrides of each experiment: `ablation=a,b` names several."""
    chosen = [word.partition("=")[2].split(",") for word in words if word.startswith(f"{GROUP}=")]
    others = [word for word in words if not word.startswith(f"{GROUP}=")]
    return [(f"{GROUP}={name}", *others) for name in chosen[-1]] if chosen else [tuple(others)]


def read_experiment(words: Sequence[str]) -> AblationSettings:
    """The settings of one experiment. Raises UserError for overrides that do not fit."""
    config = compose_experiment("ablation", words)
    return typed(config, AblationSettings)


def compose_experiment(name: str, words: Sequence[str]) -> DictConfig:
    """conf/<name>.yaml with overrides. Raises UserError if they do not compose."""
    try:
        with hydra.initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
            return hydra.compose(name, [*words])
    except HydraException as error:
        raise UserError(f"{' '.join(words)}: {' '.join(str(error).split())}") from None


def entries_by_cell(settings: AblationSettings, entries: Sequence[Entry]) -> dict[str, list[Entry]]:
    """The registry's newest entry for each seed of each cell, as the experiment is configured now."""
    return {
        name: newest(entries, [cell_key(settings, name, seed) for seed in settings.seeds]) for name in settings.runnable
    }


def run_cells(settings: AblationSettings, words: Sequence[str], launcher: Sequence[str]) -> None:
    """Run every cell with every seed as a Hydra multirun. Raises UserError if one fails; the others are kept."""
    sweep = [f"+cell={','.join(settings.runnable)}", f"+seed={','.join(map(str, settings.seeds))}"]
    command = [sys.executable, "-m", "scripts.ablation_cell", "--multirun", *QUIET, *words, *sweep, *launcher]
    process = start_supervised(command, sys.stdout.buffer, STOP_S)
    try:
        code = process.wait()
    finally:
        process.terminate()
        process.wait()
    if code:
        raise UserError(f"{settings.experiment}: a cell failed (see above); the same command continues")


def run_experiment(console: Console, words: Sequence[str], launcher: Sequence[str]) -> Analysis | None:
    """Plan, run and analyse one experiment; None if it stops after its plan."""
    settings = read_experiment(words)
    directory = settings.outputs / "ablations" / settings.experiment
    registry = settings.outputs / REGISTRY
    entries = read_registry(registry)
    plan = power_plan(settings, entries_by_cell(settings, entries), entries)
    show_plan(console, plan)
    write_plan(plan, directory)
    if settings.plan:
        return None
    if left_out := settings.cells.keys() - settings.runnable.keys():
        console.print(f"left out for lack of data: {', '.join(sorted(left_out))}")
    run_cells(settings, words, launcher)
    analysis = analyse(settings, entries_by_cell(settings, read_registry(registry)))
    show_analysis(console, analysis)
    files = write_analysis(analysis, directory)
    console.print(f"written to {directory}: {', '.join(files)}", soft_wrap=True)
    if settings.report is not None:
        try_report(directory, settings.report, console)
    return analysis


def launcher_words(words: Sequence[str]) -> list[str]:
    """The overrides of Hydra itself, which are for the sweep over cells and seeds."""
    return [word for word in words if word.lstrip("+").startswith(("hydra/", "hydra."))]


def main(words: Sequence[str]) -> None:
    launcher = launcher_words(words)
    console = stage_console()
    chosen = experiments([word for word in words if word not in launcher])
    for each in chosen:  # before any of them runs for hours
        read_experiment(each)
    for each in chosen:
        run_experiment(console, each, launcher)


if __name__ == "__main__":
    with clear_errors():
        main(sys.argv[1:])
