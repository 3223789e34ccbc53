"""Figures of a set of dialogues: Table 1 (step, turn, task), Table 4 (latency, throughput), rejections, the judge's agreement."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal

from pydantic import Field

from core.dialogue import Dialogue
from core.messages import Frozen


class Outcome(Frozen):
    """One line of a pipeline's journal: how a started dialogue ended.

    "accepted" and "rejected" carry the dialogue; "failed" says what broke; it is `lost` where no
    model answered, which is worth another try, unlike a fault of ours, which would only repeat. `seconds` is the dialogue's
    own wall-clock; `session` and `clock` (seconds since that session began) give the run's wall-clock across restarts.
    """

    dialogue_id: str
    status: Literal["accepted", "rejected", "failed"]
    lost: bool = False
    reasons: tuple[str, ...] = ()
    dialogue: Dialogue | None = None
    tasks_requested: int = 0
    seconds: float = 0.0
    session: int = 0
    clock: float = 0.0


class MeanMax(Frozen):
    """As Table 1 prints it: mean (max)."""

    mean: float
    max: int

    @classmethod
    def of(cls, values: Sequence[int]) -> MeanMax:
        return cls(mean=round(sum(values) / len(values), 3), max=max(values)) if values else cls(mean=0.0, max=0)


class Agreement(Frozen):
    """The judge's verdicts on dialogues that execution has decided; precision and recall are of "valid"."""

    both_valid: int
    judge_only: int
    execution_only: int
    both_invalid: int
    precision: float | None
    recall: float | None


class Statistics(Frozen):
    """Counts are of dialogues; `lost` are those of `failed` for which no model answered. Step, turn and task (Appendix B) are
    of the accepted ones; `latency_s` is wall-clock per accepted dialogue and `throughput` generated tokens per second of
    wall-clock (Table 4), of all roles and rejected dialogues too."""

    pipeline: str
    started: int
    accepted: int
    rejected: int
    failed: int
    lost: int
    step: MeanMax
    turn: MeanMax
    task: MeanMax
    user_turns: MeanMax
    tasks_requested: float
    reasons: dict[str, int] = Field(default_factory=dict)
    domains: dict[str, int] = Field(default_factory=dict)
    agreement: Agreement | None = None
    requests: int
    prompt_tokens: int
    completion_tokens: int
    wall_s: float
    latency_s: float | None
    throughput: float | None


def statistics(pipeline: str, outcomes: Iterable[Outcome]) -> Statistics:
    """Figures of one pipeline's outcomes, whatever their order."""
    everything = list(outcomes)
    seen = [outcome.dialogue for outcome in everything if outcome.dialogue]
    accepted = [outcome.dialogue for outcome in everything if outcome.status == "accepted" and outcome.dialogue]
    status = Counter(outcome.status for outcome in everything)
    reasons = Counter(_kind(reason) for outcome in everything for reason in dict.fromkeys(outcome.reasons))
    wall = _wall(everything)
    completion_tokens = sum(dialogue.usage.completion_tokens for dialogue in seen)
    return Statistics(
        pipeline=pipeline,
        started=len(everything),
        accepted=status["accepted"],
        rejected=status["rejected"],
        failed=status["failed"],
        lost=sum(outcome.lost for outcome in everything),
        step=MeanMax.of([count for dialogue in accepted for count in dialogue.steps() if count]),
        turn=MeanMax.of([dialogue.turns for dialogue in accepted]),
        task=MeanMax.of([len(dialogue.tasks) for dialogue in accepted]),
        user_turns=MeanMax.of([dialogue.user_turns for dialogue in accepted]),
        tasks_requested=round(sum(o.tasks_requested for o in everything) / len(everything), 3) if everything else 0.0,
        reasons=dict(reasons.most_common()),
        domains=dict(sorted(Counter(dialogue.domain for dialogue in accepted).items())),
        agreement=_agreement(seen),
        requests=sum(dialogue.usage.requests for dialogue in seen),
        prompt_tokens=sum(dialogue.usage.prompt_tokens for dialogue in seen),
        completion_tokens=completion_tokens,
        wall_s=round(wall, 3),
        latency_s=round(wall / len(accepted), 4) if accepted else None,
        throughput=round(completion_tokens / wall, 1) if wall else None,
    )


def _kind(reason: str) -> str:
    """'told in task 2: never told: 17' is of the kind 'told'; 'finished: agent: …' keeps who could not go on."""
    what, _, rest = reason.partition(": ")
    return f"{what}: {rest.partition(': ')[0]}" if what == "finished" else what.partition(" ")[0]


def _wall(outcomes: list[Outcome]) -> float:
    """Seconds of all sessions together: each lasted at least until its last outcome."""
    last: dict[int, float] = {}
    for outcome in outcomes:
        last[outcome.session] = max(last.get(outcome.session, 0.0), outcome.clock)
    return sum(last.values())


def _agreement(dialogues: list[Dialogue]) -> Agreement | None:
    pairs: Counter[tuple[bool, bool]] = Counter()
    for dialogue in dialogues:
        verdict = dialogue.verdict
        if dialogue.state and verdict and verdict.judgments:
            pairs[
                all(j.judgment == "valid" for j in verdict.judgments), all(check.passed for check in verdict.checks)
            ] += 1
    if not pairs:
        return None
    both, judge_only, execution_only = pairs[True, True], pairs[True, False], pairs[False, True]
    return Agreement(
        both_valid=both,
        judge_only=judge_only,
        execution_only=execution_only,
        both_invalid=pairs[False, False],
        precision=round(both / (both + judge_only), 4) if both + judge_only else None,
        recall=round(both / (both + execution_only), 4) if both + execution_only else None,
    )
