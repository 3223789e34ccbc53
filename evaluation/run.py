"""The evaluation stage: runs every model on every benchmark, in one run directory, and scores the trials."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from rich.console import Console

from core.journal import write_jsonl
from core.server_check import check_server
from core.settings import UserError
from evaluation.benchmark import Benchmark, EvaluationContext
from evaluation.engines import served_in_turn
from evaluation.metrics.scores import RECORDS, ModelScores, by_benchmark, run_records, score_model
from evaluation.progress import BenchmarkProgress
from evaluation.targets import LOGS, SHARED, EvaluateSettings, Target, find_generations
from evaluation.trials import TrialRecord

BenchmarkFactory = Callable[[], dict[str, Benchmark]]
"""Constructs the chosen benchmarks, by name. Each model gets new ones: a client belongs to the event loop of one
run."""

NEUTRAL = (
    "outputs",
    "report",
    "tracking",
    "allow_errors",
    "concurrency",
    "api_key_env",
    "start_next",
    "plan",
    "assume",
)


def neutral_keys(benchmarks: Mapping[str, Benchmark]) -> tuple[str, ...]:
    """Config keys that may change between an interrupted run and the command that finishes it: they decide how long to
    wait and how often to retry, not what is asked."""
    of_benchmarks = (f"benchmarks.{name}.{key}" for name, benchmark in benchmarks.items() for key in benchmark.NEUTRAL)
    return (*NEUTRAL, *of_benchmarks)


def run_trials(
    settings: EvaluateSettings,
    targets: Sequence[Target],
    benchmarks: BenchmarkFactory,
    directory: Path,
    console: Console,
) -> list[TrialRecord]:
    """Run every trial of every benchmark with every target, except those already completed in `directory`.

    Returns all records, which are also written to the run's records.jsonl. Raises UserError if a benchmark cannot
    be run with what is known of the training data, and if a server's parsers do not fit its model (core.server_check).
    """
    training_data = [(find_generations(settings, target.training), target.validation_domains) for target in targets]
    known = [(generations, domains) for generations, domains in training_data if generations]
    all_generations = tuple(dict.fromkeys(generation for generations, _ in known for generation in generations))
    for benchmark in benchmarks().values():
        benchmark.check(all_generations)
    records: list[TrialRecord] = []
    with served_in_turn(targets, settings, directory / LOGS) as turns:
        for (target, endpoint), (own_generations, own_domains) in zip(turns, training_data, strict=True):
            # A model with unknown training data is compared on the databases of the first model whose data is known.
            generations, domains = (own_generations, own_domains) if own_generations or not known else known[0]
            for warning in check_server(endpoint.base_url, endpoint.model, endpoint.api_key(), endpoint.body()):
                console.print(warning, style="yellow", markup=False, soft_wrap=True)
            context = EvaluationContext(
                endpoint, settings.trials, generations, domains, all_generations, directory / SHARED
            )
            with BenchmarkProgress(console, target.label) as progress:
                by_name = {
                    name: benchmark.run(context, directory / target.label / name, progress)
                    for name, benchmark in benchmarks().items()
                }
            records += run_records(directory, target.label, by_name)
            write_jsonl(directory / RECORDS, records)
    return records


def require_room_to_answer(records: Sequence[TrialRecord]) -> None:
    """Raises UserError if no request of a model in a benchmark left it room to answer: that it passes nothing is then
    no result. The server refused each request, or cut the answer before its first token."""
    groups: dict[tuple[str, str], list[TrialRecord]] = defaultdict(list)
    for record in records:
        groups[record.model, record.benchmark].append(record)
    for (model, benchmark), trials in groups.items():
        if all(trial.completion_tokens == 0 and _cut_off(trial) for trial in trials):
            raise UserError(
                f"{model} could not answer at all in {benchmark}: each of the {len(trials)} trials exceeded its "
                "server's context before the first token of an answer. "
                f"sampling.max_tokens={trials[0].sampling.max_tokens} was given; "
                "expected a number that leaves room for the prompts, or a server with a longer context"
            )


def _cut_off(record: TrialRecord) -> bool:
    return record.stop_reason == "context_length" or record.truncations > 0


def score_models(
    targets: Sequence[Target], benchmarks: Mapping[str, Benchmark], records: Sequence[TrialRecord], ks: tuple[int, ...]
) -> list[ModelScores]:
    """The scores of each target."""
    return [
        score_model(
            target.label,
            target.source,
            target.mixture,
            benchmarks,
            [record for record in records if record.model == target.label],
            ks,
        )
        for target in targets
    ]


def caveats(benchmarks: Mapping[str, Benchmark], records: Sequence[TrialRecord]) -> dict[str, list[str]]:
    """Each benchmark's notes on its scores, by its name."""
    groups = by_benchmark(records)
    return {name: benchmark.caveats(groups.get(name, [])) for name, benchmark in benchmarks.items()}
