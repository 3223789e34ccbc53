"""BFCL v4's categories: how large they are, what they need, and how the official tables sum them up."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from evaluation.metrics.pass_at_k import counts
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
"""Tasks of every category that the official total counts. Format sensitivity is none of them: it varies the prompts of models that
are not served with function calling."""

WEIGHTS = {"non_live": 10, "live": 10, "irrelevance": 10, "multi_turn": 30, "agentic": 40}
"""Of the official total, in percent."""

EMBEDDING_MODEL = "models--sentence-transformers--all-MiniLM-L6-v2"
SEARCH_KEY = "SERPAPI_API_KEY"


def lacking(category: str, python: Path) -> str | None:
    """What a category needs that is not there, and how to get it; None if it can be run. `python` is BFCL's interpreter."""
    packages = python.absolute().parent.parent.glob("lib/python3*/site-packages/*")
    names = {path.name for path in packages} if category in ("memory_vector", *WEB_SEARCH) else set()
    install = f"uv pip install --python {python} -r requirements/"
    if category == "memory_vector":
        if not {"sentence_transformers", "faiss"} <= names:
            return f"sentence-transformers and faiss: {install}bfcl-vector.txt"
        if not any((_hub() / EMBEDDING_MODEL / "snapshots").glob("*")):
            return (
                f"the embedding model all-MiniLM-L6-v2 in {_hub()}: hf download sentence-transformers/all-MiniLM-L6-v2"
            )
    if category in WEB_SEARCH:
        if "serpapi" not in names:
            return f"google-search-results: {install}bfcl-web.txt"
        if not os.environ.get(SEARCH_KEY):
            return f"a SerpAPI key in the environment variable {SEARCH_KEY}"
    return None


def _hub() -> Path:
    home = Path(os.environ.get("HF_HOME") or "~/.cache/huggingface").expanduser()
    return Path(os.environ.get("HF_HUB_CACHE") or home / "hub").expanduser()


def accuracies(records: Sequence[TrialRecord]) -> dict[str, tuple[float, int]]:
    """Pass@1 and the number of tasks, of every category of which a trial was held."""
    table: dict[str, list[float]] = defaultdict(list)
    for task, (held, passed) in counts(records).items():
        if held:
            table[task.split("/")[1]].append(passed / held)
    return {category: (sum(values) / len(values), len(values)) for category, values in table.items()}


def aggregate(records: Sequence[TrialRecord]) -> dict[str, float | None]:
    """Pass@1 in the official groups, each over those of its categories that were run; None where none was.

    "agentic" and "overall" are the official figures, which count a category that was not run as 0: they are None unless all of
    theirs were. "agentic_without_web" is the memory's part of agentic (465 tasks where its three backends were run), and
    "overall_of_what_was_run" keeps the official weights of the groups that were.
    """
    held = accuracies(records)
    scores = {category: accuracy for category, (accuracy, _) in held.items()}
    simple = _mean(SIMPLE, scores)
    memory, web = _mean(MEMORY, scores), _mean(WEB_SEARCH, scores)
    live = [held[category] for category in LIVE if category in held]
    whole = set(SIZES) <= set(scores)
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
        "agentic": agentic if {*MEMORY, *WEB_SEARCH} <= set(scores) else None,
        "agentic_without_web": memory,
        "overall": of_run if whole else None,
        "overall_of_what_was_run": of_run,
    }


def _mean(categories: Sequence[str], scores: Mapping[str, float]) -> float | None:
    present = [scores[category] for category in categories if category in scores]
    return sum(present) / len(present) if present else None


def _weighted(groups: Mapping[str, float | None]) -> float | None:
    present = {group: score for group, score in groups.items() if score is not None}
    total = sum(WEIGHTS[group] for group in present)
    return sum(WEIGHTS[group] * score for group, score in present.items()) / total if total else None
