"""What a benchmark is to the suite: something that holds trials against an endpoint and knows its own figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from evaluation.endpoint import Endpoint
from evaluation.trials import Progress, TrialRecord


@dataclass(frozen=True)
class Context:
    """Whom to evaluate and with what help: `simulator` is the endpoint of a simulated user, `generation` the run that made
    the training data, if it is known, and `held_back` those of its domains that the training kept for validation. `seen` are
    the generation runs of all models that are evaluated together, `shared` a directory for what a benchmark makes once for
    all of them."""

    endpoint: Endpoint
    trials: int
    simulator: Endpoint
    generation: Path | None = None
    held_back: frozenset[str] = frozenset()
    seen: tuple[Path, ...] = ()
    shared: Path | None = None


class Benchmark(Protocol):
    """A `_target_` of conf/benchmark/: constructed from its YAML, which is checked there and then."""

    def run(self, context: Context, directory: Path, progress: Progress | None = None) -> list[TrialRecord]:
        """Hold `context.trials` trials of each task, keep them in `directory`, resume what is there, return all records."""
        ...

    def figures(self, records: Sequence[TrialRecord]) -> dict[str, float | None]:
        """The benchmark's own aggregates, shares between 0 and 1; None where nothing was held."""
        ...
