"""The interface of a stage, and the six stages: tools, schemas, tasks, rollout, parallel, validation.

A stage fills in what a toolset or a dialogue lacks, and keeps what it has. So a run may start and end with any stage.
The configuration (conf/stage/) chooses the stages, your own ones in the same way.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from pydantic import Field, field_validator

from core.dialogue import Dialogue
from core.provenance import Provenance
from core.settings import Settings, UserError, typed
from generation.dialogue.parallel import ParallelSettings, merge_look_ups
from generation.dialogue.rollout import InterruptedDialogueError, Rollout
from generation.dialogue.setup import RolloutContext
from generation.llm.meter import Meter
from generation.policies.files import read_policies
from generation.policies.writer import PolicySettings, check_policy, write_policy
from generation.seeds.base import Seed
from generation.tools.from_questions import ToolmakingSettings, make_tools
from generation.tools.output_schemas import predict_output_schemas
from generation.tools.toolset import Toolset
from generation.validation.judge import Gate
from generation.validation.validate import validate


@runtime_checkable
class ToolsetStage(Protocol):
    """Works on one domain's toolset."""

    async def toolset(self, toolset: Toolset, seed: Seed | None, meter: Meter) -> Toolset:
        """The toolset with more filled in. `seed` is None for a toolset that was read from a file. Raises
        UnusableAnswerError, which leaves the domain without tools, and LLMError."""
        ...


@runtime_checkable
class DialogueStage(Protocol):
    """Works on one dialogue. Skipped for dialogues that stopped early (`Dialogue.stop`)."""

    async def dialogue(self, dialogue: Dialogue, context: RolloutContext) -> Dialogue:
        """The dialogue with more filled in. Raises UnusableAnswerError, which rejects it, LLMError, and
        InterruptedDialogueError, which keeps the unfinished dialogue together with the error that interrupted it."""
        ...


Stage = ToolsetStage | DialogueStage


class Tools:
    """Stage 1: from seeds to toolsets. The keys are those of ToolmakingSettings."""

    def __init__(self, **settings: int) -> None:
        self.settings = typed(settings, ToolmakingSettings, "stages.tools")

    async def toolset(self, toolset: Toolset, seed: Seed | None, meter: Meter) -> Toolset:
        return await make_tools(seed, meter, self.settings) if seed else toolset


class SchemasSettings(Settings):
    """Settings of the schemas stage."""

    attempts: int = Field(ge=1, description="requests per tool until its output schema is usable")


class Schemas:
    """Stage 2: the output schema of each tool. The keys are those of SchemasSettings."""

    def __init__(self, attempts: int) -> None:
        self.settings = typed({"attempts": attempts}, SchemasSettings, "stages.schemas")

    async def toolset(self, toolset: Toolset, seed: Seed | None, meter: Meter) -> Toolset:
        return await predict_output_schemas(toolset, meter, self.settings.attempts)


class Policies:
    """The rules that each domain's assistant must follow: given in a file, brought by the domain, or written by the
    model and verified by execution. The keys are those of PolicySettings."""

    def __init__(self, **settings: Any) -> None:
        """Raises UserError for a file that cannot be read."""
        self.settings = typed(settings, PolicySettings, "stages.policy")
        self.given = read_policies(self.settings.file) if self.settings.file else {}

    async def toolset(self, toolset: Toolset, seed: Seed | None, meter: Meter) -> Toolset:
        """Raises UserError for a given policy that does not fit the toolset."""
        given = self.given.get(toolset.domain)
        if given and toolset.policy and toolset.policy != given:
            raise UserError(
                f"{self.settings.file}: {toolset.domain} brings a policy of its own; expected: policies of other domains"
            )
        if given and toolset.tools:
            await check_policy(given, toolset, str(self.settings.file))
            return toolset.model_copy(update={"policy": given, "counts": toolset.counts | {"rules": len(given.rules)}})
        if toolset.policy or not toolset.tools or not self.settings.rules:
            return toolset
        return await write_policy(toolset, meter, self.settings)


class Tasks:
    """Stage 3, task generation: a dialogue's first task. The rollout writes further ones, which depend on it."""

    async def dialogue(self, dialogue: Dialogue, context: RolloutContext) -> Dialogue:
        if dialogue.tasks:
            return dialogue
        environment = context.domain_environment.open()
        writer = context.writer(dialogue)
        try:
            task = await writer.write(environment)
        finally:
            environment.close()
        context.proved[task.task_id] = task
        written = Provenance(refused_drafts=dict(writer.refusals), writer_requests=writer.requests)
        return dialogue.model_copy(update={"tasks": (task,), "provenance": dialogue.provenance | written})


class Rollouts:
    """Stage 3, conversation generation."""

    async def dialogue(self, dialogue: Dialogue, context: RolloutContext) -> Dialogue:
        rollout = Rollout(dialogue, context)
        try:
            return await rollout.run()
        except Exception as error:
            raise InterruptedDialogueError(rollout.so_far(), error) from error


class Parallel:
    """Stage 3, after the rollout: parallel calls, where tools are executed. The keys are those of ParallelSettings."""

    def __init__(self, share: float, max_calls: int) -> None:
        self.settings = typed({"share": share, "max_calls": max_calls}, ParallelSettings, "stages.parallel")

    async def dialogue(self, dialogue: Dialogue, context: RolloutContext) -> Dialogue:
        if (
            not context.executable or dialogue.user_actions
        ):  # between look-ups, the user may have changed what they show
            return dialogue
        return await merge_look_ups(dialogue, context.domain_environment, context.seed, self.settings)


class ValidationSettings(Settings):
    """Settings of the validation stage."""

    votes: int = Field(ge=1, description="judgments per task, an odd number; the majority decides")
    attempts: int = Field(ge=1, description="requests per judgment until it is readable")
    gate: Gate = Field(
        default="off",
        description='whether the judge can also reject what execution accepts: off; majority, if most votes are "invalid"; '
        "unanimous, if any is",
    )

    @field_validator("votes")
    @classmethod
    def _is_odd(cls, votes: int) -> int:
        if votes % 2 == 0:
            raise ValueError("expected an odd number, so that a majority decides")
        return votes


class Validation:
    """Stage 3, validation, by execution and by an LRM judge. The keys are those of ValidationSettings."""

    def __init__(self, **settings: Any) -> None:
        self.settings = typed(settings, ValidationSettings, "stages.validation")

    async def dialogue(self, dialogue: Dialogue, context: RolloutContext) -> Dialogue:
        return await validate(
            dialogue,
            context.domain_environment,
            context.models.judge,
            context.scene,
            context.executable,
            self.settings.votes,
            self.settings.attempts,
            self.settings.gate,
        )
