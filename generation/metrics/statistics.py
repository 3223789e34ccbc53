"""Metrics of a set of dialogues: Table 1 (step, turn, task), Table 4 (latency, throughput), rejections and their blame,
the judge's agreement, task density and difficulty, the dependency between tasks, the quality gate, diversity."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any

from pydantic import Field

from core.dialogue import Dialogue
from core.messages import AssistantMessage, Frozen
from core.settings import Settings
from core.usage import RoleUsage
from generation.dialogue.personas import UserSettings
from generation.metrics.diversity import Diversity, DiversityTally, SaturationSettings
from generation.metrics.judge_agreement import Agreement, AgreementTally
from generation.metrics.request_kinds import EvidenceMetrics, KindMetrics, KindTally
from generation.metrics.task_dependency import Dependency, DependencyTally
from generation.metrics.user_quality import Quality, QualitySettings, QualityTally
from generation.outcomes import Outcome


class MeanMax(Frozen):
    """Mean and maximum, which Table 1 prints as "mean (max)"."""

    mean: float
    max: int

    @classmethod
    def of(cls, histogram: Mapping[int, int]) -> MeanMax:
        """From a histogram: value -> count."""
        if not histogram:
            return cls(mean=0.0, max=0)
        total = sum(value * count for value, count in histogram.items())
        return cls(mean=round(total / sum(histogram.values()), 3), max=max(histogram))


class ParallelCalls(Frozen):
    """Parallel calls: `messages` of assistants with calls, how many of them have `several`, the `share` of these; the
    groups of independent look-ups that were `eligible` for one message, and those `merged` into one."""

    messages: int
    several: int
    share: float
    eligible: int
    merged: int

    @classmethod
    def of(cls, counts: Mapping[str, int]) -> ParallelCalls:
        share = round(counts.get("several", 0) / counts["messages"], 4) if counts.get("messages") else 0.0
        return cls(share=share, **{name: counts.get(name, 0) for name in cls.model_fields if name != "share"})


class CostSettings(Settings):
    """GPU-hours and cost of a run."""

    gpus: int = Field(
        ge=0, description="GPUs that serve the run's models for its entire wall-clock time; 0: do not count any"
    )
    per_gpu_hour: float = Field(ge=0, description="price of one GPU for one hour, in any currency")


class RoleMetrics(Frozen):
    """Total usage of one role by the model `llm`.

    `retries` counts requests sent again; `cached_tokens` are the prompt tokens served from the prefix cache; tokens are
    None if a server did not count those of each request; `seconds` sums the waiting times of all requests, concurrent
    ones included; `gpu_hours` is the run's total, shared out by these seconds.
    """

    llm: str | None = None
    requests: int
    retries: int
    prompt_tokens: int | None = None
    cached_tokens: int
    completion_tokens: int | None = None
    seconds: float
    gpu_hours: float


class Statistics(Frozen):
    """statistics.json. Counts are of dialogues; `unanswered` are the `failed` ones that got no model response.

    The accepted dialogues alone count for step, turn and task (Appendix B), `tasks` (requested tasks -> actual
    tasks -> dialogues), `difficulties` (requested -> measured -> plain tasks), `follow_ups`, `evidence`,
    `dependency`, `parallel`, `quality` and `diversity`. `latency_s` is wall-clock seconds per accepted dialogue,
    `throughput` generated tokens per wall-clock second (Table 4). These two, `roles`, `gpu_hours` and `cost` include
    rejected and failed dialogues, but not attempts that were retried. `pass_rates` counts dialogues that could be
    played several times, by "accepted/played" rollouts. `flaws` counts bad model answers by role and kind, `blame` the
    rejected dialogues by the party at fault, `rejected_untold` those rejected for telling alone: every state was right,
    a value was never told.
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
    kinds: dict[str, KindMetrics] = Field(default_factory=dict)
    evidence: dict[str, EvidenceMetrics] = Field(default_factory=dict)
    reasons: dict[str, int] = Field(default_factory=dict)
    blame: dict[str, int] = Field(default_factory=dict)
    rejected_untold: int = 0
    pass_rates: dict[str, int] = Field(default_factory=dict)
    flaws: dict[str, int] = Field(default_factory=dict)
    refused_drafts: dict[str, int] = Field(default_factory=dict)
    domains: dict[str, int] = Field(default_factory=dict)
    agreement: Agreement | None = None
    dependency: Dependency | None = None
    parallel: ParallelCalls | None = None
    quality: Quality | None = None
    diversity: Diversity | None = None
    roles: dict[str, RoleMetrics] = Field(default_factory=dict)
    requests: int
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    wall_s: float
    latency_s: float | None = None
    throughput: float | None = None
    gpu_hours: float
    cost: float


class StatisticsTally:
    """Accumulates outcomes in any order; memory grows with the number of distinct openings, goals and plans only, 8
    bytes of each. Without `users` the user simulator's quality is not measured."""

    def __init__(
        self,
        pipeline: str,
        users: UserSettings | None,
        gate: QualitySettings,
        costs: CostSettings,
        saturation: SaturationSettings,
    ) -> None:
        self.pipeline = pipeline
        self.gate = gate
        self.costs = costs
        self.saturation = saturation
        self._counts: dict[str, Counter[Any]] = defaultdict(Counter)
        self._tasks: dict[int, Counter[int]] = defaultdict(Counter)
        self._difficulties: dict[str, Counter[str]] = defaultdict(Counter)
        self._roles: dict[str, RoleUsage] = defaultdict(RoleUsage)
        self._models: dict[str, str | None] = {}
        self._seconds: Counter[str] = Counter()
        self._retries: Counter[str] = Counter()
        self._last: dict[int, float] = defaultdict(float)
        self._requested = self._unanswered = self._untold = 0
        self._agreement, self._dependency = AgreementTally(), DependencyTally()
        self._kinds = KindTally()
        self._quality = QualityTally(users) if users else None
        self._diversity = DiversityTally()

    def add(self, outcome: Outcome) -> None:
        self._counts["status"][outcome.status] += 1
        kinds = reason_kinds(outcome)
        self._counts["reasons"].update(kinds)
        self._untold += outcome.status == "rejected" and set(kinds) == {"told"}
        self._requested += outcome.tasks_requested
        self._unanswered += outcome.unanswered
        self._last[outcome.session] = max(self._last[outcome.session], outcome.clock)
        self._seconds.update(outcome.role_seconds)
        self._retries.update(outcome.role_retries)
        for role, usage in outcome.dialogue.usage.roles.items() if outcome.dialogue else ():
            self._roles[role] += usage
        if outcome.dialogue:
            provenance = outcome.dialogue.provenance
            self._models |= dict.fromkeys(outcome.dialogue.usage.roles, provenance.llm) | provenance.llms
        if outcome.dialogue and outcome.status != "failed":
            self._add_validated(outcome.dialogue, outcome.status == "accepted")
            if outcome.status == "accepted":
                self._add_accepted(outcome.dialogue, outcome.tasks_requested)

    def _add_validated(self, dialogue: Dialogue, accepted: bool) -> None:
        """Counts that include rejected dialogues."""
        if dialogue.verdict and dialogue.verdict.blame:
            self._counts["blame"][dialogue.verdict.blame] += 1
        if (played := dialogue.provenance.rollouts) is not None:
            self._counts["pass_rates"][f"{dialogue.provenance.rollouts_passed}/{played}"] += 1
        self._counts["flaws"].update(dialogue.usage.flaws)
        self._counts["refused"].update(dialogue.provenance.refused_drafts)
        self._agreement.add(dialogue)
        self._kinds.add(dialogue, accepted)

    def _add_accepted(self, dialogue: Dialogue, requested: int) -> None:
        self._counts["step"].update(count for count in dialogue.steps() if count)
        self._counts["turn"][dialogue.turns] += 1
        self._counts["task"][len(dialogue.tasks)] += 1
        self._counts["user_turns"][dialogue.user_turns] += 1
        self._counts["domains"][dialogue.domain] += 1
        self._tasks[requested][len(dialogue.tasks)] += 1
        for task in dialogue.tasks:
            request = dialogue.provenance.writer_requests.get(task.task_id)
            if task.kind == "plain":  # of special requests, difficulty is only measured
                self._difficulties[request.difficulty if request else "given"][task.difficulty] += 1
            if request and request.follow_up:
                self._counts["follow_ups"]["requested"] += 1
                self._counts["follow_ups"]["used a learnt value"] += task.follows_from is not None
        calling = [m for m in dialogue.messages if isinstance(m, AssistantMessage) and m.tool_calls]
        several = sum(len(message.tool_calls or ()) > 1 for message in calling)
        self._counts["parallel"].update({"messages": len(calling), "several": several} | dialogue.provenance.parallel)
        self._dependency.add(dialogue)
        self._diversity.add(dialogue)
        if self._quality:
            self._quality.add(dialogue)

    def result(self) -> Statistics:
        """The metrics so far."""
        counts, status = self._counts, self._counts["status"]
        started, wall = status.total(), sum(self._last.values())
        total = sum(self._roles.values(), RoleUsage())
        generated = total.completion_tokens
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
            kinds=self._kinds.kinds(),
            evidence=self._kinds.evidence(),
            reasons=dict(counts["reasons"].most_common()),
            blame=dict(counts["blame"].most_common()),
            rejected_untold=self._untold,
            pass_rates=dict(sorted(counts["pass_rates"].items())),
            flaws=dict(counts["flaws"].most_common()),
            refused_drafts=dict(counts["refused"].most_common()),
            domains=dict(sorted(counts["domains"].items())),
            agreement=self._agreement.result(),
            dependency=self._dependency.result(),
            parallel=ParallelCalls.of(counts["parallel"]) if counts["parallel"] else None,
            quality=self._quality.result(self.gate) if self._quality else None,
            diversity=self._diversity.result(self.saturation) if status["accepted"] else None,
            roles={role: self._role(role, usage, gpu_hours) for role, usage in sorted(self._roles.items())},
            requests=total.requests,
            prompt_tokens=total.prompt_tokens,
            completion_tokens=generated,
            wall_s=round(wall, 3),
            latency_s=round(wall / status["accepted"], 4) if status["accepted"] else None,
            throughput=round(generated / wall, 1) if wall and generated is not None else None,
            gpu_hours=round(gpu_hours, 4),
            cost=round(gpu_hours * self.costs.per_gpu_hour, 2),
        )

    def _role(self, role: str, usage: RoleUsage, gpu_hours: float) -> RoleMetrics:
        waited = self._seconds.total()
        return RoleMetrics(
            llm=self._models.get(role),
            **usage.model_dump(),
            retries=self._retries[role],
            seconds=round(self._seconds[role], 3),
            gpu_hours=round(gpu_hours * self._seconds[role] / waited, 4) if waited else 0.0,
        )


def reason_kinds(outcome: Outcome) -> tuple[str, ...]:
    """The distinct kinds of an outcome's reasons, in their order."""
    return tuple(dict.fromkeys(map(reason_kind, outcome.reasons)))


def reason_kind(reason: str) -> str:
    """The check that failed; of a dialogue that did not finish also the role.

    >>> reason_kind("told in task 2: never told: 17"), reason_kind("finished: agent: repeats itself")
    ('told', 'finished: agent')
    """
    check, _, rest = reason.partition(": ")
    return f"{check}: {rest.partition(': ')[0]}" if check == "finished" else check.partition(" ")[0]
