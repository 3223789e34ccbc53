"""Settings of the held-out benchmark, and the conditions they select."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import Field, field_validator

from core.request_kinds import RequestKind
from core.settings import Settings, UserError, closest
from evaluation.heldout.databases import DatabaseKind
from generation.dialogue.personas import UserSettings
from generation.dialogue.setup import DialogueSettings, RolloutSettings
from generation.environments.faulty import ToolFaults
from generation.tasks.settings import TaskSettings

Difficulties = Literal["mixed", "easy", "medium", "hard"]
NO_FAULT = "none"
MAX_TASKS = 20


class Condition(Settings):
    """The properties of a dialogue that the benchmark varies."""

    tasks_per_dialogue: int = Field(ge=1, le=MAX_TASKS, description=f"tasks in a dialogue, 1 to {MAX_TASKS}")
    difficulty: Difficulties = Field(description="difficulty of every task; mixed: drawn by `tasks.difficulties`")
    fault: str = Field(description="fault of the tools, a key of `faults`; none: tools work")
    kind: RequestKind = Field(description="kind of every request (core.request_kinds.RequestKind)")


class AxesSettings(Settings):
    """The values tried on each axis, with the other axes as in `base`. An empty list does not vary its axis."""

    tasks_per_dialogue: tuple[int, ...] = Field(default=(), description=f"numbers of tasks, each 1 to {MAX_TASKS}")
    difficulty: tuple[Difficulties, ...] = Field(default=(), description="difficulties of all tasks of a dialogue")
    fault: tuple[str, ...] = Field(default=(), description="faults of the tools, keys of `faults`, or none")
    kind: tuple[RequestKind, ...] = Field(default=(), description="kinds of all requests of a dialogue")

    @field_validator("tasks_per_dialogue")
    @classmethod
    def _in_range(cls, values: tuple[int, ...]) -> tuple[int, ...]:
        if wrong := [value for value in values if not 1 <= value <= MAX_TASKS]:
            raise ValueError(f"a dialogue has 1 to {MAX_TASKS} tasks, not {wrong[0]}")
        return values


def conditions(base: Condition, axes: AxesSettings) -> Iterator[tuple[str, Condition]]:
    """Yields (varied axis, condition): the base, whose varied axis is "", then every other value of each axis."""
    yield "", base
    for axis in AxesSettings.model_fields:
        for value in dict.fromkeys(getattr(axes, axis)):
            if value != getattr(base, axis):
                yield axis, base.model_copy(update={axis: value})


class HeldoutSettings(Settings):
    """Settings of the held-out benchmark: the keys of conf/benchmark/heldout.yaml."""

    subset: Literal["smoke", "full"] = Field(description="smoke: only `base`; full: also each value of `axes`")
    dialogues: int = Field(ge=1, description="dialogues per condition and kind of databases")
    categories: tuple[DatabaseKind, ...] = Field(
        default=("unseen_databases", "trained_databases"),
        description="kinds of databases: those of `databases`, and those of the training data with new tasks",
    )
    base: Condition = Field(description="the condition from which one axis at a time is varied")
    axes: AxesSettings = Field(description="values of each axis")
    faults: dict[str, ToolFaults] = Field(description="name of a fault -> shares of the tools' faults")
    seed: int = Field(description="random seed; it must differ from the generation's, or the tasks are not unseen")
    max_tools: int = Field(ge=3, description="tools per database")
    policy_rules: int = Field(ge=0, description="rules of each unseen database's policy at most; 0: no policies")
    rows_per_table: int = Field(ge=1, description="rows per table from which the task writer's views are drawn")
    row_cap: int = Field(description="rows that a tool call returns at most")
    time_limit_s: float = Field(description="time limit per tool call, in seconds")
    timeout_s: float = Field(gt=0, description="time limit per request to the evaluated model, in seconds")
    outage_s: float = Field(ge=0, description="seconds without any answer of the server after which the run stops")
    tasks: TaskSettings = Field(description="the tasks; `count` is replaced by the condition's tasks_per_dialogue")
    rollout: RolloutSettings = Field(description="limits of a dialogue")
    user: UserSettings = Field(description="the user simulator")

    def conditions(self) -> list[tuple[str, Condition]]:
        """The selected (varied axis, condition) pairs. Raises UserError for a fault that `faults` does not define."""
        selected = list(conditions(self.base, self.axes if self.subset == "full" else AxesSettings()))
        known = [NO_FAULT, *self.faults]
        for _, condition in selected:
            if condition.fault not in known:
                raise UserError(
                    f"benchmarks.heldout: unknown fault {condition.fault!r}; {closest(condition.fault, known)}"
                )
        return selected

    def dialogue(self, tasks: int) -> DialogueSettings:
        """The settings of a dialogue with that many tasks."""
        return DialogueSettings(
            tasks=self.tasks.model_copy(update={"count": {tasks: 1.0}}), rollout=self.rollout, user=self.user
        )
