"""make eval: conf/evaluate.yaml -> outputs/evaluate/<run id>/ with every trial, results.json and the paper's tables."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig
from rich.console import Console

from core.console import LOG_WIDTH, stage_console
from core.records import write_json, write_jsonl
from core.runs import Run, open_run, sha256
from core.serving import Server, free_ports, running
from core.settings import typed
from core.tracking import Tracker
from evaluation.benchmark import Benchmark, Context
from evaluation.endpoint import Endpoint
from evaluation.progress import BenchmarkProgress
from evaluation.results import TrialRecord
from evaluation.scores import RECORDS, ModelScores, located, score_rows, sum_up
from evaluation.suite import EvaluateSettings, Target, find_generation, find_targets, served
from evaluation.summary import report_lost, summarise
from scripts.launch import main
from scripts.tables import newest, publish


@contextmanager
def user_simulator(settings: EvaluateSettings, logs: Path) -> Iterator[Endpoint]:
    """τ²'s user: the endpoint that was named, or the scripted customer started here."""
    if settings.simulator or "tau2" not in settings.benchmarks:
        yield Endpoint(base_url=settings.simulator or "", model=settings.simulator_model)
        return
    (port,) = free_ports(1)
    command = (sys.executable, "-m", "generation.llm.server", "--port", str(port))
    with running([Server(command, port, logs / "customer.log")], "the scripted customer", 60) as urls:
        yield Endpoint(base_url=urls[0], model=settings.simulator_model)


def benchmarks(settings: EvaluateSettings) -> dict[str, Benchmark]:
    """The chosen benchmarks, new for each model: a client belongs to the event loop of one run."""
    return {name: instantiate(values, _convert_="all") for name, values in settings.benchmarks.items()}


def evaluate(settings: EvaluateSettings, targets: Sequence[Target], job: Run, console: Console) -> list[TrialRecord]:
    """Hold every trial of every benchmark with every target; what is there already is kept. The records of the run."""
    generations = [find_generation(settings, target.training) for target in targets]
    seen = tuple(dict.fromkeys(generation for generation in generations if generation))
    logs = job.directory / "logs"
    held: list[TrialRecord] = []
    with user_simulator(settings, logs) as user:
        for target, generation in zip(targets, generations, strict=True):
            with served(target, settings, logs) as endpoint, BenchmarkProgress(console, target.label) as progress:
                context = Context(
                    endpoint, settings.trials, user, generation, target.held_back, seen, job.directory / "shared"
                )
                records = {
                    name: benchmark.run(context, job.directory / target.label / name, progress)
                    for name, benchmark in benchmarks(settings).items()
                }
            held += located(job.directory, target.label, records)
            write_jsonl(job.directory / RECORDS, held)
    return held


def score(settings: EvaluateSettings, targets: Sequence[Target], records: Sequence[TrialRecord]) -> list[ModelScores]:
    chosen = benchmarks(settings)
    return [
        sum_up(
            target.label,
            str(target.path or f"{target.served_model} at {target.base_url}"),
            target.mixture,
            chosen,
            [record for record in records if record.model == target.label],
            settings.ks,
        )
        for target in targets
    ]


def stage(config: DictConfig) -> None:
    """Exit code 1 and no scores where trials were lost to infrastructure, unless that is allowed."""
    settings = typed(config, EvaluateSettings)
    console = stage_console()
    benchmarks(settings)  # what their settings get wrong is said before anything starts
    targets = find_targets(settings)
    plain = settings.model_dump(mode="json")
    inputs = {target.label: sha256(target.path) for target in targets if target.path}
    group = next((target.training.group for target in targets if target.training), None)
    neutral = ("outputs", "tracking", "allow_errors")
    with open_run(settings.outputs, "evaluate", plain, inputs, group, neutral) as job:
        console.print(f"{'resuming' if job.resumed else 'evaluating into'} {job.directory}", soft_wrap=True)
        name, group = job.manifest.run_id, job.manifest.group
        with Tracker(settings.tracking, settings.outputs, "evaluate", name, group, plain) as tracker:
            records = evaluate(settings, targets, job, console)
            lost = sum(record.success is None for record in records)
            if lost and not settings.allow_errors:
                # The run stays open: the same command tries the lost trials again.
                report_lost(console, records, job.directory)
                raise SystemExit(1)
            scores = score(settings, targets, records)
            results = {"errors_allowed": lost, "models": [each.model_dump(mode="json") for each in scores]}
            write_json(job.directory / "results.json", results)
            tracker.summary(results)
            tracker.table("scores", score_rows(scores))
        summarise(console, scores, records, settings.ks, job.directory)
        with (job.directory / "summary.txt").open("w") as file:
            summarise(Console(file=file, width=LOG_WIDTH), scores, records, settings.ks, job.directory)
        job.finish(results)
    publish(console, settings.outputs, newest(settings.outputs, "generate"), (job.directory,))


if __name__ == "__main__":
    main("evaluate", stage)
