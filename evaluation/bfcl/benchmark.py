"""BFCL v4 with the official data, runner and checker (paper, Section 4 and Appendix F).

The official package has an environment of its own (its pins fight ours); `evaluation.bfcl.worker` runs there, one process for each
trial and phase. Every category can be run: memory_vector where its embedding model is there, web search where a key is given.

What counts as what: a request the server refuses because it exceeds the model's context is the model's failure (stop reason
"context_length", success False in every category), since a longer context is part of being a better model and the official
harness fails it too. Everything else that keeps an answer from coming is infrastructure: tried again, then counted and not
scored. An answer cut at max_tokens is scored as it stands: officially, irrelevance asks only that no tool be called, so a
model that rambles passes it; see the truncations beside it. The conversations that fill the memory before its questions are
prerequisites, no trials: their tokens and calls are in no record, and a lost one loses the questions after it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from core.journal import write_json, write_jsonl
from core.settings import Settings, UserError, closest, typed
from evaluation.benchmark import Benchmark, EvaluationContext
from evaluation.bfcl.categories import SIZES, aggregate, lacking
from evaluation.bfcl.failure_reasons import readable, reasons
from evaluation.endpoint import Endpoint
from evaluation.transcripts import write_transcript
from evaluation.trials import Progress, TrialRecord, read_trials
from evaluation.worker_process import HarnessError, run_worker

VERSION = "2026.3.23"
OFFICIAL_STEPS = 20
REPOSITORY = Path(__file__).parents[2]

Tasks = dict[str, tuple[str, ...] | None]
"""Task ids by category, None for all."""


class BfclSettings(Settings):
    """`smoke` lists task ids by category; subset "full" runs every task of `categories`, None for all that can be run here.
    `max_steps` bounds the model's requests within one user turn (official: 20; another value is written into the harness
    name). `attempts` is how often tasks lost to infrastructure are tried; `retries` and `timeout_s` are per request."""

    subset: Literal["smoke", "full"] = "smoke"
    smoke: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    categories: tuple[str, ...] | None = None
    max_steps: int = Field(default=OFFICIAL_STEPS, ge=1)
    seed: int = 0
    attempts: int = Field(default=2, ge=1)
    retries: int = Field(default=2, ge=0)
    timeout_s: float = Field(default=1800.0, gt=0)
    python: Path = Path(".venv-bfcl/bin/python")

    @property
    def harness(self) -> str:
        return f"bfcl-eval {VERSION}" + (f", {self.max_steps} steps" if self.max_steps != OFFICIAL_STEPS else "")

    def tasks(self) -> Tasks:
        """What is to be run. Raises UserError for a category that is unknown or lacks what it needs."""
        if not self.python.is_file():
            raise UserError(f"{self.python}: BFCL's environment is not there; `make setup` builds it")
        if self.subset == "full" and self.categories is None:
            return {category: None for category in SIZES if lacking(category, self.python) is None}
        chosen: Tasks = dict.fromkeys(self.categories or ()) if self.subset == "full" else dict(self.smoke)
        for category in chosen:
            if category not in SIZES:
                raise UserError(f"unknown BFCL category {category!r}; {closest(category, list(SIZES))}")
            if missing := lacking(category, self.python):
                raise UserError(f"BFCL category {category} needs {missing}")
        return chosen


class Bfcl(Benchmark):
    """The benchmark of conf/benchmark/bfcl.yaml."""

    NEUTRAL = ("attempts", "retries", "timeout_s", "python")

    def __init__(self, **settings: Any) -> None:
        """Raises UserError for wrong settings, and where a category lacks what it needs."""
        self.settings = typed(settings, BfclSettings, "benchmarks.bfcl")
        self.settings.tasks()

    def run(self, context: EvaluationContext, directory: Path, progress: Progress | None = None) -> list[TrialRecord]:
        return run(context.endpoint, self.settings, directory, context.trials, progress)

    def metrics(self, records: Sequence[TrialRecord]) -> dict[str, float | None]:
        return aggregate(records)


def run(
    endpoint: Endpoint, settings: BfclSettings, directory: Path, trials: int, progress: Progress | None = None
) -> list[TrialRecord]:
    """Hold `trials` trials of the chosen tasks and return their records, also kept in `directory`/trials.jsonl; failed ones
    have a transcript each.

    Called again with the same arguments it goes on where it was interrupted. Raises UserError for wrong settings and
    HarnessError if the official code breaks down or leaves a task without an answer.
    """
    tasks = settings.tasks()
    journal = directory / "trials.jsonl"
    for trial in range(trials):
        root = directory / f"trial-{trial}"
        if (root / "done").exists():
            continue
        records = _run_trial(endpoint, settings, tasks, directory, trial, progress)
        # At once, not one by one: they are made from the results, which are on disk.
        known = {record.key: record for record in read_trials(journal)}
        write_jsonl(journal, (known | {record.key: record for record in records}).values())
        if all(record.success is not None for record in records):
            (root / "done").touch()
    return read_trials(journal)


def _run_trial(
    endpoint: Endpoint, settings: BfclSettings, tasks: Tasks, directory: Path, trial: int, progress: Progress | None
) -> list[TrialRecord]:
    root = directory / f"trial-{trial}"
    request = {
        "tasks": tasks,
        "model": endpoint.model,
        "sampling": endpoint.sampling.body(),
        "trial": trial,
        "seed": settings.seed,
        "concurrency": endpoint.concurrency,
        "max_steps": settings.max_steps,
        "retries": settings.retries,
        "timeout": settings.timeout_s,
    }
    run_phase = partial(_run_phase, endpoint, settings.python, root, request)
    expected = sum(SIZES[category] if ids is None else len(set(ids)) for category, ids in tasks.items())
    count = _Count(root / "result")
    for _ in range(settings.attempts):
        run_phase("generate", lambda: progress(f"BFCL trial {trial}", count(), expected) if progress else None)
        answers = list(_answers(root))
        if not any(_failure(answer) == "infrastructure" for answer in answers):
            break
    if (found := len({answer["id"] for answer in answers})) != expected or len(answers) != expected:
        raise HarnessError(
            f"BFCL left {len(answers)} answers to {found} tasks in {root / 'result'}; expected one to each of {expected}"
        )
    if any(_failure(answer) is None for answer in answers):
        run_phase("score", lambda: None)
    verdicts = {line["id"]: line for line in _read(root / "score", "*_score.json") if "id" in line}
    records = []
    for answer in answers:
        verdict = verdicts.get(answer["id"], {})
        record = _record(answer, bool(verdict), endpoint, settings, trial)
        if record.success is False:
            messages = [readable(message) for message in answer.get("messages", ())]
            record = write_transcript(directory, record, reasons(answer, verdict), messages)
        records.append(record)
    return records


def _run_phase(
    endpoint: Endpoint, python: Path, root: Path, request: dict[str, Any], phase: str, tick: Callable[[], None]
) -> None:
    write_json(root / f"{phase}.json", {**request, "phase": phase})
    environment = {
        "BFCL_PROJECT_ROOT": str(root.resolve()),
        "OPENAI_BASE_URL": endpoint.base_url,
        "OPENAI_API_KEY": endpoint.api_key(),
        "PYTHONPATH": str(REPOSITORY),
        "HF_HUB_OFFLINE": "1",
        "WANDB_BFCL_PROJECT": "",  # the official code would log there by itself
    }
    # -P: an import in the official code must not find a file of the directory we were started in.
    command = (python, "-P", "-m", "evaluation.bfcl.worker", root / f"{phase}.json")
    run_worker(command, environment, root / f"{phase}.log", tick)


class _Count:
    """How many answers lie in the result files below `root`, prerequisites aside; every byte is read once."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._seen: dict[Path, tuple[int, int]] = {}

    def __call__(self) -> int:
        for path in self._root.rglob("*_result.json"):
            size = path.stat().st_size
            read, count = self._seen.get(path, (0, 0))
            if size < read:  # rewritten without what was lost
                read, count = 0, 0
            if "_prereq_" not in path.name and size > read:
                with path.open("rb") as file:
                    file.seek(read)
                    part = file.read(size - read)
                self._seen[path] = read + len(part), count + part.count(b"\n")
        return sum(count for _, count in self._seen.values())


def _answers(root: Path) -> Iterable[dict[str, Any]]:
    return (answer for answer in _read(root / "result", "*_result.json") if "_prereq_" not in answer["id"])


def _read(root: Path, pattern: str) -> Iterable[dict[str, Any]]:
    """Not by splitlines: in the official score files a text may hold other ends of lines."""
    for path in sorted(root.rglob(pattern)):
        yield from (json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line)


def _failure(answer: dict[str, Any]) -> str | None:
    """What kept the answer from coming, if anything: "context_length" or "infrastructure"; the latter too where the official
    code caught an exception that the worker did not foresee."""
    return answer.get("failure") or ("infrastructure" if "traceback" in answer else None)


def _record(answer: dict[str, Any], wrong: bool, endpoint: Endpoint, settings: BfclSettings, trial: int) -> TrialRecord:
    failure = _failure(answer)
    lost = failure == "infrastructure"
    requests = answer.get("requests", [])
    return TrialRecord(
        benchmark="bfcl",
        harness=settings.harness,
        category=answer["id"].rsplit("_", 1)[0],
        task_id=answer["id"],
        trial=trial,
        model=endpoint.model,
        success=None if lost else failure is None and not wrong,
        infrastructure_error=answer["result"] if lost else None,
        stop_reason=failure or _stop_reason(answer["result"], requests, settings.max_steps),
        truncations=sum(request["stop_reason"] == "length" for request in requests),
        calls=sum(request["calls"] for request in requests),
        valid_calls=sum(request["valid_calls"] for request in requests),
        sampling=endpoint.sampling,
        prompt_tokens=sum(request["prompt_tokens"] for request in requests),
        completion_tokens=sum(request["completion_tokens"] for request in requests),
        seconds=round(sum(request["seconds"] for request in requests), 3),
    )


def _stop_reason(result: Any, requests: list[dict[str, Any]], max_steps: int) -> str:
    """ "max_steps" if the last user turn took too many, else what the server said last."""
    steps = len(result[-1]) if result and isinstance(result, list) and isinstance(result[-1], list) else 0
    return "max_steps" if steps > max_steps else str(requests[-1]["stop_reason"])
