"""Runs τ²-bench with inspect-evals in its own process, started by evaluation.tau2.benchmark.

    python -m evaluation.tau2.inspect_worker REQUEST.json

REQUEST.json is a Tau2Request. Each trial's record is in the journal as soon as the trial ends.
"""

from __future__ import annotations

import sys
from pathlib import Path

from evaluation.tau2.inspect_worker.databases import install_copy_on_read
from evaluation.tau2.inspect_worker.run import domain_task, register_served_api, run_trials, skip_unused_imports
from evaluation.tau2.settings import Tau2Request
from evaluation.trials import completed_keys, open_journal


def main(path: Path) -> None:
    request = Tau2Request.model_validate_json(path.read_text())
    skip_unused_imports()
    install_copy_on_read()
    register_served_api()
    with open_journal(request.journal) as journal:
        done = completed_keys(journal.path)
        tasks = [domain_task(domain, ids, request, done) for domain, ids in request.settings.tasks().items()]
        if pending := [task for task in tasks if task is not None]:
            run_trials(pending, request, journal)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
