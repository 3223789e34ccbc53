"""Agreement of the LRM judge with execution: precision, recall and kappa on the dialogues that execution decided."""

from __future__ import annotations

from collections import Counter

from pydantic import Field

from core.dialogue import Dialogue
from core.messages import Frozen


class Agreement(Frozen):
    """The confusion matrix of judge and execution, in dialogues, and what follows from it.

    `precision` and `recall` are the judge's for "valid", with execution as ground truth; `kappa` is Cohen's kappa of
    the four counts. Each is None if its denominator is zero. `caught` and `missed` count, by blame, the dialogues
    rejected by execution that the judge rejected or accepted. Over the same judgments, `passed` and `failed` count
    rubric bullets by class, `unreadable` the unparsable judgments and `divided` those with differing votes.
    """

    both_valid: int
    judge_only: int
    execution_only: int
    both_invalid: int
    precision: float | None = None
    recall: float | None = None
    kappa: float | None = None
    caught: dict[str, int] = Field(default_factory=dict)
    missed: dict[str, int] = Field(default_factory=dict)
    passed: dict[str, int] = Field(default_factory=dict)
    failed: dict[str, int] = Field(default_factory=dict)
    unreadable: int = 0
    divided: int = 0


class AgreementTally:
    """Accumulates dialogues in any order; memory does not grow with their number."""

    def __init__(self) -> None:
        self._pairs: Counter[tuple[bool, bool]] = Counter()
        self._blamed: dict[bool, Counter[str]] = {True: Counter(), False: Counter()}
        self._bullets: dict[bool, Counter[str]] = {True: Counter(), False: Counter()}
        self._unreadable = 0
        self._divided = 0

    def add(self, dialogue: Dialogue) -> None:
        """Count a dialogue by its tasks that were both executed and judged, if it has any. A dialogue whose replayed
        calls returned other results is skipped: execution did not decide it."""
        verdict = dialogue.verdict
        if not (dialogue.state and verdict) or any(
            check.name == "replay" and not check.passed for check in verdict.checks
        ):
            return
        judgments = [
            judgment for judgment, task in zip(verdict.judgments, dialogue.tasks, strict=False) if task.is_proved
        ]
        if not judgments:
            return
        judged = all(judgment.judgment == "valid" for judgment in judgments)
        executed = all(check.passed for check in verdict.checks)
        self._pairs[judged, executed] += 1
        if not executed:
            self._blamed[judged][verdict.blame or "unknown"] += 1
        for judgment in judgments:
            self._unreadable += judgment.blame == "judge"
            self._divided += len(set(judgment.votes)) > 1
            for bullet in judgment.bullets:
                self._bullets[bullet.passed][bullet.rubric_class] += 1

    def result(self) -> Agreement | None:
        """The metrics so far; None if no dialogue was both executed and judged."""
        if not self._pairs:
            return None
        both, judge_only = self._pairs[True, True], self._pairs[True, False]
        execution_only, neither = self._pairs[False, True], self._pairs[False, False]
        return Agreement(
            both_valid=both,
            judge_only=judge_only,
            execution_only=execution_only,
            both_invalid=neither,
            precision=_share(both, both + judge_only),
            recall=_share(both, both + execution_only),
            kappa=_kappa(both, judge_only, execution_only, neither),
            caught=dict(sorted(self._blamed[False].items())),
            missed=dict(sorted(self._blamed[True].items())),
            passed=dict(sorted(self._bullets[True].items())),
            failed=dict(sorted(self._bullets[False].items())),
            unreadable=self._unreadable,
            divided=self._divided,
        )


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None


def _kappa(both: int, judge_only: int, execution_only: int, neither: int) -> float | None:
    """(observed - expected) / (1 - expected) agreement, in integers up to the last division."""
    n = both + judge_only + execution_only + neither
    chance = (both + judge_only) * (both + execution_only) + (execution_only + neither) * (judge_only + neither)
    return round((n * (both + neither) - chance) / (n * n - chance), 4) if n * n != chance else None
