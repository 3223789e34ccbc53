"""One phase of one BFCL trial with the official code, run by evaluation.bfcl.benchmark with the Python of BFCL's own environment.

    python -P -m evaluation.bfcl.worker REQUEST.json         BFCL_PROJECT_ROOT=<the trial's directory>

That environment lacks this project's packages: only modules named evaluation.bfcl_* that need none of them are imported.
REQUEST.json holds {"phase": "generate" | "score", "tasks": {category: [ids] | null for all}, "model", "sampling", "trial", "seed",
"concurrency", "max_steps", "retries", "timeout"}.

A new process for every phase, because the simulated APIs live in module globals: a second trial, or scoring after generating,
would start from a state already changed. What is generated goes to result/; scoring reads scorable/, a copy without the entries
that have a "failure": the official scorer takes an error text for an answer and gives a dead server full marks for irrelevance.
"""

from __future__ import annotations

import json
import os
import sys
from argparse import Namespace
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from evaluation.bfcl.worker.client import Client, Limits
from evaluation.bfcl.worker.handler import ServedHandler
from evaluation.bfcl.worker.memory import prerequisites, restore
from evaluation.bfcl.worker.official import (
    MODEL_CONFIG_MAPPING,
    ModelConfig,
    base_handler,
    eval_runner,
    generation,
    load_dataset_entry,
)
from evaluation.bfcl.worker.tool_calls import JsonObject

# "_" would be taken for "/" by the official code; "FC" selects its function-calling mode.
REGISTERED = "served-FC"
PATIENCE = 8
"""So many times the concurrency may requests be given up in a row before the server is taken for dead."""
CHECKERS = ("ast", "multi_turn", "agentic", "relevance")


def generate(request: JsonObject, root: Path) -> None:
    """Answer every entry that has no answer yet; entries lost to infrastructure are tried again."""
    answered: set[str] = set()
    for path in (root / "result").rglob("*_result.json"):
        kept = [line for line in lines(path) if line.get("failure") != "infrastructure"]
        replace_lines(path, kept)
        answered |= {line["id"] for line in kept}
    entries = []
    for category, ids in request["tasks"].items():
        every = load_dataset_entry(category)
        if category.startswith("memory_"):
            backend = category.removeprefix("memory_")
            snapshots = root / "result" / REGISTERED / "agentic/memory" / backend / "memory_snapshot"
            restore(snapshots, prerequisites(every), answered)
        entries += chosen(category, every, ids)
    base_handler.MAXIMUM_STEP_LIMIT = request["max_steps"]
    arguments = Namespace(
        temperature=request["sampling"]["temperature"],
        num_threads=request["concurrency"],
        result_dir=root / "result",
        run_ids=False,
        allow_overwrite=False,
        include_input_log=False,
        exclude_state_log=True,
    )
    pending = generation.collect_test_cases(arguments, REGISTERED, list(request["tasks"]), entries)
    generation.generate_results(arguments, REGISTERED, pending)


def chosen(category: str, every: list[JsonObject], ids: list[str] | None) -> list[JsonObject]:
    """The entries named by `ids`, all for None, with the prerequisites of those that have any."""
    if ids is None:
        return every
    if unknown := sorted(set(ids) - {entry["id"] for entry in every}):
        sys.exit(f"BFCL category {category} has no task {unknown[0]!r}")
    wanted = set(ids).union(*(entry.get("depends_on", ()) for entry in every if entry["id"] in ids))
    return [entry for entry in every if entry["id"] in wanted]


def score(request: JsonObject, root: Path) -> None:
    """Score the answers with the official checker."""
    for path in (root / "result").rglob("*_result.json"):
        answered = [line for line in lines(path) if "failure" not in line]
        if answered and "_prereq_" not in path.name:
            replace_lines(root / "scorable" / path.relative_to(root / "result"), answered)
    for name in CHECKERS:
        checker = f"_evaluate_single_{name}_entry"
        setattr(eval_runner, checker, guarded(getattr(eval_runner, checker)))
    eval_runner.main([REGISTERED], list(request["tasks"]), root / "scorable", root / "score", partial_eval=True)


def guarded(check: Callable[..., JsonObject]) -> Callable[..., JsonObject]:
    """An answer so odd that the official checker breaks down over it is wrong; officially it would end the whole scoring, as would
    half a surrogate pair, which no score file can hold."""

    def checked(handler: ServedHandler, name: str, *arguments: Any, **more: Any) -> JsonObject:
        try:
            verdict = check(handler, name, *arguments, **more)
        except Exception as error:
            why = f"the official checker raised {type(error).__name__}: {error}"
            verdict = {"id": name, "valid": False, "error": [why], "error_type": "checker_broke_down"}
        text = json.dumps(verdict, ensure_ascii=False, default=str).encode(errors="replace")
        writable: JsonObject = json.loads(text)
        return writable

    return checked


def lines(path: Path) -> list[JsonObject]:
    """The records of a result file, without a last line that a killed process left torn."""
    records = [json.loads(line) for line in path.read_text().split("\n")[:-1]]
    for record in records:
        # The official code catches whatever an entry raised and stores it as the model's words.
        if "traceback" in record:
            record["failure"] = "infrastructure"
    return records


def replace_lines(path: Path, records: list[JsonObject]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".fresh")
    fresh.write_text("".join(json.dumps(record) + "\n" for record in records))
    fresh.replace(path)


def main() -> None:
    request = json.loads(Path(sys.argv[1]).read_text())
    concurrency = request["concurrency"]
    limits = Limits(concurrency, request["retries"], request["timeout"], patience=PATIENCE * concurrency)
    client = Client(os.environ["OPENAI_BASE_URL"], os.environ["OPENAI_API_KEY"], limits)
    MODEL_CONFIG_MAPPING[REGISTERED] = ModelConfig(
        model_name=REGISTERED,
        display_name=REGISTERED,
        url="",
        org="",
        license="",
        model_handler=partial(ServedHandler, client, request),
        underscore_to_dot=True,
    )
    root = Path(os.environ["BFCL_PROJECT_ROOT"])
    {"generate": generate, "score": score}[request["phase"]](request, root)


if __name__ == "__main__":
    main()
