"""What one rollout is set up with: its settings, the model in each role, and the context handed to every dialogue stage."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from pydantic import Field

from core.dialogue import Task
from core.settings import Settings
from generation.dialogue.user import UserSettings
from generation.environments.base import DomainEnvironment
from generation.llm.meter import Meter
from generation.tasks.writer import Domain, TaskSettings, TaskWriter


class RolloutSettings(Settings):
    """How a dialogue is played; `user_simulator` False hands each task to the agent whole (the task-oriented baseline).

    `invalid_calls` of the agent (an undeclared tool, arguments that do not fit) are asked for again, since no dialogue to learn
    from may hold them, or are answered with an error, as where the agent is what is measured.
    """

    user_simulator: bool
    invalid_calls: Literal["retry", "error"]
    max_user_turns: int = Field(ge=1, description="user messages per task")
    max_steps: int = Field(ge=1, description="rounds of tool use per user message")
    agent_attempts: int = Field(ge=1, description="how often an unusable answer of the agent is asked for again")


@dataclass(frozen=True)
class DialogueSettings:
    """How the dialogues of one pipeline are made."""

    tasks: TaskSettings
    rollout: RolloutSettings
    user: UserSettings


@dataclass(frozen=True)
class RoleModels:
    """Which model plays which role."""

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
    """What one dialogue is made with. `executable` says that the world really runs its tools; everything random derives from
    `seed`, which belongs to this dialogue alone. `proved` holds
    the tasks, by id, that a stage has proved in the environment's initial state."""

    domain: Domain
    domain_environment: DomainEnvironment
    executable: bool
    models: RoleModels
    settings: DialogueSettings
    seed: str
    proved: dict[str, Task] = field(default_factory=dict)

    def writer(self, dialogue_id: str) -> TaskWriter:
        return TaskWriter(self.models.task_writer, self.domain, self.settings.tasks, dialogue_id, self.seed)
