"""τ²-bench through inspect-evals, which carries the official base tasks, databases, policies and rewards (paper, Section 4).

`evaluation.tau2_worker` runs it in a process with a temporary directory of its own, because it leaves a copy of the database behind
for each load. Where it differs from the official harness: the user opens, and the user simulator is told nothing of steps. What we
put right: an API error ends the trial as an infrastructure error (it would be swallowed and the untouched database scored),
and a dialogue the user did not end with ###STOP###, ###TRANSFER### or ###OUT-OF-SCOPE### has failed, as in the official one.

A request refused because it exceeds the model's context is the model's failure (stop reason "context_length"); the same of the
user simulator is infrastructure. Tools are sent without `strict`, so that servers do not repair the model's arguments.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from core.records import write_json
from core.settings import Settings, UserError, closest, typed
from evaluation.benchmark import Context
from evaluation.endpoint import Endpoint
from evaluation.passk import pass_1_by_category
from evaluation.results import Progress, TrialRecord, read_trials
from evaluation.worker import run_worker

VERSION = "0.26.0"
OFFICIAL_STEPS = 200
DOMAINS = ("airline", "retail", "telecom")

# The tasks that an agent passes by greeting the user and waiting for it to leave, found by running all of the base sets so: they
# ask for no change of the database and for no information.
DO_NOTHING: dict[str, frozenset[str]] = {
    "airline": frozenset(map(str, (0, 1, 4, 5, 6, 10, 13, 26, 28, 31, 34, 36, 41, 43, 45, 46, 47, 48, 49))),
    "retail": frozenset(map(str, (10, 12, 25, 50, 57, 65, 105))),
    "telecom": frozenset(),
}


class Tau2Settings(Settings):
    """`smoke` lists task ids by domain; subset "full" runs the whole base set of `domains`. `user` is the simulator's endpoint,
    the evaluated model itself where it is None. `max_steps` bounds the requests of both sides in one dialogue (official:
    200 messages; another value is written into the harness name). `attempts`, `retries` and `timeout_s` as for BFCL."""

    subset: Literal["smoke", "full"] = "smoke"
    smoke: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    domains: tuple[str, ...] = DOMAINS
    user: Endpoint | None = None
    max_steps: int = Field(default=OFFICIAL_STEPS, ge=1)
    seed: int = 0
    attempts: int = Field(default=2, ge=1)
    retries: int = Field(default=2, ge=0)
    timeout_s: float = Field(default=600.0, gt=0)

    @property
    def harness(self) -> str:
        steps = f", {self.max_steps} steps" if self.max_steps != OFFICIAL_STEPS else ""
        return f"inspect-evals {VERSION} tau2{steps}"

    def tasks(self) -> dict[str, tuple[str, ...] | None]:
        """Task ids by domain, None for all. Raises UserError for a domain that is not run here."""
        chosen: dict[str, tuple[str, ...] | None] = dict(self.smoke)
        if self.subset == "full":
            chosen = dict.fromkeys(self.domains)
        for domain in chosen:
            if domain not in DOMAINS:
                raise UserError(f"unknown τ² domain {domain!r}; {closest(domain, list(DOMAINS))}")
        return chosen


class Tau2Request(Settings):
    """What the worker is told."""

    endpoint: Endpoint
    settings: Tau2Settings
    trials: int
    directory: Path


class Tau2:
    """The benchmark of conf/benchmark/tau2.yaml."""

    def __init__(self, **settings: Any) -> None:
        self.settings = typed(settings, Tau2Settings, "benchmarks.tau2")

    def run(self, context: Context, directory: Path, progress: Progress | None = None) -> list[TrialRecord]:
        with_user = self.settings.model_copy(update={"user": self.settings.user or context.simulator})
        return run(context.endpoint, with_user, directory, context.trials, progress)

    def figures(self, records: Sequence[TrialRecord]) -> dict[str, float | None]:
        """Pass@1 by domain, and what an agent that does nothing would have scored on the same tasks."""
        nothing: dict[str, float | None] = {
            f"{domain}, doing nothing": share for domain, share in do_nothing(records).items()
        }
        return pass_1_by_category(records) | nothing


def run(
    endpoint: Endpoint, settings: Tau2Settings, directory: Path, trials: int, progress: Progress | None = None
) -> list[TrialRecord]:
    """Hold `trials` trials of the chosen tasks and return their records, also kept in `directory`/trials.jsonl.

    Called again with the same arguments it goes on where it was interrupted. Raises UserError for wrong settings and
    HarnessError if the official code breaks down.
    """
    tasks = settings.tasks()
    expected = sum(len(ids) for ids in tasks.values() if ids is not None) * trials
    directory = directory.resolve()
    journal = directory / "trials.jsonl"

    def tick() -> None:
        if progress:
            done = journal.read_bytes().count(b"\n") if journal.is_file() else 0
            progress("τ²-bench", done, max(expected, done))

    request = Tau2Request(endpoint=endpoint, settings=settings, trials=trials, directory=directory)
    write_json(directory / "request.json", request.model_dump(mode="json"))
    for _ in range(settings.attempts):
        _run_worker(directory, tick)
        records = read_trials(journal)
        if all(record.success is not None for record in records):
            break
    return records


def do_nothing(records: Sequence[TrialRecord]) -> dict[str, float]:
    """For each domain in `records`, the share of its tasks that an agent passes by doing nothing: report it beside the score."""
    tasks = {(record.category, record.task_id) for record in records}
    return {
        domain: sum(task in DO_NOTHING[domain] for d, task in tasks if d == domain) / sum(d == domain for d, _ in tasks)
        for domain in sorted({domain for domain, _ in tasks})
    }


def _run_worker(directory: Path, tick: Callable[[], None]) -> None:
    scratch = directory / "scratch"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    homes = {name: str(scratch) for name in ("TMPDIR", "XDG_DATA_HOME", "XDG_CACHE_HOME")}
    command = (sys.executable, "-m", "evaluation.tau2_worker", directory / "request.json")
    try:
        run_worker(command, homes, directory / "worker.log", tick)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
