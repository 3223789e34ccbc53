"""Which tasks can be solved where tools are not what they should be."""

from __future__ import annotations

import json
from typing import Any

import pytest

from core.dialogue import PlannedCall, Rubric, Task
from evaluation.heldout.tasks import AxesSettings, Condition, conditions, recoverable
from generation.environments.base import ToolResult

PLAN = (
    PlannedCall(tool="find_member", arguments={"name": "Ida Holm"}),
    PlannedCall(tool="list_loans", arguments={"member_id": "${0.member_id}"}, tell=("title",)),
)
GOLD = (PLAN[0], PLAN[1].model_copy(update={"arguments": {"member_id": 17}}))
TASK = Task(
    task_id="t",
    goal="Ida Holm wants to know what she has borrowed.",
    subgoals=("know it",),
    difficulty="easy",
    rubric=Rubric(criteria=()),
    plan=PLAN,
    gold_calls=GOLD,
    told_values=("Emma",),
)
MEMBER, LOANS = [{"member_id": 17}], [{"title": "Emma"}]
SORRY = {"error": "try again"}
OTHER = {"error": "unknown argument 'member_id'; expected: memberId"}


class Told:
    """An environment that gives these results in turn, and notes the arguments."""

    def __init__(self, *results: Any) -> None:
        self.results = list(results)
        self.arguments: list[dict[str, Any]] = []

    async def call(self, name: str, arguments: dict[str, Any], transcript: Any = ()) -> ToolResult:
        self.arguments.append(arguments)
        value = self.results.pop(0)
        return ToolResult(json.dumps(value), value, error="error" in value)


@pytest.mark.parametrize(
    ("results", "solvable"),
    [
        ((MEMBER, LOANS), True),
        ((SORRY, MEMBER, SORRY, LOANS), True),
        ((SORRY, SORRY, SORRY), False),
        ((MEMBER, OTHER, LOANS), True),
        ((MEMBER, OTHER, OTHER, OTHER), False),
        (([{"memberId": 17}], [{"name": "Emma"}]), True),
        (([{"name": "Ida Holm"}], LOANS), False),
        (([{"member_id": 170}], LOANS), False),
        ((MEMBER, [{"title": "Persuasion"}]), False),
        ((MEMBER, []), False),
    ],
)
async def test_a_task_is_solvable_if_calls_get_through_and_show_what_is_needed(
    results: tuple[Any, ...], solvable: bool
) -> None:
    environment: Any = Told(*results)
    assert await recoverable([TASK], environment) == solvable
    if OTHER in results and solvable:
        assert environment.arguments[-1] == {"memberId": 17}


def test_each_axis_is_varied_alone() -> None:
    base = Condition(tasks_per_dialogue=2, difficulty="mixed", fault="none")
    axes = AxesSettings(tasks_per_dialogue=(1, 2, 4, 4), difficulty=("hard",))
    assert [(axis, *condition.model_dump().values()) for axis, condition in conditions(base, axes)] == [
        ("", 2, "mixed", "none"),
        ("tasks_per_dialogue", 1, "mixed", "none"),
        ("tasks_per_dialogue", 4, "mixed", "none"),
        ("difficulty", 2, "hard", "none"),
    ]
