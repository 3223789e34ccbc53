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
from evaluation.reports.summary import print_infrastructure_errors, print_summary
from evaluation.reports.tables import publish_tables
from evaluation.run import caveats, neutral_keys, require_room_to_answer, run_trials, score_models
from evaluation.targets import EvaluateSettings, find_targets
from scripts.evaluation_plan import show_plan
from scripts.launch import hydra_main, instantiate
from scripts.stage_end import end_with_report


def main(config: DictConfig) -> None:
    """Exits with code 1 and without scores if trials had infrastructure errors, unless `allow_errors` is set."""
    settings = typed(config, EvaluateSettings)
    console = stage_console()

    def benchmarks() -> dict[str, Benchmark]:
        return {name: instantiate(values) for name, values in settings.benchmarks.items()}

    chosen = benchmarks()  # wrong settings are reported before anything starts
    if settings.plan:
        show_plan(settings, chosen, console)
        return
    targets = find_targets(settings)
    plain = settings.model_dump(mode="json")
    inputs = {target.label: sha256(target.path) for target in targets if target.path}
    group = next((target.training.group for target in targets if target.training), None)
    with open_run(settings.outputs, "evaluate", plain, inputs, group, neutral_keys(chosen)) as job:
        console.print(f"{'resuming' if job.resumed else 'evaluating into'} {job.directory}", soft_wrap=True)
        name, group = job.manifest.run_id, job.manifest.group
        with Tracker(settings.tracking, settings.outputs, "evaluate", name, group, plain) as tracker:
            records = run_trials(settings, targets, benchmarks, job.directory, console)
            errors = sum(record.success is None for record in records)
            if errors and not settings.allow_errors:
                # The run stays unfinished: the same command runs these trials again.
                print_infrastructure_errors(console, records, job.directory)
                raise SystemExit(1)
            require_room_to_answer(records)
            scores = score_models(targets, chosen, records, settings.ks)
            compared, notes = differences(records), caveats(chosen, records)
            results = {
                "errors_allowed": errors,
                "models": [model.model_dump(mode="json") for model in scores],
                "differences": [difference.model_dump(mode="json") for difference in compared],
                "caveats": notes,
            }
            write_json(job.directory / "results.json", results)
            tracker.summary(results)
            tracker.table("scores", score_rows(scores))
            with (job.directory / "summary.txt").open("w") as file:
                for output in (console, Console(file=file, width=LOG_WIDTH)):
                    print_summary(output, scores, compared, records, settings.ks, job.directory, notes)
            job.finish(results)
            publish_tables(console, settings.outputs, newest_run(settings.outputs, "generate"), (job.directory,))
            end_with_report(job.directory, settings.report, console, tracker)


if __name__ == "__main__":
    hydra_main("evaluate", main)
