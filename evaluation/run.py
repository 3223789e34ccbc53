"""The evaluation stage: every model through every benchmark, into one run directory; then their scores."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from rich.console import Console

from core.journal import write_jsonl
from core.settings import UserError
from evaluation.benchmark import Benchmark, EvaluationContext
from evaluation.metrics.scores import RECORDS, ModelScores, by_benchmark, located, sum_up
from evaluation.progress import BenchmarkProgress
from evaluation.targets import LOGS, SHARED, EvaluateSettings, Target, find_generation, served
from evaluation.trials import TrialRecord

Benchmarks = Callable[[], dict[str, Benchmark]]
"""Makes the chosen benchmarks, new for each model: a client belongs to the event loop of one run."""


NEUTRAL = ("outputs", "tracking", "allow_errors", "concurrency", "api_key_env")


def neutral_keys(benchmarks: Mapping[str, Benchmark]) -> tuple[str, ...]:
    """Config keys that may change to finish an interrupted run: they decide how long to wait and how often to retry, not
    what is asked."""
    return (*NEUTRAL, *(f"benchmarks.{name}.{key}" for name, each in benchmarks.items() for key in each.NEUTRAL))


def hold(
    settings: EvaluateSettings, targets: Sequence[Target], benchmarks: Benchmarks, directory: Path, console: Console
) -> list[TrialRecord]:
    """Every trial of every benchmark with every target; what is in `directory` already is kept. All records, which also stand
    in its records.jsonl."""
    trained_on = [(find_generation(settings, target.training), target.validation_domains) for target in targets]
    known = [each for each in trained_on if each[0]]
    seen = tuple(dict.fromkeys(generation for generation, _ in known if generation))
    logs = directory / LOGS
    held: list[TrialRecord] = []
    for target, own in zip(targets, trained_on, strict=True):
        # Where nothing is known of a model's training it is compared on the databases of the first of which it is.
        generation, validation_domains = own if own[0] or not known else known[0]
        with served(target, settings, logs) as endpoint, BenchmarkProgress(console, target.label) as progress:
            shared = directory / SHARED
            context = EvaluationContext(endpoint, settings.trials, generation, validation_domains, seen, shared)
            records = {
                name: benchmark.run(context, directory / target.label / name, progress)
                for name, benchmark in benchmarks().items()
            }
        held += located(directory, target.label, records)
        write_jsonl(directory / RECORDS, held)
    return held


def refuse_without_room(records: Sequence[TrialRecord]) -> None:
    """Raises UserError where not one request of a model in a benchmark left its server any room to answer: that it passes nothing
    says nothing of it. The server refuses such a request, or cuts the answer before its first token."""
    groups: dict[tuple[str, str], list[TrialRecord]] = defaultdict(list)
    for record in records:
        groups[record.model, record.benchmark].append(record)
    for (model, benchmark), held in groups.items():
        if all(not each.completion_tokens and _cut_off(each) for each in held):
            raise UserError(
                f"{model} could not answer at all in {benchmark}: each of the {len(held)} trials exceeded its server's context "
                f"before the first token of an answer. sampling.max_tokens={held[0].sampling.max_tokens} was given; expected "
                "a number that leaves room for the prompts, or a server with a longer context"
            )


def _cut_off(record: TrialRecord) -> bool:
    return record.stop_reason == "context_length" or record.truncations > 0


def score(
    targets: Sequence[Target], benchmarks: Benchmarks, records: Sequence[TrialRecord], ks: tuple[int, ...]
) -> list[ModelScores]:
    """The scores of each target."""
    return [
        sum_up(
            target.label,
            target.source,
            target.mixture,
            benchmarks(),
            [record for record in records if record.model == target.label],
            ks,
        )
        for target in targets
    ]


def caveats(benchmarks: Mapping[str, Benchmark], records: Sequence[TrialRecord]) -> dict[str, list[str]]:
    """Each benchmark's notes on its scores, by its name."""
    groups = by_benchmark(records)
    return {name: benchmark.caveats(groups.get(name, [])) for name, benchmark in benchmarks.items()}
