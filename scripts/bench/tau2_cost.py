"""CPU time per sample of τ²'s airline: inspect-evals' own task and ours, both against instant gold actions."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from core.files import write_json
from evaluation.known_answers.check import known_answers
from evaluation.tau2.settings import Tau2Request, Tau2Settings
from evaluation.tau2.tasks import split_tasks


def tau2_cost(samples: int, kinds: Sequence[str] = ("stock", "ours")) -> dict[str, float]:
    """{"stock": …, "ours": …}: CPU seconds per sample over `samples` airline tasks (1 to 49), in separate processes."""
    with tempfile.TemporaryDirectory() as name, known_answers("tau2", Path(name) / "server.log", 1) as endpoint:
        tasks = split_tasks("airline", "base")[: samples + 1]
        settings = Tau2Settings(smoke={"airline": tasks}, max_steps=100)
        return {
            kind: _measured(
                kind, Tau2Request(endpoint=endpoint, settings=settings, trials=1, directory=Path(name) / kind)
            )
            for kind in kinds
        }


def _measured(kind: str, request: Tau2Request) -> float:
    path = request.directory / "request.json"
    write_json(path, request.model_dump(mode="json"))
    command = (sys.executable, "-m", "scripts.bench.tau2_samples", kind, str(path))
    # The stock task leaves files of 7 MB in the temporary directory.
    environment = {"TMPDIR": str(request.directory), "XDG_DATA_HOME": str(request.directory)}
    completed = subprocess.run(command, env=os.environ | environment, check=True, stdout=subprocess.PIPE, text=True)
    return float(completed.stdout.splitlines()[-1])
