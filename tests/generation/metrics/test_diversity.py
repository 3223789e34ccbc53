"""Goal skeletons by hand; the curve of a tally against a recount; saturation."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.dialogue import Dialogue, PlannedCall, Rubric, Task
from core.messages import AssistantMessage, SystemMessage, ToolSpec, UserMessage
from generation.metrics.diversity import (
    DiversityTally,
    SaturationSettings,
    dialogue_traits,
    digest,
    goal_skeleton,
    growth_per_doubling,
    plan_shape,
)
from tests.generation.helpers.pipeline_runs import FinishedRun

SETTINGS = SaturationSettings(growth=0.2, dialogues=200)


def task(goal: str, *calls: tuple[str, dict[str, Any]], **fields: Any) -> Task:
    plan = tuple(PlannedCall(tool=tool, arguments=arguments) for tool, arguments in calls)
    known: dict[str, Any] = {"task_id": "t", "subgoals": (), "difficulty": "easy", "rubric": Rubric(criteria=())}
    return Task(goal=goal, plan=plan, **(known | fields))


TOOLS = tuple(ToolSpec(name=name, description=name, parameters={"type": "object"}) for name in ("find", "move", "drop"))


def dialogue(number: int, *tasks: Task, prompt: str = "You serve.", domain: str = "vet") -> Dialogue:
    messages = (SystemMessage(content=prompt), UserMessage(content="Hi."), AssistantMessage(content="Hello."))
    return Dialogue(dialogue_id=f"p-{number}", pipeline="p", domain=domain, tools=TOOLS, messages=messages, tasks=tasks)


@pytest.mark.parametrize(
    ("goal", "calls", "skeleton"),
    [
        (
            "The user wants to move visit 204 to March 14th, 2025 at 9:30.",
            [("move", {"visit_id": 204, "day": "2025-03-14", "time": "09:30"})],
            "the user wants to move visit □ to □ at □",
        ),
        (
            "Rename the pet Rex to Max the Great; Rexona stays.",
            [("find", {"name": "Rex"}), ("move", {"pet_id": "${0.pet_id}", "name": "max the great"})],
            "rename the pet □ to □ rexona stays",
        ),
        ("Cancel it for Ada Lovelace (ada@b.org), order A-17.", [], "cancel it for □ order □"),
        ("Wants the vet Dr. Ada Lovelace.", [("find", {"vet": "Dr. Ada Lovelace"})], "wants the vet □"),
        ("Wants 3, 4 and 5.", [("find", {"n": 3})], "wants □ and □"),
        ("Von Köln nach Straße 9", [("find", {"from": "Köln", "to": "STRASSE"})], "von □ nach strasse □"),
    ],
)
def test_skeletons(goal: str, calls: list[tuple[str, dict[str, Any]]], skeleton: str) -> None:
    assert goal_skeleton(task(goal, *calls)) == skeleton


@given(st.integers(2, 10**6), st.sampled_from(["Rex", "Bello II", "O'Neill", "Zoë", "a+b (c)"]))
def test_goals_that_differ_in_values_alone_have_one_skeleton(number: int, name: str) -> None:
    one, other = (
        goal_skeleton(task(f"Move {name} from visit {n} to box {n}.", ("move", {"pet": name, "visit": n})))
        for name, n in ((name, number), ("Laika", 7))
    )
    assert one == other == "move □ from visit □ to box □"


def test_shapes_are_kinds_with_sequences_of_tools() -> None:
    two = [("find", {"a": 1}), ("move", {})]
    assert plan_shape(task("x", *two)) == plan_shape(task("y", ("find", {"a": 2}), ("move", {})))
    assert plan_shape(task("x", *two)) != plan_shape(task("x", *reversed(two)))
    assert plan_shape(task("x", *two)) != plan_shape(task("x", *two, kind="ambiguous"))


def test_tools_are_a_domains_and_must_be_declared() -> None:
    calls = [("find", {}), ("unknown", {})]
    traits = dialogue_traits(dialogue(1, task("x", *calls)))
    assert (len(traits.tools_used), len(traits.tools_declared)) == (1, 3)
    assert not traits.tools_used & dialogue_traits(dialogue(1, task("x", *calls), domain="zoo")).tools_used


def test_system_prompts_that_differ_in_the_date_alone_are_one() -> None:
    prompts = ["It is Monday 2026-01-05 10:00.", "It is Friday 2026-02-06 11:30.", "It is late."]
    assert len(set().union(*(dialogue_traits(dialogue(1, prompt=prompt)).system_prompts for prompt in prompts))) == 2


def random_dialogues(count: int, goals: int) -> list[Dialogue]:
    rng = Random(count)
    names = [f"{chr(97 + n % 26)}{chr(97 + n // 26)}" for n in range(goals)]
    return [
        dialogue(n, *(task(f"do {rng.choice(names)}", ("find", {})) for _ in range(rng.randint(1, 3))))
        for n in range(count)
    ]


def test_the_curve_equals_a_recount_of_nested_subsets_in_any_order() -> None:
    dialogues = random_dialogues(700, 400)
    tallies = [DiversityTally(), DiversityTally()]
    for given_dialogue in dialogues:
        tallies[0].add(given_dialogue)
    for given_dialogue in Random(5).sample(dialogues, len(dialogues)):
        tallies[1].add(given_dialogue)
    assert tallies[0].result(SETTINGS) == tallies[1].result(SETTINGS)
    curve = tallies[0].result(SETTINGS).curve
    assert [point.dialogues for point in curve] == sorted((point.dialogues for point in curve), reverse=True)
    assert len(curve) >= 3
    for level, point in enumerate(curve):
        subset = [given for given in dialogues if digest(given.dialogue_id) % 2**level == 0]
        assert point.dialogues == len(subset)
        assert point.goal_skeletons == len({t.goal for given in subset for t in given.tasks})
        assert (point.plan_shapes, point.system_prompts) == (1, 1)
        assert (point.tools_used, point.tools_declared, point.tool_coverage) == (1, 3, 1 / 3)
    assert 0.4 < curve[1].dialogues / curve[0].dialogues < 0.6


@pytest.mark.parametrize(("goals", "saturated"), [(40, True), (676, False)])
def test_few_goals_saturate_and_many_do_not(goals: int, saturated: bool) -> None:
    tally = DiversityTally()
    for given_dialogue in random_dialogues(400, goals):
        tally.add(given_dialogue)
    result = tally.result(SETTINGS)
    assert result.saturated is saturated
    assert result.growth is not None
    assert (result.growth < 0.2) is saturated
    assert not tally.result(SaturationSettings(growth=0.2, dialogues=401)).saturated, "too few to tell"


def test_a_run_without_tasks_or_with_one_dialogue_says_nothing_about_growth() -> None:
    tally = DiversityTally()
    assert tally.result(SETTINGS).curve == ()
    tally.add(dialogue(1))
    result = tally.result(SETTINGS)
    assert (len(result.curve), result.growth, result.saturated) == (1, None, False)


def test_growth_is_that_of_one_doubling() -> None:
    assert growth_per_doubling(500, 1000, 40, 50) == 0.25
    assert growth_per_doubling(250, 1000, 40, 160) == 1.0, "twice as many with each of two doublings"
    assert growth_per_doubling(100, 150, 30, 30) == 0.0


def test_a_run_reports_the_diversity_of_its_accepted_dialogues(executed: FinishedRun) -> None:
    diversity = executed.statistics.diversity
    assert diversity
    (whole,) = diversity.curve
    accepted = executed.accepted
    assert whole.dialogues == len(accepted)
    assert whole.goal_skeletons == len({goal_skeleton(t) for given in accepted for t in given.tasks})
    assert whole.plan_shapes == len({(t.kind, *(c.tool for c in t.plan)) for given in accepted for t in given.tasks})
    used = {(given.domain, call.tool) for given in accepted for t in given.tasks for call in t.gold_calls}
    assert whole.tools_used == len(used)
