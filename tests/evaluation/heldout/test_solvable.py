"""Which tasks can be solved with faulty tools, and the order of the varied conditions."""

from __future__ import annotations

import json
from typing import Any

import pytest

from core.dialogue import PlannedCall, Rubric, Task
from evaluation.heldout.settings import AxesSettings, Condition, conditions
from evaluation.heldout.solvable import solvable
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


class FixedResults:
    """An environment that returns these results in turn and records the arguments."""

    def __init__(self, *results: Any) -> None:
        self.results = list(results)
        self.arguments: list[dict[str, Any]] = []

    async def call(self, name: str, arguments: dict[str, Any], transcript: Any = ()) -> ToolResult:
        self.arguments.append(arguments)
        value = self.results.pop(0)
        return ToolResult(json.dumps(value), value, error="error" in value)


@pytest.mark.parametrize(
    ("results", "expected"),
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
async def test_a_task_is_solvable_if_calls_succeed_and_show_the_needed_values(
    results: tuple[Any, ...], expected: bool
) -> None:
    environment: Any = FixedResults(*results)
    assert await solvable([TASK], environment) == expected
    if OTHER in results and expected:
        assert environment.arguments[-1] == {"memberId": 17}


def test_each_axis_is_varied_alone() -> None:
    base = Condition(tasks_per_dialogue=2, difficulty="mixed", fault="none", kind="plain")
    axes = AxesSettings(tasks_per_dialogue=(1, 2, 4, 4), difficulty=("hard",), kind=("plain", "forbidden"))
    assert [(axis, *condition.model_dump().values()) for axis, condition in conditions(base, axes)] == [
        ("", 2, "mixed", "none", "plain"),
        ("tasks_per_dialogue", 1, "mixed", "none", "plain"),
        ("tasks_per_dialogue", 4, "mixed", "none", "plain"),
        ("difficulty", 2, "hard", "none", "plain"),
        ("kind", 2, "mixed", "none", "forbidden"),
    ]
