"""make train: conf/train.yaml -> outputs/train/<run id>/ with checkpoint/ (the best) and untrained/; with plan=true
only the plan -> outputs/plan/train.json."""

from __future__ import annotations

import json
from typing import Any

from omegaconf import DictConfig
from rich.console import Console

from core.console import stage_console
from core.files import write_json
from core.manifest import read_manifest
from core.runs import latest, open_run, sha256
from core.settings import UserError, typed
from core.tracking import Tracker
from scripts.launch import hydra_main
from scripts.stage_end import end_with_report
from training import plan_report
from training.launch import join_run, run_workers, set_environment
from training.machine import check_machine, missing_requirements, missing_weights
from training.mixture import find_data, name_files
from training.nodes import find_nodes
from training.plan import plan
from training.prepare import prepare
from training.progress import TrainingProgress, describe, summarise
from training.run_layout import CONFIG, RESULTS
from training.settings import TrainSettings

NEUTRAL = ("outputs", "report", "tracking", "data", "nodes", "plan", "hardware", "assume")
"""Keys that do not change the trained model; the content of `data` counts instead."""


def main(config: DictConfig) -> None:
    settings = typed(config, TrainSettings)
    console = stage_console()
    if settings.plan:
        show_plan(console, settings)
        return
    nodes = find_nodes(settings.nodes)
    processes = check_machine(settings, nodes)
    set_environment(processes)
    if nodes.rank:
        join_run(nodes.await_run(settings.outputs), processes, nodes)
        return
    sources = settings.data or (latest(settings.outputs, "generate", "make generate"),)
    files = find_data(*sources)
    groups = [read_manifest(source).group for source in sources if (source / "manifest.json").is_file()]
    plain: dict[str, Any] = settings.model_dump(mode="json")
    inputs = {name: sha256(file) for name, file in name_files(files).items()}
    # A ZeRO-3 checkpoint has one part per rank: another number of ranks needs another run.
    identity = {**plain, "ranks": processes * len(nodes.hosts)}
    with open_run(settings.outputs, "train", identity, inputs, next(iter(groups), None), neutral=NEUTRAL) as job:
        console.print(f"{'resuming' if job.resumed else 'training into'} {job.directory}", soft_wrap=True)
        write_json(job.directory / CONFIG, plain)
        data = prepare(job.directory, settings, files, inputs)
        describe(console, data)
        nodes.announce(settings.outputs, job.directory)
        name, group = job.manifest.run_id, job.manifest.group
        with Tracker(settings.tracking, settings.outputs, "train", name, group, plain) as tracker:
            with TrainingProgress(console) as progress:

                def report(metrics: dict[str, Any]) -> None:
                    progress.update(metrics)
                    tracker.log({f"train/{key}": value for key, value in metrics.items()}, step=metrics["step"])

                try:
                    run_workers(job.directory, processes, nodes, report)
                finally:
                    nodes.withdraw(settings.outputs)
            results = json.loads((job.directory / RESULTS).read_text())
            tracker.summary(results)
            job.finish({**results, "data": data.model_dump(), "generations": groups})
            summarise(console, results, job.directory, job.manifest.seconds)
            end_with_report(job.directory, settings.report, console, tracker)


def show_plan(console: Console, settings: TrainSettings) -> None:
    """Print and write what the training would take. Without a finished generation run, or if the newest one lacks what
    the mixture wants, the data is assumed."""
    lacking = [*missing_requirements(settings, find_nodes(settings.nodes)), missing_weights(settings.model)]
    missing = [line for line in lacking if line]
    try:
        files = find_data(*(settings.data or (latest(settings.outputs, "generate", "make generate"),)))
        training_plan = plan(settings, files, missing)
    except UserError as error:
        if settings.data:
            raise
        training_plan = plan(settings, (), [*missing, str(error)])
    plan_report.show(console, training_plan, settings)
    path = settings.outputs / "plan" / "train.json"
    write_json(path, {**training_plan.model_dump(), "config": settings.model_dump(mode="json")})
    console.print(f"written to {path}", soft_wrap=True)


if __name__ == "__main__":
    hydra_main("train", main)
