"""The τ² tasks that an agent passes by doing nothing: the baseline reported with every score."""

from __future__ import annotations

from collections.abc import Sequence

from evaluation.trials import TrialRecord

# The tasks that an agent passes by greeting the user and waiting for it to leave: they require no database change and
# no information. Measured by running the base sets this way (`make eval-known`). Release 0.2.0 has the tasks of
# inspect-evals. The retail of 1.0.1 is missing, because there a judge decides what doing nothing scores.
_NUMBERS_INSPECT = {
    "airline": (0, 1, 4, 5, 6, 10, 13, 26, 28, 31, 34, 36, 41, 43, 45, 46, 47, 48, 49),
    "retail": (10, 12, 25, 50, 57, 65, 105),
    "telecom": (),
}


_NUMBERS_OFFICIAL = {
    "airline": (0, 1, 2, 4, 5, 6, 9, 10, 13, 26, 27, 28, 31, 34, 36, 38, 41, 43, 45, 46, 47, 48, 49),
    "telecom": (),
}


DO_NOTHING: dict[str, dict[str, frozenset[str]]] = {
    name: {domain: frozenset(map(str, ids)) for domain, ids in numbers.items()}
    for name, numbers in (
        ("inspect-evals", _NUMBERS_INSPECT),
        ("official tau2 0.2.0", _NUMBERS_INSPECT),
        ("official tau2 1.0.1", _NUMBERS_OFFICIAL),
    )
}


def do_nothing(records: Sequence[TrialRecord]) -> dict[str, float]:
    """For each domain in `records`, the share of its tasks that an agent passes by doing nothing; report it with the
    score.

    Leaves out a domain for which the share is not known with the records' harness.
    """
    shares = {}
    for domain in sorted({record.category for record in records}):
        in_domain = [record for record in records if record.category == domain]
        tasks = {record.task_id for record in in_domain}
        passed = next((ids for name, ids in DO_NOTHING.items() if in_domain[0].harness.startswith(name)), {})
        if domain in passed:
            shares[domain] = len(tasks & passed[domain]) / len(tasks)
    return shares
