"""Runs one phase of one BFCL trial with the official code.

    python -P -m evaluation.bfcl.worker REQUEST.json         BFCL_PROJECT_ROOT=<the trial's directory>

evaluation.bfcl.benchmark starts it with the Python of BFCL's own environment. This project's dependencies are missing
there, so of this project the worker imports only its own package and core.server_protocol.

REQUEST.json contains {"phase": "generate" | "score", "tasks": {category: [ids], or null for all}, "first": number of
tasks of each category given as null, or null, "model", "body", "trial", "seed", "concurrency", "max_steps", "retries",
"timeout_s"}; "body" are the fields of every request to the model.

Each phase needs a new process, because the simulated APIs keep their state in module globals: a second trial, or
scoring after generating, would start from a changed state. Answers go to result/. Scoring reads scorable/, a copy
without the entries that have a "failure": the official scorer takes an error text for an answer and gives a dead server
full marks for irrelevance.
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
from evaluation.bfcl.worker.memory import prerequisites, restore, use_packaged_encoder
from evaluation.bfcl.worker.official import (
    MODEL_CONFIG_MAPPING,
    ModelConfig,
    base_handler,
    eval_runner,
    generation,
    load_dataset_entry,
    remove_placeholders,
)
from evaluation.bfcl.worker.tool_calls import JsonObject

# The official code turns "_" into "/"; "FC" selects its function-calling mode.
REGISTERED = "served-FC"
PATIENCE = 8
"""The server counts as dead after PATIENCE * concurrency consecutive failed requests."""
CHECKERS = ("ast", "multi_turn", "agentic", "relevance")


def generate(request: JsonObject, root: Path) -> None:
    """Lets the model answer every entry that has no answer yet; entries with an infrastructure error are retried."""
    answered = drop_infrastructure_errors(root)
    entries = []
    for category, ids in request["tasks"].items():
        all_entries = load_dataset_entry(category)
        if category.startswith("memory_"):
            backend = category.removeprefix("memory_")
            if backend == "vector":
                remove_placeholders()
                use_packaged_encoder()
            snapshots = root / "result" / REGISTERED / "agentic/memory" / backend / "memory_snapshot"
            restore(snapshots, prerequisites(all_entries), answered)
        entries += select(category, all_entries, ids, request["first"])
    base_handler.MAXIMUM_STEP_LIMIT = request["max_steps"]
    arguments = Namespace(
        temperature=request["body"].get("temperature"),
        num_threads=request["concurrency"],
        result_dir=root / "result",
        run_ids=False,
        allow_overwrite=False,
        include_input_log=False,
        exclude_state_log=True,
    )
    pending = generation.collect_test_cases(arguments, REGISTERED, list(request["tasks"]), entries)
    generation.generate_results(arguments, REGISTERED, pending)


def drop_infrastructure_errors(root: Path) -> set[str]:
    """Removes the entries with an infrastructure error from the result files; returns the ids of the others."""
    answered: set[str] = set()
    for path in (root / "result").rglob("*_result.json"):
        answers = [answer for answer in read_records(path) if answer.get("failure") != "infrastructure"]
        write_records(path, answers)
        answered |= {answer["id"] for answer in answers}
    return answered


def select(category: str, entries: list[JsonObject], ids: list[str] | None, first: int | None) -> list[JsonObject]:
    """The entries with the given `ids` and their prerequisites; for None those of the `first` tasks, or all entries."""
    if ids is None and first is None:
        return entries
    if ids is None:
        ids = [entry["id"] for entry in entries if "_prereq_" not in entry["id"]][:first]
    if unknown := sorted(set(ids) - {entry["id"] for entry in entries}):
        sys.exit(f"BFCL category {category} has no task {unknown[0]!r}")
    selected = set(ids).union(*(entry.get("depends_on", ()) for entry in entries if entry["id"] in ids))
    return [entry for entry in entries if entry["id"] in selected]


def score(request: JsonObject, root: Path) -> None:
    """Scores the answers with the official checker."""
    for path in (root / "result").rglob("*_result.json"):
        answers = [answer for answer in read_records(path) if "failure" not in answer]
        if answers and "_prereq_" not in path.name:
            write_records(root / "scorable" / path.relative_to(root / "result"), answers)
    for name in CHECKERS:
        checker = f"_evaluate_single_{name}_entry"
        setattr(eval_runner, checker, guarded(getattr(eval_runner, checker)))
    eval_runner.main([REGISTERED], list(request["tasks"]), root / "scorable", root / "score", partial_eval=True)


def guarded(check: Callable[..., JsonObject]) -> Callable[..., JsonObject]:
    """Scores an answer on which the official checker crashes as wrong, and replaces lone surrogates, which UTF-8 cannot
    encode: officially either would abort the scoring of all answers."""

    def guarded_check(handler: ServedHandler, name: str, *arguments: Any, **more: Any) -> JsonObject:
        try:
            verdict = check(handler, name, *arguments, **more)
        except Exception as error:
            reason = f"the official checker raised {type(error).__name__}: {error}"
            verdict = {"id": name, "valid": False, "error": [reason], "error_type": "checker_broke_down"}
        encoded = json.dumps(verdict, ensure_ascii=False, default=str).encode(errors="replace")
        encodable: JsonObject = json.loads(encoded)
        return encodable

    return guarded_check


def read_records(path: Path) -> list[JsonObject]:
    """The records of a result file, without an incomplete last line that a killed process may have left."""
    records = [json.loads(line) for line in path.read_text().split("\n")[:-1]]
    for record in records:
        # The official code catches every exception of an entry and stores it as the model's answer.
        if "traceback" in record:
            record["failure"] = "infrastructure"
    return records


def write_records(path: Path, records: list[JsonObject]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".fresh")
    temporary.write_text("".join(json.dumps(record) + "\n" for record in records))
    temporary.replace(path)


def main() -> None:
    request = json.loads(Path(sys.argv[1]).read_text())
    concurrency = request["concurrency"]
    limits = Limits(concurrency, request["retries"], request["timeout_s"], patience=PATIENCE * concurrency)
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
