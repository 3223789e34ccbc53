"""The judge against execution: metrics computed by hand, and against a naive recount of the dialogues."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from core.dialogue import Bullet, Check, Dialogue, Judgment, PlannedCall, Rubric, StateProof, Task, Verdict
from generation.metrics.judge_agreement import Agreement, AgreementTally

PROVEN = Task(
    task_id="t",
    goal="g",
    subgoals=("g",),
    difficulty="easy",
    rubric=Rubric(criteria=()),
    gold_calls=(PlannedCall(tool="get", arguments={}),),
)
UNPROVEN = PROVEN.model_copy(update={"gold_calls": ()})
STATE = StateProof(initial_hash="a", final_hash="b")


def judgment(value: str, **more: Any) -> Judgment:
    return Judgment(judgment="valid" if value == "valid" else "invalid", reasoning="", **more)


def dialogue(executed: bool, *judgments: Judgment, **more: Any) -> Dialogue:
    """A dialogue with one proven task for each judgment; `more` may set `checks`, `blame`, `tasks` and `state`."""
    checks = more.pop("checks", (Check(name="state of task 0", passed=executed),))
    verdict = Verdict(accepted=executed, blame=more.pop("blame", None), checks=checks, judgments=judgments)
    fields = {"tasks": (PROVEN,) * len(judgments), "state": STATE} | more
    return Dialogue(dialogue_id="d", pipeline="p", domain="x", tools=(), verdict=verdict, **fields)


def agreement(*dialogues: Dialogue) -> Agreement | None:
    tally = AgreementTally()
    for item in dialogues:
        tally.add(item)
    return tally.result()


def test_by_hand() -> None:
    """50 dialogues: observed agreement 0.7, by chance (25 · 30 + 25 · 20) / 2500 = 0.5, so kappa is 0.2 / 0.5."""
    result = agreement(
        *[dialogue(True, judgment("valid"), judgment("valid"))] * 20,
        *[dialogue(False, judgment("valid"), blame="user")] * 5,
        *[dialogue(True, judgment("valid"), judgment("invalid"))] * 10,
        *[dialogue(False, judgment("invalid"), blame="agent")] * 12,
        *[dialogue(False, judgment("invalid"), judgment("valid"), blame="user")] * 3,
    )
    assert result == Agreement(
        both_valid=20,
        judge_only=5,
        execution_only=10,
        both_invalid=15,
        precision=0.8,
        recall=0.6667,
        kappa=0.4,
        caught={"agent": 12, "user": 3},
        missed={"user": 5},
    )


def test_dialogues_that_execution_did_not_decide_are_not_counted() -> None:
    valid = judgment("valid")
    assert agreement() is None
    assert (
        agreement(dialogue(True, valid, state=None), dialogue(True), dialogue(True, valid, tasks=(UNPROVEN,))) is None
    )
    assert agreement(dialogue(True, valid).model_copy(update={"verdict": None})) is None
    replayed = Check(name="replay", passed=False, detail="another result")
    assert agreement(dialogue(False, valid, checks=(Check(name="state of task 0", passed=True), replayed))) is None


def test_an_unproven_task_next_to_a_proven_one_does_not_count() -> None:
    mixed = dialogue(True, judgment("valid"), judgment("invalid"), tasks=(PROVEN, UNPROVEN))
    result = agreement(mixed)
    assert result
    assert (result.both_valid, result.execution_only) == (1, 0)


def test_bullets_by_class_unreadable_and_divided_judgments() -> None:
    def bullets(*classed: tuple[str, bool]) -> tuple[Bullet, ...]:
        return tuple(Bullet.model_validate({"bullet": "b", "rubric_class": c, "passed": p}) for c, p in classed)

    result = agreement(
        dialogue(True, judgment("valid", bullets=bullets(("Critical", True), ("Structural", False)))),
        dialogue(
            True, judgment("invalid", bullets=bullets(("Critical", False), ("Critical", True)), votes=("invalid",) * 3)
        ),
        dialogue(True, judgment("invalid", blame="judge", votes=("valid", "invalid"))),
    )
    assert result
    assert result.passed == {"Critical": 2}
    assert result.failed == {"Critical": 1, "Structural": 1}
    assert (result.unreadable, result.divided) == (1, 1)


def test_metrics_without_a_denominator_are_none() -> None:
    all_right = agreement(dialogue(True, judgment("valid")))
    assert all_right
    assert (all_right.precision, all_right.recall, all_right.kappa) == (1.0, 1.0, None)
    all_wrong = agreement(dialogue(False, judgment("invalid")))
    assert all_wrong
    assert (all_wrong.precision, all_wrong.recall, all_wrong.kappa) == (None, None, None)


def test_a_judge_that_is_always_wrong_has_kappa_minus_one() -> None:
    result = agreement(dialogue(True, judgment("invalid")), dialogue(False, judgment("valid")))
    assert result
    assert (result.precision, result.recall, result.kappa) == (0.0, 0.0, -1.0)


@given(st.lists(st.tuples(st.booleans(), st.lists(st.booleans(), min_size=1, max_size=3)), min_size=1, max_size=30))
def test_against_a_naive_recount(cases: list[tuple[bool, list[bool]]]) -> None:
    result = agreement(
        *(dialogue(right, *(judgment("valid" if v else "invalid") for v in votes)) for right, votes in cases)
    )
    assert result
    pairs = [(all(votes), right) for right, votes in cases]
    assert result.both_valid == pairs.count((True, True))
    assert result.judge_only == pairs.count((True, False))
    assert result.execution_only == pairs.count((False, True))
    assert result.both_invalid == pairs.count((False, False))
    right_where_judged_valid = [right for judge, right in pairs if judge]
    judged_where_right = [judge for judge, right in pairs if right]
    assert result.precision == (
        round(sum(right_where_judged_valid) / len(right_where_judged_valid), 4) if right_where_judged_valid else None
    )
    assert result.recall == (
        round(sum(judged_where_right) / len(judged_where_right), 4) if judged_where_right else None
    )
    n = len(pairs)
    observed = sum(judge == right for judge, right in pairs) / n
    chance = sum(sum(j == w for j, _ in pairs) * sum(r == w for _, r in pairs) for w in (True, False)) / n**2
    if result.kappa is None:
        assert chance == 1
    else:
        assert abs(result.kappa - (observed - chance) / (1 - chance)) < 1e-4
