"""make eval: conf/evaluate.yaml -> outputs/evaluate/<run id>/ with every trial, results.json and the paper's tables."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig

from core.console import stage_console
from core.records import write_json
from core.runs import open_run, read_manifest, sha256
from core.serving import Server, free_ports, running
from core.settings import typed
from core.tracking import Tracker
from evaluation.benchmark import Benchmark, Context
from evaluation.endpoint import Endpoint
from evaluation.progress import BenchmarkProgress, summarise
from evaluation.suite import EvaluateSettings, find_generation, find_targets, score_rows, served, sum_up
from evaluation.tables import tables, write_tables
from scripts.launch import main
from scripts.tables import newest, show


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


def stage(config: DictConfig) -> None:
    """Exit code 1 where trials were lost to infrastructure."""
    settings = typed(config, EvaluateSettings)
    console = stage_console()
    benchmarks(settings)  # what their settings get wrong is said before anything starts
    targets, training = find_targets(settings)
    plain = settings.model_dump(mode="json")
    inputs = {target.label: sha256(target.path) for target in targets if target.path}
    group = read_manifest(training).group if training else None
    held_back = frozenset(read_manifest(training).results["data"]["validation_domains"] if training else ())
    generation = find_generation(settings, training)
    scores = []
    with open_run(settings.outputs, "evaluate", plain, inputs, group) as job:
        console.print(f"{'resuming' if job.resumed else 'evaluating into'} {job.directory}", soft_wrap=True)
        manifest = job.manifest
        with Tracker(
            settings.tracking, settings.outputs, "evaluate", manifest.run_id, manifest.group, plain
        ) as tracker:
            with user_simulator(settings, job.directory / "logs") as user:
                for target in targets:
                    with (
                        served(target, settings, job.directory / "logs") as endpoint,
                        BenchmarkProgress(console) as progress,
                    ):
                        chosen = benchmarks(settings)
                        context = Context(endpoint, settings.trials, user, generation, held_back)
                        records = {
                            name: benchmark.run(context, job.directory / target.label / name, progress)
                            for name, benchmark in chosen.items()
                        }
                    scores.append(sum_up(target, chosen, records, settings.ks))
            results = {"models": [score.model_dump(mode="json") for score in scores]}
            write_json(job.directory / "results.json", results)
            tracker.summary(results)
            tracker.table("scores", score_rows(scores))
        summarise(console, scores, job.directory)
        if any(score.lost for score in scores):
            # The run stays open: the same command tries the lost trials again.
            raise SystemExit(1)
        job.finish(results)
    show(console, found := tables(newest(settings.outputs, "generate"), job.directory))
    write_tables(found, settings.outputs / "tables")


if __name__ == "__main__":
    main("evaluate", stage)
