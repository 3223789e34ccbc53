"""Figures of a set of dialogues: Table 1 (step, turn, task), Table 4 (latency, throughput), rejections and their blame, the
judge's agreement, task density and difficulty, the dependency between tasks, the quality gate."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any

from pydantic import Field

from core.dialogue import Dialogue, RoleUsage
from core.messages import Frozen
from core.settings import Settings
from generation.llm.contexts import UserRules
from generation.metrics.judge_agreement import Agreement, AgreementTally
from generation.metrics.task_dependency import Dependency, DependencyTally
from generation.metrics.user_quality import Quality, QualitySettings, QualityTally
from generation.outcomes import Outcome


class MeanMax(Frozen):
    """As Table 1 prints it: mean (max)."""

    mean: float
    max: int

    @classmethod
    def of(cls, counts: Mapping[int, int]) -> MeanMax:
        """Of a histogram: value -> how often."""
        if not counts:
            return cls(mean=0.0, max=0)
        total = sum(value * often for value, often in counts.items())
        return cls(mean=round(total / sum(counts.values()), 3), max=max(counts))


class CostSettings(Settings):
    """The `gpus` that serve a run's models, all of them for all of its time (0: none that are counted), and what one costs in an
    hour."""

    gpus: int = Field(ge=0)
    per_gpu_hour: float = Field(ge=0)


class RoleFigures(Frozen):
    """What one role cost in all: requests, how often they were sent again, tokens (`cached` of the prompts' came from the prefix
    cache), seconds waited for answers, one request beside the other; of the run's GPU-hours its share of these seconds."""

    requests: int
    retries: int
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    seconds: float
    gpu_hours: float


class Statistics(Frozen):
    """Counts are of dialogues; `unanswered` are those of `failed` that got no model response.

    Step, turn and task (Appendix B) are of the accepted ones, as are `tasks` (requested -> actual -> dialogues),
    `difficulties` (requested -> measured -> tasks), `follow_ups`, `dependency` and `quality`. `latency_s` is
    wall-clock per accepted dialogue and `throughput` generated tokens per second of wall-clock (Table 4). They, `roles`,
    `gpu_hours` and `cost` are of rejected and failed dialogues too, but not of attempts that were made again. `flaws` counts
    bad answers of models by role and kind, `blame` the rejected dialogues by whose fault it was.
    """

    pipeline: str
    started: int
    accepted: int
    rejected: int
    failed: int
    unanswered: int
    step: MeanMax
    turn: MeanMax
    task: MeanMax
    user_turns: MeanMax
    tasks_requested: float
    tasks: dict[int, dict[int, int]] = Field(default_factory=dict)
    difficulties: dict[str, dict[str, int]] = Field(default_factory=dict)
    follow_ups: dict[str, int] = Field(default_factory=dict)
    reasons: dict[str, int] = Field(default_factory=dict)
    blame: dict[str, int] = Field(default_factory=dict)
    flaws: dict[str, int] = Field(default_factory=dict)
    refused_drafts: dict[str, int] = Field(default_factory=dict)
    domains: dict[str, int] = Field(default_factory=dict)
    agreement: Agreement | None = None
    dependency: Dependency | None = None
    quality: Quality | None = None
    roles: dict[str, RoleFigures] = Field(default_factory=dict)
    requests: int
    prompt_tokens: int
    completion_tokens: int
    wall_s: float
    latency_s: float | None
    throughput: float | None
    gpu_hours: float
    cost: float


class StatisticsTally:
    """Adds up outcome after outcome, whatever their order; its memory does not grow with them. Without `rules` there is no user
    simulator to look at."""

    def __init__(self, pipeline: str, rules: UserRules | None, gate: QualitySettings, costs: CostSettings) -> None:
        self.pipeline = pipeline
        self.gate = gate
        self.costs = costs
        self._counts: dict[str, Counter[Any]] = defaultdict(Counter)
        self._tasks: dict[int, Counter[int]] = defaultdict(Counter)
        self._difficulties: dict[str, Counter[str]] = defaultdict(Counter)
        self._roles: dict[str, RoleUsage] = defaultdict(RoleUsage)
        self._seconds: Counter[str] = Counter()
        self._retries: Counter[str] = Counter()
        self._last: dict[int, float] = defaultdict(float)
        self._requested = self._unanswered = 0
        self._agreement, self._dependency = AgreementTally(), DependencyTally()
        self._quality = QualityTally(rules) if rules else None

    def add(self, outcome: Outcome) -> None:
        self._counts["status"][outcome.status] += 1
        self._counts["reasons"].update(_kind(reason) for reason in dict.fromkeys(outcome.reasons))
        self._requested += outcome.tasks_requested
        self._unanswered += outcome.unanswered
        self._last[outcome.session] = max(self._last[outcome.session], outcome.clock)
        self._seconds.update(outcome.role_seconds)
        self._retries.update(outcome.role_retries)
        for role, usage in outcome.dialogue.usage.roles.items() if outcome.dialogue else ():
            self._roles[role] += usage
        if outcome.dialogue and outcome.status != "failed":
            self._see(outcome.dialogue)
            if outcome.status == "accepted":
                self._accept(outcome.dialogue, outcome.tasks_requested)

    def _see(self, dialogue: Dialogue) -> None:
        """What counts of rejected dialogues, too."""
        if dialogue.verdict and dialogue.verdict.blame:
            self._counts["blame"][dialogue.verdict.blame] += 1
        self._counts["flaws"].update(dialogue.usage.flaws)
        self._counts["refused"].update(dialogue.provenance.refused_drafts)
        self._agreement.add(dialogue)

    def _accept(self, dialogue: Dialogue, requested: int) -> None:
        self._counts["step"].update(count for count in dialogue.steps() if count)
        self._counts["turn"][dialogue.turns] += 1
        self._counts["task"][len(dialogue.tasks)] += 1
        self._counts["user_turns"][dialogue.user_turns] += 1
        self._counts["domains"][dialogue.domain] += 1
        self._tasks[requested][len(dialogue.tasks)] += 1
        for task in dialogue.tasks:
            request = dialogue.provenance.writer_requests.get(task.task_id)
            self._difficulties[request.difficulty if request else "given"][task.difficulty] += 1
            if request and request.follow_up:
                self._counts["follow_ups"]["requested"] += 1
                self._counts["follow_ups"]["used a learnt value"] += task.follows_from is not None
        self._dependency.add(dialogue)
        if self._quality:
            self._quality.add(dialogue)

    def result(self) -> Statistics:
        """The figures so far."""
        counts, status = self._counts, self._counts["status"]
        started, wall = status.total(), sum(self._last.values())
        total = sum(self._roles.values(), RoleUsage())
        gpu_hours = wall / 3600 * self.costs.gpus
        return Statistics(
            pipeline=self.pipeline,
            started=started,
            accepted=status["accepted"],
            rejected=status["rejected"],
            failed=status["failed"],
            unanswered=self._unanswered,
            step=MeanMax.of(counts["step"]),
            turn=MeanMax.of(counts["turn"]),
            task=MeanMax.of(counts["task"]),
            user_turns=MeanMax.of(counts["user_turns"]),
            tasks_requested=round(self._requested / started, 3) if started else 0.0,
            tasks={requested: dict(sorted(actual.items())) for requested, actual in sorted(self._tasks.items())},
            difficulties={
                requested: dict(sorted(measured.items())) for requested, measured in sorted(self._difficulties.items())
            },
            follow_ups=dict(sorted(counts["follow_ups"].items())),
            reasons=dict(counts["reasons"].most_common()),
            blame=dict(counts["blame"].most_common()),
            flaws=dict(counts["flaws"].most_common()),
            refused_drafts=dict(counts["refused"].most_common()),
            domains=dict(sorted(counts["domains"].items())),
            agreement=self._agreement.result(),
            dependency=self._dependency.result(),
            quality=self._quality.result(self.gate) if self._quality else None,
            roles={role: self._role(role, usage, gpu_hours) for role, usage in sorted(self._roles.items())},
            requests=total.requests,
            prompt_tokens=total.prompt_tokens,
            completion_tokens=total.completion_tokens,
            wall_s=round(wall, 3),
            latency_s=round(wall / status["accepted"], 4) if status["accepted"] else None,
            throughput=round(total.completion_tokens / wall, 1) if wall else None,
            gpu_hours=round(gpu_hours, 4),
            cost=round(gpu_hours * self.costs.per_gpu_hour, 2),
        )

    def _role(self, role: str, usage: RoleUsage, gpu_hours: float) -> RoleFigures:
        waited = self._seconds.total()
        return RoleFigures(
            **usage.model_dump(),
            retries=self._retries[role],
            seconds=round(self._seconds[role], 3),
            gpu_hours=round(gpu_hours * self._seconds[role] / waited, 4) if waited else 0.0,
        )


def _kind(reason: str) -> str:
    """'told in task 2: never told: 17' is of the kind 'told'; 'finished: agent: …' keeps who could not go on."""
    what, _, rest = reason.partition(": ")
    return f"{what}: {rest.partition(': ')[0]}" if what == "finished" else what.partition(" ")[0]
