"""Our own benchmark: live dialogues on unseen databases, and unseen tasks on the databases of the training data.

A task writer and a user simulator (scripted by default) face the evaluated model on real databases. Execution alone
decides success, without a judge: the database state after each task equals the state after its gold calls, every
requested value was mentioned to the user, and the dialogue reached its end with all its tasks. The scripted user, too,
judges by execution whether its requests are done, so that no wording fails a correct agent: `make eval-known` checks
that with agents that know the tasks (evaluation/known_answers/heldout_check.py). For the varied conditions see
evaluation/heldout/settings.py, for how tasks are written evaluation/heldout/tasks.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from core.settings import UserError, typed
from evaluation.benchmark import Benchmark, EvaluationContext, RecordedRun, Regraded
from evaluation.heldout.regrade import regrade
from evaluation.heldout.run import HeldoutRun
from evaluation.heldout.settings import HeldoutSettings
from evaluation.metrics.pass_at_k import pass_1_by_category
from evaluation.trials import Progress, TrialRecord
from generation.llm.base import LLM
from generation.llm.openai import TRANSPORT_KEYS
from generation.seeds.base import Seeds


class Heldout(Benchmark):
    """The benchmark of conf/benchmark/heldout.yaml: `simulator` plays the user and writes the tasks, `databases` are
    the unseen ones."""

    NEUTRAL = ("timeout_s", "outage_s", *(f"simulator.{key}" for key in TRANSPORT_KEYS))

    def __init__(self, simulator: LLM, databases: Seeds, **settings: Any) -> None:
        """Raises UserError for invalid settings."""
        self.simulator = simulator
        self.databases = databases
        self.settings = typed(settings, HeldoutSettings, "benchmarks.heldout")
        self.settings.conditions()

    def size(self) -> int:
        """At most: kinds of requests that a database's tools do not allow have no tasks."""
        settings = self.settings
        return settings.dialogues * len(settings.categories) * len(settings.conditions())

    def check(self, generations: Sequence[Path]) -> None:
        """Raises UserError if tasks on trained databases are selected but the generation run is unknown."""
        if "trained_databases" in self.settings.categories and not generations:
            raise UserError(
                "unseen tasks on trained databases need the generation run of the training data: give "
                "generation=outputs/generate/RUN, or benchmarks.heldout.categories=[unseen_databases]"
            )

    def run(self, context: EvaluationContext, directory: Path, progress: Progress | None = None) -> list[TrialRecord]:
        """Raises UserError if tasks on trained databases are selected but the generation run is unknown, if an unseen
        database is in the training data, if no task can be written for a condition, and if the simulator or the server
        is down."""
        self.check(context.generations)
        run = HeldoutRun(self.settings, self.simulator, self.databases, context, directory)
        return asyncio.run(run.run(progress))

    def regrade(self, records: Sequence[TrialRecord], run: RecordedRun) -> dict[str, Regraded]:
        """Verdicts by execution: the recorded calls are made again on fresh databases."""
        return asyncio.run(regrade(self.settings, self.simulator, records, run))

    def metrics(self, records: Sequence[TrialRecord]) -> dict[str, float | None]:
        """Pass@1 by category."""
        return pass_1_by_category(records)
