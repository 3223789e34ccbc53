"""Figures of a set of dialogues: Table 1 (step, turn, task), Table 4 (latency, throughput), rejections and their blame, the
judge's agreement, task density and difficulty, the dependency between tasks, the quality gate."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal, Protocol, TypeVar

from pydantic import Field

from core.dialogue import Dialogue
from core.messages import Frozen
from generation.figures.agreement import Agreement, AgreementTally
from generation.figures.dependency import Dependency, DependencyTally
from generation.figures.quality import Quality, QualitySettings, QualityTally
from generation.llm.base import UserRules


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


class Statistics(Frozen):
    """Counts are of dialogues; `lost` are those of `failed` for which no model answered.

    Step, turn and task (Appendix B) are of the accepted ones, as are `tasks` (tasks asked for -> tasks there are -> dialogues),
    `difficulties`, `dependency` and `quality`. `latency_s` is wall-clock per accepted dialogue and `throughput` generated
    tokens per second of wall-clock (Table 4), of all roles and rejected dialogues too. `flaws` counts bad answers of models by
    role and kind, `blame` the rejected dialogues by whose fault it was.
    """

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
    tasks: dict[int, dict[int, int]] = Field(default_factory=dict)
    difficulties: dict[str, int] = Field(default_factory=dict)
    reasons: dict[str, int] = Field(default_factory=dict)
    blame: dict[str, int] = Field(default_factory=dict)
    flaws: dict[str, int] = Field(default_factory=dict)
    refused_drafts: dict[str, int] = Field(default_factory=dict)
    domains: dict[str, int] = Field(default_factory=dict)
    agreement: Agreement | None = None
    dependency: Dependency | None = None
    quality: Quality | None = None
    requests: int
    prompt_tokens: int
    completion_tokens: int
    wall_s: float
    latency_s: float | None
    throughput: float | None


def statistics(
    pipeline: str, outcomes: Iterable[Outcome], rules: UserRules | None, gate: QualitySettings
) -> Statistics:
    """Figures of one pipeline's outcomes, whatever their order; without `rules` there is no user simulator to look at."""
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
        tasks=_density(everything),
        difficulties=dict(sorted(Counter(task.difficulty for d in accepted for task in d.tasks).items())),
        reasons=dict(reasons.most_common()),
        blame=dict(Counter(d.verdict.blame for d in seen if d.verdict and d.verdict.blame).most_common()),
        flaws=_sum(dialogue.usage.flaws for dialogue in seen),
        refused_drafts=_sum(dialogue.provenance.get("refused_drafts", {}) for dialogue in seen),
        domains=dict(sorted(Counter(dialogue.domain for dialogue in accepted).items())),
        agreement=_tally(AgreementTally(), seen).result(),
        dependency=_tally(DependencyTally(), accepted).result(),
        quality=_tally(QualityTally(rules), accepted).result(gate) if rules else None,
        requests=sum(dialogue.usage.requests for dialogue in seen),
        prompt_tokens=sum(dialogue.usage.prompt_tokens for dialogue in seen),
        completion_tokens=completion_tokens,
        wall_s=round(wall, 3),
        latency_s=round(wall / len(accepted), 4) if accepted else None,
        throughput=round(completion_tokens / wall, 1) if wall else None,
    )


class _Tally(Protocol):
    def add(self, dialogue: Dialogue) -> None: ...


T = TypeVar("T", bound=_Tally)


def _tally(tally: T, dialogues: Iterable[Dialogue]) -> T:
    for dialogue in dialogues:
        tally.add(dialogue)
    return tally


def _density(outcomes: list[Outcome]) -> dict[int, dict[int, int]]:
    """Tasks asked for -> tasks in the accepted dialogue -> how many."""
    found: dict[int, Counter[int]] = {}
    for outcome in outcomes:
        if outcome.status == "accepted" and outcome.dialogue:
            found.setdefault(outcome.tasks_requested, Counter())[len(outcome.dialogue.tasks)] += 1
    return {asked: dict(sorted(counts.items())) for asked, counts in sorted(found.items())}


def _sum(counts: Iterable[dict[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for part in counts:
        total.update(part)
    return dict(total.most_common())


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
