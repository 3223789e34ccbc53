"""Runs τ² trials with the official code, or grades recorded trials with its evaluator.

    python -P -m evaluation.tau2.official_worker REQUEST.json

evaluation.tau2.packaged starts it with the Python of the official package's own environment. This project's
dependencies are missing there, so the worker imports nothing of this project but its own package.

REQUEST.json contains {"phase": "run", …} (evaluation.tau2.official_worker.simulate) or {"phase": "grade", …}
(evaluation.tau2.official_worker.grade).
"""

from __future__ import annotations

import json
import os
import sys
from importlib import import_module
from pathlib import Path

from evaluation.tau2.official_worker.without_llm import forbid_requests

PHASES = {"run": "simulate", "grade": "grade"}


def main(path: Path) -> None:
    request = json.loads(path.read_text(encoding="utf-8"))
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else LiteLLM downloads it at every start
    if request["phase"] == "grade":
        forbid_requests()
    # Only now: importing a phase imports the official code, and with it what grading leaves out.
    import_module(f"evaluation.tau2.official_worker.{PHASES[request['phase']]}").run(request)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
