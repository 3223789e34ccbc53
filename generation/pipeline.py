"""A pipeline is a composition: domains, a kind of environment, a model, stages and their settings. It makes dialogue number i."""

from __future__ import annotations

import time
import traceback
from dataclasses import dataclass
from random import Random
from typing import Any

from core.dialogue import Dialogue
from core.provenance import Provenance
from core.settings import UserError
from generation.dialogue.rollout import InterruptedDialogueError
from generation.dialogue.setup import DialogueSettings, RoleModels, RolloutContext
from generation.environments.base import EnvironmentFactory
from generation.llm.base import LLM, LLMError, UnusableAnswerError
from generation.llm.meter import Meter
from generation.metrics.statistics import CostSettings
from generation.metrics.user_quality import QualitySettings
from generation.outcomes import Outcome
from generation.stages import DialogueStage
from generation.start_states.start_states import StartSettings, StartState, apply_start
from generation.tasks.writer import Domain
from generation.tools.toolset import Toolset
from generation.validation.validate import broken_off


@dataclass(frozen=True)
class DomainTools:
    """One domain to generate from: its tools and what a task writer may know of its data."""

    toolset: Toolset
    domain: Domain


@dataclass(frozen=True)
class StartStates:
    """What the dialogues of a run go on from; none: from nothing."""

    starts: tuple[StartState, ...]
    settings: StartSettings

    def count(self, n: int) -> int:
        """How many of `n` dialogues there can be: each start once for each of its branches."""
        return min(n, len(self.starts) * self.settings.branches) if self.starts else n


@dataclass(frozen=True)
class Pipeline:
    """Everything that decides what dialogue number i will be. `provenance` is the part that all its dialogues share."""

    name: str
    domains: tuple[DomainTools, ...]
    environments: EnvironmentFactory
    llm: LLM
    stages: tuple[DialogueStage, ...]
    settings: DialogueSettings
    quality: QualitySettings
    costs: CostSettings
    seed: int
    provenance: Provenance
    start_states: StartStates

    def weight(self, number: int) -> int:
        """How long dialogue `number` will be, as far as that is known beforehand: its number of tasks."""
        return self.settings.tasks.draw(self._seed(dialogue_id(self.name, number)))

    def _seed(self, name: str) -> str:
        return f"{self.seed}/{name}"

    async def dialogue(self, number: int) -> Outcome:
        """Make dialogue `number`. Whatever goes wrong in it becomes its outcome; a UserError, which would meet every
        dialogue alike, and cancellation pass through."""
        name = dialogue_id(self.name, number)
        started, meter = time.monotonic(), Meter(self.llm)
        unfinished: Dialogue | None = None
        try:
            outcome = await self._outcome(name, number, meter)
        except InterruptedDialogueError as interrupted:
            outcome, unfinished = _failure(name, interrupted.cause), interrupted.dialogue
        except Exception as error:
            outcome = _failure(name, error)
        spent = {role: round(seconds, 4) for role, seconds in sorted(meter.seconds.items())}
        again = dict(sorted(meter.retries.items()))
        update: dict[str, Any] = {
            "seconds": round(time.monotonic() - started, 4),
            "role_seconds": spent,
            "role_retries": again,
        }
        if unfinished:
            update["dialogue"] = unfinished.model_copy(update={"usage": meter.usage})
        return outcome.model_copy(update=update)

    async def _outcome(self, name: str, number: int, meter: Meter) -> Outcome:
        try:
            draft, domain_tools = self._begin(name, number)
        except ValueError as error:
            return Outcome(dialogue_id=name, status="rejected", reasons=(str(error),))
        dialogue = await self._make(draft, domain_tools, meter)
        verdict = dialogue.verdict
        return Outcome(
            dialogue_id=name,
            # Where no stage validates, what came through the chosen stages is all that can be said.
            status="accepted" if verdict is None or verdict.accepted else "rejected",
            reasons=verdict.reasons if verdict else (),
            dialogue=dialogue,
            tasks_requested=dialogue.provenance.tasks_requested,
        )

    def _begin(self, name: str, number: int) -> tuple[Dialogue, DomainTools]:
        """The dialogue as it stands before the first stage, and its subject. Raises ValueError where it cannot begin."""
        starts, settings = self.start_states.starts, self.start_states.settings
        if not starts:
            domain_tools = self._domain_tools(number)
            draft = Dialogue(
                dialogue_id=name, pipeline=self.name, domain=domain_tools.domain.name, tools=domain_tools.toolset.tools
            )
            return draft, domain_tools
        start = starts[number // settings.branches]
        if not start.dialogue:
            raise ValueError(f"start: {start.problem}")
        # All branches of one parent fork at the same place.
        draft = apply_start(start.dialogue, name, settings.at, Random(f"{self.seed}/{start.parent}/fork"))
        domain_tools = self._subject_of(draft, number // settings.branches)
        known = {tool.name: tool.parameters for tool in draft.tools}
        tools = (*draft.tools, *(tool for tool in domain_tools.toolset.tools if tool.name not in known))
        if self.environments.engine is not None:
            # What is declared must be what is executed.
            other = [t.name for t in domain_tools.toolset.tools if known.get(t.name, t.parameters) != t.parameters]
            if other:
                raise ValueError(
                    f"start: its tools {other} take other arguments than those of {domain_tools.domain.name}"
                )
        else:
            domain_tools = DomainTools(domain_tools.toolset.model_copy(update={"tools": tools}), domain_tools.domain)
        update = {"pipeline": self.name, "domain": domain_tools.domain.name, "tools": tools}
        return draft.model_copy(update=update), domain_tools

    def _domain_tools(self, number: int) -> DomainTools:
        if not self.domains:
            raise ValueError("tool_maker: no domain has enough tools that hold; see toolsets.jsonl")
        return self.domains[number % len(self.domains)]

    def _subject_of(self, draft: Dialogue, number: int) -> DomainTools:
        """The domain that a given dialogue names, else its own tools where they can be simulated, else one of the seeds' if that
        is wanted or the dialogue names none. Raises ValueError where its domain can neither be simulated nor executed."""
        for domain_tools in self.domains:
            if domain_tools.domain.name == draft.domain:
                return domain_tools
        if draft.tools and self.environments.engine is None and not self.start_states.settings.inject:
            name = draft.domain or "given"
            return DomainTools(Toolset(domain=name, description="", tools=draft.tools), Domain(name, None, {}))
        if draft.domain and not self.start_states.settings.inject:
            there = ", ".join(domain_tools.domain.name for domain_tools in self.domains) or "none"
            raise ValueError(f"start: there is no toolset of its domain {draft.domain!r}; there are: {there}")
        return self._domain_tools(number)

    async def _make(self, dialogue: Dialogue, domain_tools: DomainTools, meter: Meter) -> Dialogue:
        """The dialogue after all stages, or up to where it broke off."""
        context = RolloutContext(
            domain=domain_tools.domain,
            domain_environment=self.environments.for_domain(domain_tools.toolset, meter, dialogue.dialogue_id),
            executable=self.environments.executable,
            models=RoleModels.of(meter),
            settings=self.settings,
            seed=self._seed(dialogue.dialogue_id),
        )
        for stage in self.stages:
            try:
                dialogue = await stage.dialogue(dialogue, context)
            except UnusableAnswerError as error:
                dialogue = dialogue.model_copy(update={"stop": str(error)})
            if dialogue.stop not in ("complete", "open"):
                dialogue = broken_off(dialogue)
                break
        toolset = domain_tools.toolset
        provenance = Provenance(
            source=toolset.provenance.source or dialogue.provenance.source,
            licence=toolset.provenance.licence or dialogue.provenance.licence,
            llm=self.llm.name,  # read only now: a client learns it from the server
            database_sha256=toolset.database_sha256,
        )
        return dialogue.model_copy(
            update={"usage": meter.usage, "provenance": dialogue.provenance | self.provenance | provenance}
        )


def _failure(name: str, error: Exception) -> Outcome:
    """The outcome of a dialogue that an error ended. Raises a UserError again: it would meet every dialogue alike."""
    if isinstance(error, UserError):
        raise error
    if isinstance(error, LLMError):
        return failed(name, f"llm: {error}", lost=True)
    # A fault of ours in one dialogue must neither end the run nor vanish: it is recorded and counted.
    trace = "".join(traceback.format_exception(error))
    return failed(name, f"internal: {type(error).__name__}: {error}", trace=trace)


def failed(name: str, why: str, lost: bool = False, trace: str = "") -> Outcome:
    """What `why` quotes may hold half a character, which no file can."""
    reason, trace = (text.encode(errors="replace").decode() for text in (why, trace))
    return Outcome(dialogue_id=name, status="failed", lost=lost, reasons=(reason,), trace=trace)


def dialogue_id(pipeline: str, number: int) -> str:
    return f"{pipeline}-{number:07d}"
