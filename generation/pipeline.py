"""A pipeline composes domains, an environment, a model, stages and settings; it generates dialogue number i."""

from __future__ import annotations

import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from random import Random
from typing import Any

from core.dialogue import Dialogue
from core.messages import ToolSpec
from core.provenance import Provenance
from core.settings import UserError
from generation.dialogue.rollout import InterruptedDialogueError
from generation.dialogue.scenario import Scenario, ScenarioDealer
from generation.dialogue.setup import DialogueSettings, RoleModels, RolloutContext
from generation.environments.base import EnvironmentFactory
from generation.environments.clock import dialogue_time
from generation.environments.offered import offering
from generation.llm.base import LLM, LLMError, UnusableAnswerError
from generation.llm.meter import Meter
from generation.metrics.diversity import SaturationSettings
from generation.metrics.statistics import CostSettings
from generation.metrics.user_quality import QualitySettings
from generation.outcomes import Outcome
from generation.specs.titles import description_of, title_of, tool_nouns
from generation.stages import DialogueStage, Rollouts
from generation.start_states.start_states import StartStates, apply_start
from generation.tasks.writer import Domain
from generation.tools.toolset import Toolset
from generation.validation.validate import broken_off


@dataclass(frozen=True)
class DomainTools:
    """One domain to generate from: its tools, and what the task writer may know about its data."""

    toolset: Toolset
    domain: Domain


@dataclass(frozen=True)
class Pipeline:
    """Everything that determines dialogue number i. `provenance` is the part that all its dialogues share."""

    name: str
    domains: tuple[DomainTools, ...]
    environments: EnvironmentFactory
    llm: LLM
    stages: tuple[DialogueStage, ...]
    settings: DialogueSettings
    quality: QualitySettings
    saturation: SaturationSettings
    costs: CostSettings
    seed: int
    provenance: Provenance
    start_states: StartStates

    def weight(self, number: int) -> int:
        """The expected length of dialogue `number`: its number of tasks."""
        return self.settings.tasks.draw(self._seed(dialogue_id(self.name, number)))

    def _seed(self, name: str) -> str:
        return f"{self.seed}/{name}"

    async def dialogue(self, number: int) -> Outcome:
        """Generate dialogue `number`. Any error becomes its outcome, except for cancellation and a UserError, which
        would hit every dialogue alike."""
        name = dialogue_id(self.name, number)
        started, meter = time.monotonic(), Meter(self.llm)
        unfinished: Dialogue | None = None
        try:
            outcome = await self._outcome(name, number, meter)
        except InterruptedDialogueError as interrupted:
            outcome, unfinished = _failure(name, interrupted.cause), interrupted.dialogue
        except Exception as error:
            outcome = _failure(name, error)
        update: dict[str, Any] = {
            "seconds": round(time.monotonic() - started, 4),
            "role_seconds": {role: round(seconds, 4) for role, seconds in sorted(meter.seconds.items())},
            "role_retries": dict(sorted(meter.retries.items())),
        }
        if unfinished:
            update["dialogue"] = unfinished.model_copy(update={"usage": meter.usage})
        return outcome.model_copy(update=update)

    async def _outcome(self, name: str, number: int, meter: Meter) -> Outcome:
        try:
            draft, domain_tools, scenario = self._start(name, number)
        except ValueError as error:
            return Outcome(dialogue_id=name, status="rejected", reasons=(str(error),))
        dialogue = await self._run_stages(draft, domain_tools, scenario, meter)
        verdict = dialogue.verdict
        return Outcome(
            dialogue_id=name,
            status="accepted" if is_accepted(dialogue) else "rejected",
            reasons=verdict.reasons if verdict else (),
            dialogue=dialogue,
            tasks_requested=dialogue.provenance.tasks_requested,
        )

    def _start(self, name: str, number: int) -> tuple[Dialogue, DomainTools, Scenario]:
        """The dialogue before the first stage, its domain and its scenario. Raises ValueError if its start state cannot
        be used."""
        starts, settings = self.start_states.starts, self.start_states.settings
        if not starts:
            domain_tools = self._domain_tools(number)
            scenario = self._scenario(domain_tools, number // len(self.domains))
            domain = domain_tools.domain.name
            draft = Dialogue(
                dialogue_id=name,
                pipeline=self.name,
                domain=domain,
                tools=scenario.tools,
                user_tools=domain_tools.toolset.user_tools,
            )
            return self._with_policy(draft, domain_tools.toolset), domain_tools, scenario
        start = starts[number // settings.branches]
        if not start.dialogue:
            raise ValueError(f"start: {start.problem}")
        # All branches of one parent fork at the same place.
        draft = apply_start(start.dialogue, name, settings.at, Random(f"{self.seed}/{start.parent}/fork"))
        domain_tools = self._domain_tools_of(draft, number // settings.branches)
        scenario = self._scenario(domain_tools, number // settings.branches)
        pool = {tool.name for tool in domain_tools.toolset.tools}
        parameters = {tool.name: tool.parameters for tool in draft.tools}
        if draft.tools and not settings.inject and parameters.keys() <= pool:
            further: tuple[ToolSpec, ...] = ()  # it was generated with a part of the pool
        else:
            # Given tasks may need any of them.
            further = domain_tools.toolset.tools if draft.tasks else scenario.tools
        tools = (*draft.tools, *(tool for tool in further if tool.name not in parameters))
        if draft.tools:
            scenario = replace(scenario, cards=())  # they name tools of a new dialogue
        if self.environments.engine is not None:
            # The declared tools must be the executed ones.
            other = [t.name for t in domain_tools.toolset.tools if parameters.get(t.name, t.parameters) != t.parameters]
            if other:
                raise ValueError(
                    f"start: its tools {other} take other arguments than those of {domain_tools.domain.name}"
                )
        else:
            domain_tools = DomainTools(domain_tools.toolset.model_copy(update={"tools": tools}), domain_tools.domain)
        update = {"pipeline": self.name, "domain": domain_tools.domain.name, "tools": tools}
        draft = self._with_policy(draft.model_copy(update=update), domain_tools.toolset)
        return draft, domain_tools, scenario

    def _scenario(self, domain_tools: DomainTools, number: int) -> Scenario:
        """That of dialogue `number` of this domain."""
        name = domain_tools.domain.name
        if name not in self._dealers:
            tasks = self.settings.tasks
            self._dealers[name] = ScenarioDealer(
                domain_tools.toolset.tools,
                self.settings.variety,
                max(tasks.count),
                tasks.difficulties,
                self._seed(f"{self.name}/{name}"),
            )
        return self._dealers[name].scenario(number)

    @cached_property
    def _dealers(self) -> dict[str, ScenarioDealer]:
        return {}

    def _with_policy(self, dialogue: Dialogue, toolset: Toolset) -> Dialogue:
        """The dialogue with the rules of its toolset that matter for its tools. A dialogue that has begun keeps to its
        own. A written policy needs a user who can be asked to confirm."""
        policy = toolset.policy
        if dialogue.messages or dialogue.policy or policy is None:
            return dialogue
        if not (self.settings.rollout.user_simulator or policy.text):
            return dialogue
        policy = policy.for_tools({tool.name for tool in dialogue.tools})
        return dialogue.model_copy(
            update={"policy": policy if policy.rules or policy.text or policy.workflows else None}
        )

    def _domain_tools(self, number: int) -> DomainTools:
        if not self.domains:
            raise ValueError("tool_maker: no domain has enough valid tools; see toolsets.jsonl")
        return self.domains[number % len(self.domains)]

    def _domain_tools_of(self, draft: Dialogue, number: int) -> DomainTools:
        """The domain that a start state names; else its own tools if they can be simulated; else, with `inject` or if
        it names no domain, a seed domain. Raises ValueError if its domain can be neither simulated nor executed."""
        for domain_tools in self.domains:
            if domain_tools.domain.name == draft.domain:
                return domain_tools
        if draft.tools and self.environments.engine is None and not self.start_states.settings.inject:
            name, nouns = draft.domain or "given", tool_nouns(draft.tools)
            title, description = title_of(draft.domain, nouns), description_of(nouns)
            toolset = Toolset(domain=name, title=title, description=description, tools=draft.tools)
            return DomainTools(toolset, Domain(name, None, {}, title=title, description=description))
        if draft.domain and not self.start_states.settings.inject:
            names = ", ".join(domain_tools.domain.name for domain_tools in self.domains) or "none"
            raise ValueError(f"start: no toolset for its domain {draft.domain!r}; available: {names}")
        return self._domain_tools(number)

    async def _run_stages(
        self, dialogue: Dialogue, domain_tools: DomainTools, scenario: Scenario, meter: Meter
    ) -> Dialogue:
        """The dialogue after all stages, or after the one in which it stopped early; of several rollouts the first
        accepted one, else the first."""
        context = self._context(dialogue, domain_tools, scenario, meter)
        playing = next((i for i, stage in enumerate(self.stages) if isinstance(stage, Rollouts)), len(self.stages))
        draft = await _run(self.stages[:playing], dialogue, context)
        if playing == len(self.stages) or not _goes_on(draft):
            return self._with_origin(draft, domain_tools.toolset, meter)
        settings, played = self.settings.rollouts, list[Dialogue]()
        for meter.rollout in range(settings.most):
            if meter.rollout:  # a rollout shares neither tool faults nor simulated records with another one
                context = replace(self._context(dialogue, domain_tools, scenario, meter), proved=context.proved)
            played.append(await _run(self.stages[playing:], draft, context))
            if settings.stop_at_first and is_accepted(played[-1]):
                break
        kept = next(filter(is_accepted, played), played[0])
        passed = sum(map(is_accepted, played))
        # Set to None, too: a dialogue that continues another one does not inherit its counts.
        counts = (len(played), passed) if settings.most > 1 else (None, None)
        provenance = kept.provenance | Provenance(rollouts=counts[0], rollouts_passed=counts[1])
        kept = kept.model_copy(update={"provenance": provenance})
        return self._with_origin(kept, domain_tools.toolset, meter)

    def _context(
        self, dialogue: Dialogue, domain_tools: DomainTools, scenario: Scenario, meter: Meter
    ) -> RolloutContext:
        now = dialogue_time(dialogue, domain_tools.toolset.now)
        pool = self.environments.for_domain(domain_tools.toolset, meter, dialogue.dialogue_id, now)
        return RolloutContext(
            domain=replace(domain_tools.domain, policy=dialogue.policy),
            domain_environment=offering(pool, dialogue.tools, dialogue.user_tools),
            executable=self.environments.executable,
            models=RoleModels.of(meter),
            settings=self.settings,
            seed=self._seed(dialogue.dialogue_id),
            now=now,
            scenario=scenario,
        )

    def _with_origin(self, dialogue: Dialogue, toolset: Toolset, meter: Meter) -> Dialogue:
        """The dialogue with its usage, all rollouts included, and its complete provenance."""
        provenance = Provenance(
            source=toolset.provenance.source or dialogue.provenance.source,
            licence=toolset.provenance.licence or dialogue.provenance.licence,
            llm=self.llm.name,  # read only now: a client learns it from the server
            **({"llms": dict(sorted(meter.models.items()))} if len(set(meter.models.values())) > 1 else {}),
            database_sha256=toolset.database_sha256,
        )
        return dialogue.model_copy(
            update={"usage": meter.usage, "provenance": dialogue.provenance | self.provenance | provenance}
        )


async def _run(stages: Sequence[DialogueStage], dialogue: Dialogue, context: RolloutContext) -> Dialogue:
    """The dialogue after these stages, or after the one in which it stopped early, then rejected."""
    for stage in stages:
        try:
            dialogue = await stage.dialogue(dialogue, context)
        except UnusableAnswerError as error:
            dialogue = dialogue.model_copy(update={"stop": str(error)})
        if not _goes_on(dialogue):
            return broken_off(dialogue)
    return dialogue


def _goes_on(dialogue: Dialogue) -> bool:
    return dialogue.stop in ("complete", "open")


def is_accepted(dialogue: Dialogue) -> bool:
    """Whether its verdict accepts it. Without a validation stage, every dialogue that passed the stages is accepted."""
    return dialogue.verdict is None or dialogue.verdict.accepted


def _failure(name: str, error: Exception) -> Outcome:
    """The outcome of a dialogue that raised `error`. Re-raises a UserError, which would hit every dialogue alike."""
    if isinstance(error, UserError):
        raise error
    if isinstance(error, LLMError):
        return failed(name, f"llm: {error}", unanswered=True)
    # An internal error in one dialogue must neither end the run nor vanish: it is recorded and counted.
    trace = "".join(traceback.format_exception(error))
    return failed(name, f"internal: {type(error).__name__}: {error}", trace=trace)


def failed(name: str, why: str, unanswered: bool = False, trace: str = "") -> Outcome:
    """The outcome of a failed dialogue. `why` may contain a lone surrogate, which UTF-8 cannot encode."""
    reason, trace = (text.encode(errors="replace").decode() for text in (why, trace))
    return Outcome(dialogue_id=name, status="failed", unanswered=unanswered, reasons=(reason,), trace=trace)


def dialogue_id(pipeline: str, number: int) -> str:
    return f"{pipeline}-{number:07d}"
