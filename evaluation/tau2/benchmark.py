"""τ²-bench (paper, Section 4) with one of two backends, whose scores are never mixed.

`inspect`, the default: inspect-evals with the tasks, databases, policies and rewards of the official release of June
2025, run by `evaluation.tau2.inspect_worker`. It differs from the official program in that the user opens the dialogue
and no one is informed of the step limit.
`official`: the official code (`evaluation.tau2.official`), by default of release 0.2.0, which has the same tasks. A
`tau2` executable that the user installed has tasks that have been revised since (release 1.0, March 2026), so the same
model gets other scores.

In both, a trial with a failed request is an infrastructure error: retried and never scored. A request of the model that
the server refuses because it exceeds the context is the model's failure (stop reason "context_length"); such a request
of the user simulator is an infrastructure error. A dialogue that the user did not end is a failure, as officially.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from core.files import write_json
from core.serving import EngineSettings
from core.settings import UserError, typed
from evaluation.benchmark import Benchmark, EvaluationContext, RecordedRun, Regraded
from evaluation.metrics.pass_at_k import pass_1_by_category
from evaluation.tau2 import official
from evaluation.tau2.do_nothing import do_nothing
from evaluation.tau2.regrade import regrade
from evaluation.tau2.settings import Tau2Request, Tau2Settings
from evaluation.tau2.user_simulator import user_simulator
from evaluation.trials import Progress, TrialRecord, open_journal, read_trials
from evaluation.worker_process import run_worker


class Tau2(Benchmark):
    """The benchmark of conf/benchmark/tau2.yaml."""

    NEUTRAL = ("attempts", "retries", "timeout_s")

    def __init__(self, **settings: Any) -> None:
        """Raises UserError for invalid settings, and if the official backend's requirements are missing."""
        self.settings = typed(settings, Tau2Settings, "benchmarks.tau2")
        self._tasks = self.settings.tasks()
        if self.settings.backend == "official":
            official.check(self.settings.official, self._tasks)

    def size(self) -> int:
        return sum(map(len, self._tasks.values()))

    def serves(self) -> Iterator[tuple[str, EngineSettings]]:
        if user := self.settings.served_user:
            yield user.model, user.serving

    def run(self, context: EvaluationContext, directory: Path, progress: Progress | None = None) -> list[TrialRecord]:
        """Runs the trials and returns their records, which are also in `directory`/trials.jsonl.

        A second call with the same arguments resumes an interrupted run. Raises UserError if `directory` contains
        trials of another harness, HarnessError if the official code crashes.
        """
        request = Tau2Request(
            endpoint=context.endpoint, settings=self.settings, trials=context.trials, directory=directory.resolve()
        )
        open_journal(request.journal).close()  # removes an incomplete last line that a killed process may have left
        _refuse_other_harness(request)
        if not self._is_complete(request):
            with user_simulator(self.settings, context.endpoint.concurrency, directory) as user:
                settings = self.settings.model_copy(update={"user": user, "served_user": None})
                self._run_trials(request.model_copy(update={"settings": settings}), progress)
        return read_trials(request.journal)

    def _run_trials(self, request: Tau2Request, progress: Progress | None) -> None:
        expected = self.size() * request.trials

        def tick(lines: int) -> None:
            if progress:
                progress("τ²-bench", min(lines, expected), expected)  # a retried trial has a line per attempt

        run_trials = {"inspect": _run_inspect, "official": official.run_official}[self.settings.backend]
        for _ in range(self.settings.attempts):
            run_trials(request, tick)
            if self._is_complete(request):
                break

    def _is_complete(self, request: Tau2Request) -> bool:
        records = read_trials(request.journal)
        return len(records) == self.size() * request.trials and all(r.success is not None for r in records)

    def metrics(self, records: Sequence[TrialRecord]) -> dict[str, float | None]:
        """Pass@1 by domain, and what an agent that does nothing would have scored on the same tasks."""
        nothing: dict[str, float | None] = {
            f"{domain}, doing nothing": share for domain, share in do_nothing(records).items()
        }
        return pass_1_by_category(records) | nothing

    def regrade(self, records: Sequence[TrialRecord], run: RecordedRun) -> dict[str, Regraded]:
        """Verdicts of release 0.2.0's evaluator on the recorded messages, whichever of the backends with its tasks
        recorded them. The trials of an executable are missing: its release has other tasks."""
        if self.settings.official.executable and self.settings.backend == "official":
            return {}
        return regrade(self.settings.official.python, records, run)

    def caveats(self, records: Sequence[TrialRecord]) -> list[str]:
        """What doing nothing passes of the same tasks, where that is known."""
        shares = do_nothing(records).items()
        known = ", ".join(f"{domain} {100 * share:.0f} %" for domain, share in shares)
        return [f"doing nothing passes {known}"] if known else []


def _refuse_other_harness(request: Tau2Request) -> None:
    harnesses = {record.harness for record in read_trials(request.journal)}
    if others := sorted(harnesses - {request.settings.harness}):
        raise UserError(
            f"{request.directory} contains trials of {others[0]!r}; those of {request.settings.harness!r} cannot be "
            "mixed with them: expected a directory without trials"
        )


def _run_inspect(request: Tau2Request, tick: Callable[[int], None]) -> None:
    """Gives the worker its own temporary directory and removes it afterwards: its packages leave files behind."""
    write_json(request.directory / "request.json", request.model_dump(mode="json"))
    scratch = request.directory / "scratch"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    environment = {name: str(scratch) for name in ("TMPDIR", "XDG_DATA_HOME", "XDG_CACHE_HOME")}
    command = (sys.executable, "-m", "evaluation.tau2.inspect_worker", request.directory / "request.json")

    def count_lines() -> None:
        tick(request.journal.read_bytes().count(b"\n") if request.journal.is_file() else 0)

    try:
        run_worker(command, environment, request.directory / "worker.log", count_lines)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
