"""Requests by kind: a judge agrees with execution about a task if it says what that task's own checks say."""

from __future__ import annotations

import pytest

from core.dialogue import Check, Dialogue, Evidence, Judgment, PlannedCall, Rubric, StateProof, Task, Verdict
from core.provenance import Provenance, WriterRequest
from core.request_kinds import RequestKind
from generation.metrics.request_kinds import EvidenceMetrics, KindTally

KINDS: tuple[RequestKind, ...] = ("plain", "forbidden")


def judged(checks: tuple[Check, ...], valid: tuple[bool, bool]) -> Dialogue:
    """A dialogue of two proved tasks, of the kinds `KINDS`."""
    gold = (PlannedCall(tool="set_price", arguments={}),)
    tasks = tuple(
        Task(
            task_id=kind,
            goal="g",
            subgoals=("g",),
            difficulty="easy",
            rubric=Rubric(criteria=()),
            gold_calls=gold,
            kind=kind,
        )
        for kind in KINDS
    )
    judgments = tuple(Judgment(judgment="valid" if v else "invalid", reasoning="") for v in valid)
    verdict = Verdict(accepted=all(check.passed for check in checks), checks=checks, judgments=judgments)
    state = StateProof(initial_hash="a", final_hash="b")
    return Dialogue(
        dialogue_id="d",
        pipeline="p",
        domain="shop",
        tools=(),
        tasks=tasks,
        task_starts=(0, 4),
        verdict=verdict,
        state=state,
    )


@pytest.mark.parametrize(
    ("failing", "valid", "agreed"),
    [
        (None, (True, True), (1, 1)),
        (None, (True, False), (1, 0)),
        (1, (True, False), (1, 1)),
        (1, (True, True), (1, 0)),
        (0, (True, False), (0, 0)),
    ],
)
def test_agreement_is_about_the_task_whose_check_failed(
    failing: int | None, valid: tuple[bool, bool], agreed: tuple[int, int]
) -> None:
    checks = tuple(Check(name="any name", passed=number != failing, task=number) for number in range(2))
    tally = KindTally()
    tally.add(judged((Check(name="finished", passed=True), *checks), valid), accepted=failing is None)
    found = tally.kinds()
    assert tuple(found[kind].agreed for kind in KINDS) == agreed
    assert all(found[kind].judged == found[kind].written == 1 for kind in KINDS)
    assert all(found[kind].accepted == (failing is None) for kind in KINDS)


@pytest.mark.parametrize(("kind", "wanted"), [("evidence", "6"), ("plain", "")])
def test_only_tasks_of_that_kind_count_for_the_rows_that_were_requested(kind: RequestKind, wanted: str) -> None:
    """A request for evidence that cannot be written becomes a plain task."""
    made = judged((), (True, True))
    task = made.tasks[0].model_copy(update={"kind": kind, "evidence": Evidence(rows=7, lookups=2)})
    request = WriterRequest(difficulty="hard", follow_up=False, kind="evidence", evidence_rows=6)
    provenance = Provenance(writer_requests={task.task_id: request})
    tally = KindTally()
    tally.add(made.model_copy(update={"tasks": (task,), "provenance": provenance}), accepted=True)
    assert tally.evidence() == {wanted: EvidenceMetrics(tasks=1, rows=7, lookups=2)}
