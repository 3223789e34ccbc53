"""BFCL v4's categories: their sizes and requirements, and the aggregates of the official tables."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from huggingface_hub import constants

from evaluation.bfcl.worker.memory import PACKAGED_MODEL
from evaluation.metrics.pass_at_k import trial_counts
from evaluation.trials import TrialRecord

SIMPLE = ("simple_python", "simple_java", "simple_javascript")
COMPOSED = ("multiple", "parallel", "parallel_multiple")
LIVE = ("live_simple", "live_multiple", "live_parallel", "live_parallel_multiple")
MULTI_TURN = ("multi_turn_base", "multi_turn_miss_func", "multi_turn_miss_param", "multi_turn_long_context")
IRRELEVANCE = ("irrelevance", "live_irrelevance")
RELEVANCE = ("live_relevance",)
MEMORY = ("memory_kv", "memory_rec_sum", "memory_vector")
WEB_SEARCH = ("web_search_base", "web_search_no_snippet")

SIZES = {
    "simple_python": 400,
    "simple_java": 100,
    "simple_javascript": 50,
    "multiple": 200,
    "parallel": 200,
    "parallel_multiple": 200,
    "irrelevance": 240,
    "live_simple": 258,
    "live_multiple": 1053,
    "live_parallel": 16,
    "live_parallel_multiple": 24,
    "live_irrelevance": 884,
    "live_relevance": 16,
    **dict.fromkeys(MULTI_TURN, 200),
    **dict.fromkeys(MEMORY, 155),
    **dict.fromkeys(WEB_SEARCH, 100),
}
"""Number of tasks of each category in the official total. Format sensitivity is not part of it: it varies the prompts
of models that do not use function calling."""

WEIGHTS = {"non_live": 10, "live": 10, "irrelevance": 10, "multi_turn": 30, "agentic": 40}
"""Weights of the groups in the official total, in percent."""

EMBEDDING_MODEL = "models--sentence-transformers--all-MiniLM-L6-v2"
SEARCH_KEY = "SERPAPI_API_KEY"


def missing_requirement(category: str, python: Path) -> str | None:
    """What a category needs that is not installed, and how to install it; None if it can run. `python` is BFCL's
    interpreter."""
    packages = python.absolute().parent.parent.glob("lib/python3*/site-packages/*")
    names = {path.name for path in packages} if category in ("memory_vector", *WEB_SEARCH) else set()
    if category == "memory_vector":
        if not {"sentence_transformers", "faiss"} <= names:
            return "sentence-transformers and faiss: make setup-vector"
        hub = Path(constants.HF_HUB_CACHE)
        if PACKAGED_MODEL not in names and not any((hub / EMBEDDING_MODEL / "snapshots").glob("*")):
            return f"the embedding model all-MiniLM-L6-v2 in its environment or in {hub}: make setup-vector"
    if category in WEB_SEARCH:
        if "serpapi" not in names:
            return f"google-search-results: uv pip install --python {python} -r requirements/bfcl-web.txt"
        if not os.environ.get(SEARCH_KEY):
            return f"a SerpAPI key in the environment variable {SEARCH_KEY}"
    return None


def _accuracies(records: Sequence[TrialRecord]) -> dict[str, tuple[float, int]]:
    """Pass@1 and the number of tasks of every category with a completed trial."""
    table: dict[str, list[float]] = defaultdict(list)
    for task, (completed, passed) in trial_counts(records).items():
        if completed:
            table[task.split("/")[1]].append(passed / completed)
    return {category: (sum(values) / len(values), len(values)) for category, values in table.items()}


def tasks_run(records: Sequence[TrialRecord]) -> Counter[str]:
    """The number of tasks of every category with a trial."""
    return Counter(category for category, _ in {(record.category, record.task_id) for record in records})


def aggregate(records: Sequence[TrialRecord], without: Collection[str] = ()) -> dict[str, float | None]:
    """Pass@1 of the official groups, each over those of its categories that were run; None if none was.

    "agentic" and "overall" are the official metrics. The official tables count a category that was not run as 0; here
    both are None unless all tasks of all their categories were run. "agentic_without_web" is the memory part of agentic
    (465 tasks if its three backends were run). "overall_of_what_was_run" keeps the official weights of the groups that
    were run. The tasks `without` count as run, but not in any score.
    """
    by_category = _accuracies([record for record in records if record.task_id not in without])
    scores = {category: accuracy for category, (accuracy, _) in by_category.items()}
    simple = _mean(SIMPLE, scores)
    memory, web = _mean(MEMORY, scores), _mean(WEB_SEARCH, scores)
    live = [by_category[category] for category in LIVE if category in by_category]
    run = tasks_run(records)
    complete = {category for category, size in SIZES.items() if run[category] == size and category in scores}
    groups = {
        "non_live": _mean(("simple", *COMPOSED), scores | ({} if simple is None else {"simple": simple})),
        "live": sum(accuracy * tasks for accuracy, tasks in live) / sum(tasks for _, tasks in live) if live else None,
        "multi_turn": _mean(MULTI_TURN, scores),
        "irrelevance": _mean(IRRELEVANCE, scores),
    }
    agentic = (memory + web) / 2 if memory is not None and web is not None else None
    of_run = _weighted({**groups, "agentic": memory if agentic is None else agentic})
    return {
        **groups,
        "relevance": _mean(RELEVANCE, scores),
        "memory": memory,
        "web_search": web,
        "agentic": agentic if {*MEMORY, *WEB_SEARCH} <= complete else None,
        "agentic_without_web": memory,
        "overall": of_run if complete == set(SIZES) else None,
        "overall_of_what_was_run": of_run,
    }


def _mean(categories: Sequence[str], scores: Mapping[str, float]) -> float | None:
    present = [scores[category] for category in categories if category in scores]
    return sum(present) / len(present) if present else None


def _weighted(groups: Mapping[str, float | None]) -> float | None:
    present = {group: score for group, score in groups.items() if score is not None}
    total = sum(WEIGHTS[group] for group in present)
    return sum(WEIGHTS[group] * score for group, score in present.items()) / total if total else None
