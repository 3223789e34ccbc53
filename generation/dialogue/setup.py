"""Setup of one rollout: its settings, the model in each role, and the context that every dialogue stage gets."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from pydantic import Field

from core.dialogue import Dialogue, Task
from core.provenance import Provenance
from core.settings import Settings
from generation.dialogue.personas import User, UserSettings, drawn_user, recalled_user
from generation.dialogue.scenario import Scenario, VarietySettings
from generation.environments.base import DomainEnvironment
from generation.llm.meter import Meter
from generation.prompts.scene import Scene
from generation.tasks.settings import TaskSettings
from generation.tasks.writer import Domain, TaskWriter


class RolloutSettings(Settings):
    """Limits of a rollout, and whether a simulated user takes part."""

    user_simulator: bool = Field(
        description="simulate a user; false: give each goal to the agent as one message (the task-oriented baseline)"
    )
    user_checks_state: bool = Field(
        description="whether the scripted user decides by execution that its requests are done (the state has their "
        "changes, their values were told), as the held-out benchmark does; false: by the agent's words. Real users and "
        "models know only the words"
    )
    invalid_calls: Literal["retry", "error"] = Field(
        description="for calls of undeclared tools or with unfitting arguments: retry requests the agent's answer "
        "again, so that the transcript stays valid training data; error returns an error to it, as evaluations do"
    )
    max_user_turns: int = Field(ge=1, description="user messages per task")
    max_steps: int = Field(ge=1, description="rounds of tool use per user message")
    agent_attempts: int = Field(ge=1, description="requests per agent message until an answer is usable")


class RolloutsSettings(Settings):
    """How often a dialogue is played from the same first task, each time with other sampling seeds. The first accepted
    rollout is kept, else the first one."""

    most: int = Field(default=1, ge=1, description="rollouts of a dialogue at most")
    stop_at_first: bool = Field(
        default=True,
        description="stop at the first accepted rollout (best of n); false: always play `most`, which measures the pass "
        "rate of the task",
    )


@dataclass(frozen=True)
class DialogueSettings:
    """The settings of one pipeline's dialogues."""

    tasks: TaskSettings
    rollout: RolloutSettings
    user: UserSettings
    rollouts: RolloutsSettings = field(default_factory=RolloutsSettings)
    variety: VarietySettings = field(default_factory=VarietySettings)


@dataclass(frozen=True)
class RoleModels:
    """The model in each role."""

    task_writer: Meter
    user: Meter
    agent: Meter
    judge: Meter

    @classmethod
    def of(cls, meter: Meter) -> RoleModels:
        """One model in every role."""
        return cls(meter, meter, meter, meter)


@dataclass(frozen=True)
class RolloutContext:
    """What the dialogue stages need to generate one dialogue.

    `executable` means that the environment really executes its tools. Everything random derives from `seed`, which is
    this dialogue's only; `now` is its date and time. `proved` holds the tasks, by id, that a stage has proved in the
    environment's initial state.
    """

    domain: Domain
    domain_environment: DomainEnvironment
    executable: bool
    models: RoleModels
    settings: DialogueSettings
    seed: str
    now: str
    scenario: Scenario = field(default_factory=Scenario)
    proved: dict[str, Task] = field(default_factory=dict)

    @property
    def scene(self) -> Scene:
        return self.domain.scene(self.now)

    def user(self, provenance: Provenance) -> User:
        """The dialogue's user: the one that its provenance names or, in a new dialogue, a drawn one."""
        return recalled_user(self.settings.user, drawn_user(self.settings.user, f"{self.seed}/rollout"), provenance)

    def writer(self, dialogue: Dialogue) -> TaskWriter:
        """The writer of the dialogue's tasks. Users are described to it where the settings tell them apart."""
        settings = self.settings
        return TaskWriter(
            self.models.task_writer,
            self.domain,
            settings.tasks,
            dialogue.dialogue_id,
            self.seed,
            self.now,
            self.scenario.cards,
            self.user(dialogue.provenance).persona
            if settings.user.described and settings.rollout.user_simulator
            else "",
        )
