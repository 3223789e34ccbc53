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
from pathlib import Path


def main(path: Path) -> None:
    request = json.loads(path.read_text(encoding="utf-8"))
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else LiteLLM downloads it at every start
    if request["phase"] == "grade":
        from evaluation.tau2.official_worker.without_llm import forbid_requests  # noqa: PLC0415

        forbid_requests()
        from evaluation.tau2.official_worker import grade as phase  # noqa: PLC0415
    else:
        from evaluation.tau2.official_worker import simulate as phase  # type: ignore[no-redef]  # noqa: PLC0415
    phase.run(request)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
