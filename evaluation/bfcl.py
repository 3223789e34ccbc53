"""BFCL v4 with the official data, runner and checker (paper, Section 4 and Appendix F).

The official package has an environment of its own (its pins fight ours); `evaluation.bfcl_worker` runs there, one process for each
trial and phase. What is not run: memory and web search, which Table 2 does not show.

What counts as what: a request the server refuses because it exceeds the model's context is the model's failure (stop reason
"context_length", success False in every category), since a longer context is part of being a better model and the official
harness fails it too. Everything else that keeps an answer from coming is infrastructure: tried again, then counted and not
scored. An answer cut at max_tokens is scored as it stands: officially, irrelevance asks only that no tool be called, so a
model that rambles passes it; see the truncations beside it.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from core.records import write_json
from core.settings import Settings, UserError, closest, typed
from evaluation.benchmark import Context
from evaluation.endpoint import Endpoint
from evaluation.passk import counts
from evaluation.results import Progress, TrialRecord, open_journal, read_trials, settled
from evaluation.worker import run_worker

VERSION = "2026.3.23"
OFFICIAL_STEPS = 20

SIMPLE = ("simple_python", "simple_java", "simple_javascript")
COMPOSED = ("multiple", "parallel", "parallel_multiple")
LIVE = ("live_simple", "live_multiple", "live_parallel", "live_parallel_multiple")
MULTI_TURN = ("multi_turn_base", "multi_turn_miss_func", "multi_turn_miss_param", "multi_turn_long_context")
IRRELEVANCE = ("irrelevance", "live_irrelevance")
RELEVANCE = ("live_relevance",)
CATEGORIES = SIMPLE + COMPOSED + LIVE + MULTI_TURN + IRRELEVANCE + RELEVANCE


class BfclSettings(Settings):
    """`smoke` lists task ids by category; subset "full" runs every task of `categories`. `max_steps` bounds the model's
    requests within one user turn (official: 20; another value is written into the harness name). `attempts` is how
    often tasks lost to infrastructure are tried; `retries` and `timeout_s` are per request."""

    subset: Literal["smoke", "full"] = "smoke"
    smoke: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    categories: tuple[str, ...] = CATEGORIES
    max_steps: int = Field(default=OFFICIAL_STEPS, ge=1)
    seed: int = 0
    attempts: int = Field(default=2, ge=1)
    retries: int = Field(default=2, ge=0)
    timeout_s: float = Field(default=600.0, gt=0)
    python: Path = Path(".venv-bfcl/bin/python")

    @property
    def harness(self) -> str:
        return f"bfcl-eval {VERSION}" + (f", {self.max_steps} steps" if self.max_steps != OFFICIAL_STEPS else "")

    def tasks(self) -> dict[str, tuple[str, ...] | None]:
        """Task ids by category, None for all. Raises UserError for a category that is not run here."""
        chosen: dict[str, tuple[str, ...] | None] = dict(self.smoke)
        if self.subset == "full":
            chosen = dict.fromkeys(self.categories)
        for category in chosen:
            if category not in CATEGORIES:
                raise UserError(f"unknown BFCL category {category!r}; {closest(category, list(CATEGORIES))}")
        return chosen


class Bfcl:
    """The benchmark of conf/benchmark/bfcl.yaml."""

    def __init__(self, **settings: Any) -> None:
        self.settings = typed(settings, BfclSettings, "benchmarks.bfcl")

    def run(self, context: Context, directory: Path, progress: Progress | None = None) -> list[TrialRecord]:
        return run(context.endpoint, self.settings, directory, context.trials, progress)

    def figures(self, records: Sequence[TrialRecord]) -> dict[str, float | None]:
        return aggregate(records)


def run(
    endpoint: Endpoint, settings: BfclSettings, directory: Path, trials: int, progress: Progress | None = None
) -> list[TrialRecord]:
    """Hold `trials` trials of the chosen tasks and return their records, also kept in `directory`/trials.jsonl.

    Called again with the same arguments it goes on where it was interrupted. Raises UserError for wrong settings and
    HarnessError if the official code breaks down.
    """
    tasks = settings.tasks()
    if not settings.python.is_file():
        raise UserError(f"{settings.python}: BFCL's environment is not there; `make setup` builds it")
    journal = directory / "trials.jsonl"
    for trial in range(trials):
        if (directory / f"trial-{trial}" / "done").exists():
            continue
        records = _run_trial(endpoint, settings, tasks, directory / f"trial-{trial}", trial, progress)
        with open_journal(journal) as file:
            known = settled(journal)
            for record in records:
                if record.key not in known:
                    file.append(record, record.key)
        if all(record.success is not None for record in records):
            (directory / f"trial-{trial}" / "done").touch()
    return read_trials(journal)


def aggregate(records: Sequence[TrialRecord]) -> dict[str, float | None]:
    """Pass@1 in the official groups; None where nothing of a group was held.

    Means are over the categories that were run: the official total counts a missing one as 0.
    """
    table: dict[str, list[float]] = defaultdict(list)
    for task, (held, passed) in counts(records).items():
        if held:
            table[task.split("/")[1]].append(passed / held)
    accuracy = {category: sum(values) / len(values) for category, values in table.items()}

    def mean(categories: Sequence[str], scores: Mapping[str, float] = accuracy) -> float | None:
        present = [scores[category] for category in categories if category in scores]
        return sum(present) / len(present) if present else None

    simple = mean(SIMPLE)
    non_live = accuracy | ({"simple": simple} if simple is not None else {})
    live = [value for category in LIVE for value in table.get(category, [])]
    return {
        "non_live": mean(("simple", *COMPOSED), non_live),
        "live": sum(live) / len(live) if live else None,
        "multi_turn": mean(MULTI_TURN),
        "irrelevance": mean(IRRELEVANCE),
        "relevance": mean(RELEVANCE),
    }


def _run_trial(
    endpoint: Endpoint,
    settings: BfclSettings,
    tasks: dict[str, tuple[str, ...] | None],
    root: Path,
    trial: int,
    progress: Progress | None,
) -> list[TrialRecord]:
    request = {
        "tasks": tasks,
        "model": endpoint.model,
        "sampling": endpoint.sampling.model_dump(),
        "trial": trial,
        "seed": settings.seed,
        "concurrency": endpoint.concurrency,
        "max_steps": settings.max_steps,
        "retries": settings.retries,
        "timeout": settings.timeout_s,
    }
    run_phase = partial(_run_phase, endpoint, settings.python, root, request)
    expected = sum(len(ids) for ids in tasks.values() if ids is not None)

    def tick() -> None:
        if progress:
            done = sum(path.read_bytes().count(b"\n") for path in (root / "result").rglob("*_result.json"))
            progress(f"BFCL trial {trial}", done, max(expected, done))

    for _ in range(settings.attempts):
        run_phase("generate", tick)
        answers = _read(root / "result", "*_result.json")
        if not any(_failure(answer) == "infrastructure" for answer in answers):
            break
    if any(_failure(answer) is None for answer in answers):
        run_phase("score", lambda: None)
    wrong = {line["id"] for line in _read(root / "score", "*_score.json") if "id" in line}
    return [_record(answer, answer["id"] in wrong, endpoint, settings, trial) for answer in answers]


def _run_phase(
    endpoint: Endpoint, python: Path, root: Path, request: dict[str, Any], phase: str, tick: Callable[[], None]
) -> None:
    write_json(root / f"{phase}.json", {**request, "phase": phase})
    environment = {
        "BFCL_PROJECT_ROOT": str(root.resolve()),
        "OPENAI_BASE_URL": endpoint.base_url,
        "OPENAI_API_KEY": endpoint.api_key(),
    }
    script = Path(__file__).with_name("bfcl_worker.py")
    # -P: an import in the official code must not find a file of this directory.
    run_worker((python, "-P", script, root / f"{phase}.json"), environment, root / f"{phase}.log", tick)


def _read(root: Path, pattern: str) -> list[dict[str, Any]]:
    return [json.loads(line) for path in sorted(root.rglob(pattern)) for line in path.read_text().splitlines()]


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
