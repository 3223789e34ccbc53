"""Plans that do not fit their tools are refused before any call, each with the reason."""

from __future__ import annotations

from typing import Any

import pytest

from core.dialogue import PlannedCall
from core.messages import ToolSpec
from generation.environments.simulated.environment import SimulatedEnvironmentFactory
from generation.llm.meter import Meter
from generation.scripted.llm import ScriptedLLM
from generation.tasks.plan_form import form_problems
from generation.tasks.proof import ProofError, prove_imported
from generation.tools.toolset import Toolset
from tests.generation.helpers.pipeline_runs import TASK
from tests.generation.helpers.travel_tools import BOOLEAN, INTEGER, NUMBER, STRING, obj, rows, spec

RECIPE = {"type": "object", "properties": {"recipe_id": STRING, "minutes": INTEGER}}
TOOLS: dict[str, ToolSpec] = {
    tool.name: tool
    for tool in (
        spec(
            "search_recipes",
            obj(("most",), ingredient=STRING, most=INTEGER),
            obj(recipes={"type": "array", "items": {"$ref": "#/$defs/recipe"}}) | {"$defs": {"recipe": RECIPE}},
        ),
        spec("get_recipe", obj(recipe_id=STRING), RECIPE),
        spec("list_recipes", obj(), rows(recipe_id=STRING, rating=NUMBER)),
        spec("find_author", obj(name=STRING), STRING),
        spec("rate", obj(("note",), recipe_id=STRING, stars=INTEGER, note={"anyOf": [STRING, {"type": "null"}]}), None),
        spec("flag", obj(on=BOOLEAN, who={"anyOf": [STRING, INTEGER]}), obj()),
        spec("note", {"type": "object", "additionalProperties": STRING}, None),
    )
}


def call(tool: str, /, *tell: str, subgoal: int = 0, **arguments: Any) -> PlannedCall:
    return PlannedCall(tool=tool, arguments=arguments, tell=tell, subgoal=subgoal)


def problems(*plan: PlannedCall) -> list[str]:
    return list(form_problems(plan, TOOLS, 1))


@pytest.mark.parametrize(
    "plan",
    [
        [
            call("search_recipes", ingredient="tomato"),
            call("get_recipe", "minutes", recipe_id="${0.recipes.recipe_id}"),
        ],
        [call("list_recipes"), call("rate", recipe_id="${0.recipe_id}", stars=3, note=None)],
        [call("find_author", name="Ann"), call("flag", on=True, who="${0}")],
        [call("get_recipe", recipe_id="r"), call("flag", on=False, who="${0.minutes}")],
        [call("search_recipes", "minutes", ingredient="tomato", most=10)],
        [call("rate", recipe_id="r", stars=3), call("note", anything="${0.goes}")],
        [call("list_recipes"), call("rate", recipe_id="r", stars="${0.rating}")],
    ],
)
def test_plans_that_fit(plan: list[PlannedCall]) -> None:
    assert problems(*plan) == []


@pytest.mark.parametrize(
    ("plan", "why"),
    [
        ([call("cook")], "call 0 (cook): there is no such tool; there are: search_recipes, get_recipe"),
        (
            [call("get_recipe", recipe_id="r", subgoal=1)],
            "call 0 (get_recipe) serves a subgoal that is not among the 1",
        ),
        (
            [call("get_recipe", recipe_id="r", subgoal=-1)],
            "call 0 (get_recipe) serves a subgoal that is not among the 1",
        ),
        ([call("get_recipe", recipe_id="r", nonsense=1)], "it has no parameter 'nonsense'; it has: recipe_id"),
        ([call("rate", recipe_id="r")], "call 0 (rate): the parameter 'stars' is required"),
        ([call("rate", recipe_id="r", stars="three")], "stars: 'three' is not of type 'integer'"),
        (
            [call("get_recipe", recipe_id="${7.none}")],
            "${7.none} does not name an earlier call; those before it are none",
        ),
        ([call("get_recipe", recipe_id="${0.recipe_id}")], "${0.recipe_id} does not name an earlier call"),
        (
            [call("list_recipes"), call("get_recipe", recipe_id="${0.id}")],
            "call 1 (get_recipe): ${0.id}: list_recipes returns no 'id'; it returns: recipe_id, rating",
        ),
        (
            [call("search_recipes", ingredient="egg"), call("get_recipe", recipe_id="${0.recipe_id}")],
            "it returns: recipes, recipes.recipe_id, recipes.minutes",
        ),
        (
            [call("get_recipe", recipe_id="r"), call("get_recipe", recipe_id="${0.minutes}")],
            "${0.minutes} is of type number, but string is expected",
        ),
        (
            [call("list_recipes"), call("get_recipe", recipe_id="${0}")],
            "call 0 returns no single value; name one of its fields: recipe_id, rating",
        ),
        ([call("find_author", name="Ann"), call("flag", on="${0}", who=1)], "of type string, but boolean is expected"),
        (
            [call("find_author", name="the ${0.name}")],
            "'the ${0.name}' is not a value: a placeholder must be the whole argument",
        ),
        ([call("get_recipe", "price", recipe_id="r")], "it returns no 'price' to tell; it returns: recipe_id, minutes"),
        ([call("find_author", "name", name="Ann")], "it returns no 'name' to tell; it returns: nothing"),
    ],
)
def test_plans_that_do_not_fit(plan: list[PlannedCall], why: str) -> None:
    assert why in "\n".join(problems(*plan))


def test_every_call_is_checked() -> None:
    plan = [call("cook"), call("get_recipe"), call("rate", recipe_id="${9}", stars=2)]
    assert [problem.split(":")[0].split(" serves")[0] for problem in problems(*plan)] == [
        "call 0 (cook)",
        "call 1 (get_recipe)",
        "call 2 (rate)",
    ]


async def test_an_imported_task_whose_plan_does_not_fit_simulated_tools_does_not_hold() -> None:
    toolset = Toolset(domain="kitchen", description="", tools=tuple(TOOLS.values()))
    kitchen = SimulatedEnvironmentFactory().for_domain(toolset, Meter(ScriptedLLM()), "d").open()
    good = TASK.model_copy(update={"plan": (call("get_recipe", recipe_id="r1"),)})
    assert (await prove_imported(good, kitchen)).plan == good.plan
    for plan in ((call("get_recipe", nonsense=1),), (call("get_recipe", recipe_id="${7.none}"),)):
        with pytest.raises(ProofError, match=r"call 0 \(get_recipe\)"):
            await prove_imported(TASK.model_copy(update={"plan": plan}), kitchen)
