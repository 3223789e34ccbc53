"""CPU seconds a sample of τ²'s airline costs: inspect-evals' own task beside ours, both answered with the gold actions at once.

Each is measured in a process of its own (`python -m scripts.bench.tau2_cost stock|ours REQUEST.json`), after a sample that warms
it up. The stock task is run with inspect's defaults; ours with lent databases, and records and transcripts instead of its log.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from core.records import write_json
from evaluation.known.check import known_answers
from evaluation.tau2_data import split_tasks
from evaluation.tau2_settings import Tau2Request, Tau2Settings

KINDS = ("stock", "ours")


def tau2_cost(samples: int) -> dict[str, float]:
    """{"stock": …, "ours": …}: CPU seconds a sample, over `samples` airline tasks (1 to 49)."""
    with tempfile.TemporaryDirectory() as scratch:
        with known_answers("tau2", Path(scratch) / "server.log", concurrency=1) as endpoint:
            tasks = split_tasks("airline", "base")[: samples + 1]
            chosen = Tau2Settings(smoke={"airline": tasks}, max_steps=100)
            request = Tau2Request(endpoint=endpoint, settings=chosen, trials=1, directory=Path(scratch))
            write_json(Path(scratch) / "request.json", request.model_dump(mode="json"))
            return {kind: _measured(kind, Path(scratch)) for kind in KINDS}


def _measured(kind: str, scratch: Path) -> float:
    command = (sys.executable, "-m", "scripts.bench.tau2_cost", kind, str(scratch / "request.json"))
    # The stock task leaves files of 7 MB in the temporary directory.
    environment = os.environ | {"TMPDIR": str(scratch), "XDG_DATA_HOME": str(scratch)}
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return float(json.loads(done.stdout.splitlines()[-1])["cpu_s"])


def measure(kind: str, request: Tau2Request) -> float:
    """In this process, whose package is changed by it."""
    import inspect_ai  # here, so that the parent need not wait for it

    from evaluation import tau2_worker as worker
    from evaluation.results import open_journal
    from evaluation.tau2_databases import lend_databases

    if kind == "ours":
        lend_databases()
    inspect_ai.model.modelapi(name="served")(worker.ServedAPI)

    def hold(ids: tuple[str, ...]) -> None:
        task = worker.task("airline", ids, request, set())
        if kind == "ours":
            with open_journal(request.journal) as journal:
                worker.hold([task], request, journal)
            return
        agent, user = (worker.model(request.endpoint, side, request) for side in ("agent", "user"))
        inspect_ai.eval(
            [task], model=agent, model_roles={"user": user}, log_dir=str(request.directory / "logs"), display="none"
        )

    first, *others = request.settings.tasks()["airline"]
    hold((first,))
    began = time.process_time()
    hold(tuple(others))
    return (time.process_time() - began) / len(others)


if __name__ == "__main__":
    read = Tau2Request.model_validate_json(Path(sys.argv[2]).read_text())
    print(json.dumps({"cpu_s": measure(sys.argv[1], read)}))
