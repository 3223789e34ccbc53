"""One side of scripts.bench.tau2_cost, whose packages it changes: `python -m scripts.bench.tau2_samples stock|ours REQUEST.json`.

The first task of the request warms the process up, the others are measured; prints the CPU seconds that each of them took.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

import inspect_ai
from inspect_ai.model import modelapi

from evaluation.tau2.inspect_worker import __main__ as worker
from evaluation.tau2.inspect_worker.databases import install_copy_on_read
from evaluation.tau2.settings import Tau2Request
from evaluation.trials import open_journal


def hold_stock(ids: Sequence[str], request: Tau2Request) -> None:
    """The package's own task with inspect's defaults; only the model is ours, since the known answers want its request ids."""
    agent, user = (worker.model(request.endpoint, side, request) for side in ("agent", "user"))
    task = worker.task("airline", tuple(ids), request, set())
    inspect_ai.eval(
        task, model=agent, model_roles={"user": user}, log_dir=str(request.directory / "logs"), display="none"
    )


def hold_ours(ids: Sequence[str], request: Tau2Request) -> None:
    task = worker.task("airline", tuple(ids), request, set())
    assert task, "its directory is new"
    with open_journal(request.journal) as journal:
        worker.hold([task], request, journal)


def measure(kind: str, request: Tau2Request) -> float:
    modelapi(name="served")(worker.ServedAPI)
    if kind == "ours":
        worker.start_quickly()
        install_copy_on_read()
    hold = {"stock": hold_stock, "ours": hold_ours}[kind]
    warm_up, *others = request.settings.tasks()["airline"]
    hold((warm_up,), request)
    began = time.process_time()
    hold(others, request)
    return (time.process_time() - began) / len(others)


if __name__ == "__main__":
    print(measure(sys.argv[1], Tau2Request.model_validate_json(Path(sys.argv[2]).read_text())))
