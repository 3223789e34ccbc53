"""make eval: conf/evaluate.yaml -> outputs/evaluate/<run id>/ with every trial, results.json and the paper's tables."""

from __future__ import annotations

from omegaconf import DictConfig
from rich.console import Console

from core.console import LOG_WIDTH, stage_console
from core.files import write_json
from core.runs import newest_run, open_run, sha256
from core.settings import typed
from core.tracking import Tracker
from evaluation.benchmark import Benchmark
from evaluation.metrics.scores import differences, score_rows
from evaluation.reports.summary import report_lost, summarise
from evaluation.reports.tables import publish_tables
from evaluation.run import caveats, hold, neutral_keys, refuse_without_room, score
from evaluation.targets import EvaluateSettings, find_targets
from scripts.launch import hydra_main, instantiate


def main(config: DictConfig) -> None:
    """Exit code 1 and no scores where trials were lost to infrastructure, unless that is allowed."""
    settings = typed(config, EvaluateSettings)
    console = stage_console()

    def benchmarks() -> dict[str, Benchmark]:
        return {name: instantiate(values) for name, values in settings.benchmarks.items()}

    chosen = benchmarks()  # wrong settings are reported before anything starts
    targets = find_targets(settings)
    plain = settings.model_dump(mode="json")
    inputs = {target.label: sha256(target.path) for target in targets if target.path}
    group = next((target.training.group for target in targets if target.training), None)
    with open_run(settings.outputs, "evaluate", plain, inputs, group, neutral_keys(chosen)) as job:
        console.print(f"{'resuming' if job.resumed else 'evaluating into'} {job.directory}", soft_wrap=True)
        name, group = job.manifest.run_id, job.manifest.group
        with Tracker(settings.tracking, settings.outputs, "evaluate", name, group, plain) as tracker:
            records = hold(settings, targets, benchmarks, job.directory, console)
            lost = sum(record.success is None for record in records)
            if lost and not settings.allow_errors:
                # The run stays open: the same command tries the lost trials again.
                report_lost(console, records, job.directory)
                raise SystemExit(1)
            refuse_without_room(records)
            scores = score(targets, benchmarks, records, settings.ks)
            compared = differences(records)
            results = {
                "errors_allowed": lost,
                "models": [each.model_dump(mode="json") for each in scores],
                "differences": [each.model_dump(mode="json") for each in compared],
                "caveats": caveats(chosen, records),
            }
            write_json(job.directory / "results.json", results)
            tracker.summary(results)
            tracker.table("scores", score_rows(scores))
        with (job.directory / "summary.txt").open("w") as file:
            for where in (console, Console(file=file, width=LOG_WIDTH)):
                summarise(where, scores, compared, records, settings.ks, job.directory)
        job.finish(results)
    publish_tables(console, settings.outputs, newest_run(settings.outputs, "generate"), (job.directory,))


if __name__ == "__main__":
    hydra_main("evaluate", main)
