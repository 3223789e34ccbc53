"""BFCL v4 with the official data, runner and checker (paper, Section 4 and Appendix F).

The official package pins versions that conflict with ours, so it has its own environment. `evaluation.bfcl.worker` runs
there, one process per trial and phase. Every category can run; memory_vector needs its embedding model, web search a
key for SerpAPI.

What counts as what:
- A request that the server refuses because it exceeds the model's context is the model's failure (stop reason
  "context_length", success False in every category): a longer context is part of being a better model, and the official
  harness fails it too.
- Everything else that prevents an answer is an infrastructure error: retried, then counted and not scored.
- An answer cut at max_tokens is scored as it is. Officially, irrelevance only requires that no tool is called, so a
  rambling model passes it; compare the truncations.
- The conversations that fill the memory before its questions are prerequisites, not trials: their tokens and calls are
  in no record, and an infrastructure error in one of them carries over to the questions that depend on it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from core.files import write_json
from core.journal import write_jsonl
from core.server_protocol import total
from core.settings import Settings, UserError, closest, typed
from evaluation.benchmark import Benchmark, EvaluationContext, RecordedRun, Regraded
from evaluation.bfcl.categories import SIZES, aggregate, missing_requirement
from evaluation.bfcl.disputed import DISPUTED
from evaluation.bfcl.failure_reasons import failure_reasons, truncated
from evaluation.bfcl.official_files import AnswerCounter, failure_of, read_answers, read_scores
from evaluation.endpoint import Endpoint
from evaluation.transcripts import write_transcript
from evaluation.trials import Progress, TrialRecord, read_trials
from evaluation.worker_process import HarnessError, run_worker

VERSION = "2026.3.23"
OFFICIAL_STEPS = 20
REPOSITORY = Path(__file__).parents[2]
UNREACHABLE = "http://127.0.0.1:9/v1"
"""A base URL without a server: scoring requests nothing."""

Tasks = dict[str, tuple[str, ...] | None]
"""Task ids by category; None selects all of a category."""


class BfclSettings(Settings):
    """Settings of BFCL: the keys of conf/benchmark/bfcl.yaml."""

    subset: Literal["smoke", "full"] = Field(
        default="smoke", description="smoke: the tasks listed in `smoke`; full: every task of `categories`"
    )
    smoke: dict[str, tuple[str, ...]] = Field(
        default_factory=dict, description="task ids by category, for subset=smoke"
    )
    categories: tuple[str, ...] | None = Field(
        default=None, description="categories for subset=full and `first`; null: all whose requirements are installed"
    )
    first: int | None = Field(
        default=None,
        ge=1,
        description="run this many tasks of each of `categories`, the first ones, whatever `subset` is",
    )
    max_steps: int = Field(
        default=OFFICIAL_STEPS,
        ge=1,
        description=f"model requests per user turn; official: {OFFICIAL_STEPS}, others are added to the harness name",
    )
    seed: int = Field(default=0, description="random seed of the requests")
    attempts: int = Field(default=2, ge=1, description="attempts per task with an infrastructure error")
    retries: int = Field(default=2, ge=0, description="retries per request")
    timeout_s: float = Field(default=1800.0, gt=0, description="time limit per request, in seconds, reading included")
    python: Path = Field(
        default=Path(".venv-bfcl/bin/python"), description="interpreter of the environment with the official package"
    )

    @property
    def harness(self) -> str:
        return f"bfcl-eval {VERSION}" + (f", {self.max_steps} steps" if self.max_steps != OFFICIAL_STEPS else "")

    def tasks(self) -> Tasks:
        """The selected tasks. Raises UserError for an unknown category and for one whose requirements are missing."""
        if not self.python.is_file():
            raise UserError(f"{self.python}: BFCL's environment is not installed; `make setup` builds it")
        by_category = self.subset == "full" or self.first is not None
        if by_category and self.categories is None:
            return {category: None for category in SIZES if missing_requirement(category, self.python) is None}
        selected: Tasks = dict.fromkeys(self.categories or ()) if by_category else dict(self.smoke)
        for category in selected:
            if category not in SIZES:
                raise UserError(f"unknown BFCL category {category!r}; {closest(category, list(SIZES))}")
            if requirement := missing_requirement(category, self.python):
                raise UserError(f"BFCL category {category} needs {requirement}")
        return selected


class Bfcl(Benchmark):
    """The benchmark of conf/benchmark/bfcl.yaml."""

    NEUTRAL = ("attempts", "retries", "timeout_s", "python")

    def __init__(self, **settings: Any) -> None:
        """Raises UserError for invalid settings and for a category whose requirements are missing."""
        self.settings = typed(settings, BfclSettings, "benchmarks.bfcl")
        self._tasks = self.settings.tasks()

    def size(self) -> int:
        first = self.settings.first
        return sum(
            len(ids) if ids is not None else min(first or SIZES[category], SIZES[category])
            for category, ids in self._tasks.items()
        )

    def run(self, context: EvaluationContext, directory: Path, progress: Progress | None = None) -> list[TrialRecord]:
        """Runs the trials and returns their records, which are also in `directory`/trials.jsonl; failed trials have a
        transcript each.

        A second call with the same arguments resumes an interrupted run. Raises HarnessError if the official code
        crashes or does not answer every task.
        """
        journal = directory / "trials.jsonl"
        for trial in range(context.trials):
            done = directory / f"trial-{trial}" / "done"
            if done.exists():
                continue
            records = self._run_trial(context.endpoint, directory, trial, progress)
            # Written together, not one by one: they are derived from the results, which are already on disk.
            previous = {record.key: record for record in read_trials(journal)}
            write_jsonl(journal, (previous | {record.key: record for record in records}).values())
            if all(record.success is not None for record in records):
                done.touch()
        return read_trials(journal)

    def metrics(self, records: Sequence[TrialRecord]) -> dict[str, float | None]:
        """The official aggregates, and the same without disputed tasks."""
        without = aggregate(records, DISPUTED)
        return aggregate(records) | {f"undisputed_{group}": score for group, score in without.items()}

    def caveats(self, records: Sequence[TrialRecord]) -> list[str]:
        """That it is a subset, which categories are missing, and how many tasks are disputed."""
        tasks = {record.task_id for record in records}
        full = sum(SIZES.values())
        chosen = f"the first {self.settings.first} of each category" if self.settings.first else "a fixed selection"
        subset = self.settings.first or self.settings.subset == "smoke"
        notes = [f"a subset, not the official score: {len(tasks)} of {full:,} tasks, {chosen}"] if subset else []
        if missing := [category for category in SIZES if category not in self._tasks]:
            notes.append(f"not run: {', '.join(missing)}")
        if disputed := len(tasks & DISPUTED.keys()):
            notes.append(
                f"undisputed: without {disputed} of these {len(tasks)} tasks, which no answer can pass that follows the "
                "tools as the task states them (evaluation/bfcl/disputed.py)"
            )
        return notes

    def regrade(self, records: Sequence[TrialRecord], run: RecordedRun) -> dict[str, Regraded]:
        """Verdicts of the official checker, run again on copies of the recorded answers."""
        verdicts = {}
        for trial in sorted({record.trial for record in records}):
            name = f"trial-{trial}"
            root = run.scratch / name
            shutil.copytree(run.directory / name, root, ignore=shutil.ignore_patterns("score", "scorable"))
            request = json.loads((root / "generate.json").read_text(encoding="utf-8"))
            endpoint = Endpoint(base_url=UNREACHABLE, model=request["model"])
            answers = list(read_answers(root))
            if any(failure_of(answer) is None for answer in answers):
                self._run_phase(endpoint, root, request, "score", lambda: None)
            scores = read_scores(root)
            for answer in answers:
                score = scores.get(answer["id"], {})
                record = _record(answer, bool(score), endpoint, self.settings, trial)
                detail = "; ".join(failure_reasons(answer, score)) if record.success is False else ""
                verdicts[record.key] = Regraded(record.success, detail)
        return verdicts

    def _run_trial(
        self, endpoint: Endpoint, directory: Path, trial: int, progress: Progress | None
    ) -> list[TrialRecord]:
        root = directory / f"trial-{trial}"
        request = self._request(endpoint, trial)
        answers = self._generate(endpoint, root, request, progress)
        if any(failure_of(answer) is None for answer in answers):
            self._run_phase(endpoint, root, request, "score", lambda: None)
        scores = read_scores(root)
        records = []
        for answer in answers:
            score = scores.get(answer["id"], {})
            record = _record(answer, bool(score), endpoint, self.settings, trial)
            if record.success is False:
                messages = [truncated(message) for message in answer.get("messages", ())]
                record = write_transcript(directory, record, failure_reasons(answer, score), messages)
            records.append(record)
        return records

    def _request(self, endpoint: Endpoint, trial: int) -> dict[str, Any]:
        """The worker's request, without its phase."""
        return {
            "tasks": self._tasks,
            "first": self.settings.first,
            "model": endpoint.model,
            "body": endpoint.body(),
            "trial": trial,
            "seed": self.settings.seed,
            "concurrency": endpoint.concurrency,
            "max_steps": self.settings.max_steps,
            "retries": self.settings.retries,
            "timeout_s": self.settings.timeout_s,
        }

    def _generate(
        self, endpoint: Endpoint, root: Path, request: dict[str, Any], progress: Progress | None
    ) -> list[dict[str, Any]]:
        """Lets the model answer every task. Raises HarnessError unless each has exactly one answer."""
        most = self.settings.first or max(SIZES.values())
        expected = sum(
            min(SIZES[category], most) if ids is None else len(set(ids)) for category, ids in self._tasks.items()
        )
        count = AnswerCounter(root / "result")

        def tick() -> None:
            if progress:
                progress(f"BFCL trial {request['trial']}", count(), expected)

        for _ in range(self.settings.attempts):
            self._run_phase(endpoint, root, request, "generate", tick)
            answers = list(read_answers(root))
            if not any(failure_of(answer) == "infrastructure" for answer in answers):
                break
        answered = len({answer["id"] for answer in answers})
        if answered != expected or len(answers) != expected:
            raise HarnessError(
                f"BFCL left {len(answers)} answers to {answered} tasks in {root / 'result'}; "
                f"expected one answer to each of {expected}"
            )
        return answers

    def _run_phase(
        self, endpoint: Endpoint, root: Path, request: dict[str, Any], phase: str, tick: Callable[[], None]
    ) -> None:
        write_json(root / f"{phase}.json", {**request, "phase": phase})
        environment = {
            "BFCL_PROJECT_ROOT": str(root.resolve()),
            "OPENAI_BASE_URL": endpoint.base_url,
            "OPENAI_API_KEY": endpoint.api_key(),
            "PYTHONPATH": str(REPOSITORY),
            "HF_HUB_OFFLINE": "1",
            "WANDB_BFCL_PROJECT": "",  # if set, the official code logs to it
        }
        # -P: imports of the official code must not find files in the working directory.
        command = (self.settings.python, "-P", "-m", "evaluation.bfcl.worker", root / f"{phase}.json")
        run_worker(command, environment, root / f"{phase}.log", tick)


def _record(answer: dict[str, Any], wrong: bool, endpoint: Endpoint, settings: BfclSettings, trial: int) -> TrialRecord:
    failure = failure_of(answer)
    errored = failure == "infrastructure"
    requests = answer.get("requests", [])
    return TrialRecord(
        benchmark="bfcl",
        harness=settings.harness,
        category=answer["id"].rsplit("_", 1)[0],
        task_id=answer["id"],
        trial=trial,
        model=endpoint.model,
        success=None if errored else failure is None and not wrong,
        infrastructure_error=answer["result"] if errored else None,
        stop_reason=failure or _stop_reason(answer["result"], requests, settings.max_steps),
        truncations=sum(request["stop_reason"] == "length" for request in requests),
        calls=sum(request["calls"] for request in requests),
        valid_calls=sum(request["valid_calls"] for request in requests),
        sampling=endpoint.sampling,
        prompt_tokens=total(request["prompt_tokens"] for request in requests),
        completion_tokens=total(request["completion_tokens"] for request in requests),
        seconds=round(sum(request["seconds"] for request in requests), 3),
    )


def _stop_reason(result: Any, requests: list[dict[str, Any]], max_steps: int) -> str:
    """ "max_steps" if the last user turn exceeded it, else the finish reason of the last response."""
    steps = len(result[-1]) if result and isinstance(result, list) and isinstance(result[-1], list) else 0
    return "max_steps" if steps > max_steps else str(requests[-1]["stop_reason"])
