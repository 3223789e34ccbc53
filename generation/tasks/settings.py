"""Settings of a dialogue's tasks: how many, how difficult, and what kinds of requests."""

from __future__ import annotations

import math
from random import Random
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from core.dialogue import Difficulty
from core.request_kinds import RequestKind
from core.settings import Settings
from generation.tasks.kinds import LEAST_ROWS


def checked_weights(weights: dict[Any, float]) -> dict[Any, float]:
    """The weights. Raises ValueError if one is negative or none is above 0."""
    if min(weights.values()) < 0 or not 0 < sum(weights.values()) < math.inf:
        raise ValueError(f"weights of 0 or more, at least one of them above 0, are expected; {weights} was given")
    return weights


class RequestSettings(Settings):
    """What kinds of requests users make, and how hard they are."""

    difficulties: dict[Difficulty, float] = Field(min_length=1, description="difficulty -> weight")
    kinds: dict[RequestKind, float] = Field(
        min_length=1,
        description="kind of request (core.request_kinds.RequestKind) -> weight; drawn among those possible",
    )
    evidence_rows: dict[Annotated[int, Field(ge=LEAST_ROWS)], float] = Field(
        min_length=1, description="rows that a request of kind evidence compares at least -> weight"
    )

    @field_validator("difficulties", "kinds", "evidence_rows")
    @classmethod
    def _has_a_positive_weight(cls, weights: dict[Any, float]) -> dict[Any, float]:
        return checked_weights(weights)


class TaskSettings(RequestSettings):
    """Number and kind of a dialogue's tasks."""

    style: Literal["question", "descriptive"] = Field(
        description="wording of goals: a request to the agent, or a description of the user's goal"
    )
    count: dict[Annotated[int, Field(ge=1, le=20)], float] = Field(
        min_length=1, description="number of tasks in a dialogue, 1 to 20 -> weight"
    )
    follow_ups: float = Field(
        ge=0, le=1, description="share of further tasks that should use a value learnt from the previous task"
    )
    attempts: int = Field(ge=1, description="requests per task until a draft is proved")
    rows_in_view: int = Field(ge=1, description="rows of each table that the task writer sees")

    @field_validator("count")
    @classmethod
    def _has_positive_weights(cls, weights: dict[Any, float]) -> dict[Any, float]:
        return checked_weights(weights)

    def draw(self, seed: str) -> int:
        """The number of tasks for the dialogue with this seed."""
        return Random(f"{seed}/tasks").choices(list(self.count), list(self.count.values()))[0]
