"""The benchmark interface: runs trials against an endpoint and computes its own metrics."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

from core.serving import EngineSettings
from evaluation.endpoint import Endpoint
from evaluation.trials import Progress, TrialRecord


@dataclass(frozen=True)
class EvaluationContext:
    """What a benchmark runs against: one endpoint, `trials` trials per task, and what is known about training data.

    `generations` are the runs that generated this model's training data, none if unknown; `validation_domains` are
    their domains which training kept for validation. `all_generations` are the runs behind all models evaluated
    together, and `shared` is a directory for files that a benchmark creates once for all of them.
    """

    endpoint: Endpoint
    trials: int
    generations: tuple[Path, ...] = ()
    validation_domains: frozenset[str] = frozenset()
    all_generations: tuple[Path, ...] = ()
    shared: Path | None = None


@dataclass(frozen=True)
class RecordedRun:
    """What one model's run of a benchmark has left: its `directory`, the evaluation's `shared` one, and the generation
    runs behind all its models. `scratch` is an empty directory for temporary files."""

    directory: Path
    shared: Path
    generations: tuple[Path, ...]
    scratch: Path


@dataclass(frozen=True)
class Regraded:
    """A new verdict about a recorded trial. `success` is None if what was recorded does not suffice; `detail` says why,
    or what decided."""

    success: bool | None
    detail: str = ""


class Benchmark(Protocol):
    """A `_target_` of conf/benchmark/, constructed from the keys of its YAML.

    The constructor validates its settings and raises UserError. Subclass this protocol to inherit the defaults of
    `NEUTRAL`, `check`, `size`, `serves` and `caveats`.
    """

    NEUTRAL: ClassVar[tuple[str, ...]] = ()
    """Dotted names of this benchmark's keys that may change between an interrupted run and the command that finishes
    it: they decide how long to wait and how often to retry, never what is asked."""

    def check(self, generations: Sequence[Path]) -> None:
        """Raise UserError, before a model is served, if the benchmark cannot be run with these generation runs behind
        the models; empty: unknown."""
        return

    def size(self) -> int:
        """The number of tasks, for a plan; 0 if that is not known before they are run."""
        return 0

    def serves(self) -> Iterator[tuple[str, EngineSettings]]:
        """The models that it serves itself, besides the evaluated one, for a plan."""
        yield from ()

    @abstractmethod
    def run(self, context: EvaluationContext, directory: Path, progress: Progress | None = None) -> list[TrialRecord]:
        """Run `context.trials` trials of each task into `directory`, skip those completed there, and return all
        records."""
        ...

    @abstractmethod
    def metrics(self, records: Sequence[TrialRecord]) -> dict[str, float | None]:
        """The benchmark's own aggregates as shares between 0 and 1; None if no trial completed."""
        ...

    def regrade(self, records: Sequence[TrialRecord], run: RecordedRun) -> dict[str, Regraded]:
        """New verdicts about recorded trials, by their keys, without requesting anything from a model. `records` are
        scored; those that the benchmark records too little of are missing. By default it cannot grade again."""
        return {}

    def caveats(self, records: Sequence[TrialRecord]) -> list[str]:
        """Notes for the reader, printed next to the scores of `records` (one run's trials, of all its models)."""
        return []
