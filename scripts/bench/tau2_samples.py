"""Measures one side of scripts.bench.tau2_cost: `python -m scripts.bench.tau2_samples stock|ours REQUEST.json`.

It runs in its own process because it patches inspect's packages. The first task of the request is a warm-up; the others
are measured. Prints the CPU seconds per measured task.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

import inspect_ai

from evaluation.tau2.inspect_worker.databases import install_copy_on_read
from evaluation.tau2.inspect_worker.model import served_model
from evaluation.tau2.inspect_worker.run import domain_task, register_served_api, run_trials, skip_unused_imports
from evaluation.tau2.settings import Tau2Request
from evaluation.trials import open_journal


def run_stock(ids: Sequence[str], request: Tau2Request) -> None:
    """The package's own task with inspect's defaults. Only the model is ours: the answers depend on its request ids."""
    agent, user = (served_model(request.endpoint, side, request) for side in ("agent", "user"))
    task = domain_task("airline", ids, request)
    inspect_ai.eval(
        task, model=agent, model_roles={"user": user}, log_dir=str(request.directory / "logs"), display="none"
    )


def run_ours(ids: Sequence[str], request: Tau2Request) -> None:
    task = domain_task("airline", ids, request)
    assert task, "no trial is done yet"
    with open_journal(request.journal) as journal:
        run_trials([task], request, journal)


def measure(kind: str, request: Tau2Request) -> float:
    register_served_api()
    if kind == "ours":
        skip_unused_imports()
        install_copy_on_read()
    run = {"stock": run_stock, "ours": run_ours}[kind]
    warm_up, *measured = request.settings.tasks()["airline"]
    run((warm_up,), request)
    started = time.process_time()
    run(measured, request)
    return (time.process_time() - started) / len(measured)


if __name__ == "__main__":
    print(measure(sys.argv[1], Tau2Request.model_validate_json(Path(sys.argv[2]).read_text())))
