"""Tools that a model makes up: checked calls, values that fit, a ledger that the next prompt repeats."""

from __future__ import annotations

import json
from typing import Any

import pytest
from rollouts import Played, Sayer

from core.messages import ToolSpec, schema_error
from generation.environments.simulated import SimulatedEnvironment, SimulatedWorld
from generation.llm.base import UnusableAnswerError

PARAMETERS = {"type": "object", "properties": {"day": {"type": "string"}}, "required": ["day"]}
ROWS = {"type": "array", "items": {"type": "object", "properties": {"id": {"type": "integer"}}, "required": ["id"]}}
TOOLS = (
    ToolSpec(name="list_visits", description="The visits of a day.", parameters=PARAMETERS, returns=ROWS),
    ToolSpec(name="get_weather", description="The weather.", parameters=PARAMETERS),
)


def environment(*texts: str, dialogue: str = "d") -> tuple[SimulatedEnvironment, Sayer]:
    llm = Sayer(list(texts))
    return SimulatedWorld("zoo", TOOLS, llm, dialogue, attempts=3).open(), llm


@pytest.mark.parametrize(
    ("name", "arguments", "why"),
    [
        ("feed", {}, "unknown tool 'feed'; known: get_weather, list_visits"),
        ("list_visits", {}, "'day' is a required property"),
        ("list_visits", {"day": 3}, "day: 3 is not of type 'string'"),
    ],
)
async def test_wrong_calls_are_refused_without_asking_the_model(name: str, arguments: dict[str, Any], why: str) -> None:
    zoo, llm = environment()
    before = zoo.state_hash()
    result = await zoo.call(name, arguments)
    assert result.error
    assert why in json.loads(result.content)["error"]
    assert not llm.requests
    assert zoo.state_hash() == before


async def test_a_fitting_value_is_returned_and_remembered() -> None:
    zoo, llm = environment('Certainly: [{"id": 7}]', '{"sky": "grau", "note": "übel"}')
    first = await zoo.call("list_visits", {"day": "monday"})
    second = await zoo.call("get_weather", {"day": "monday"})
    assert (first.value, first.error) == ([{"id": 7}], False)
    assert json.loads(second.content) == second.value == {"sky": "grau", "note": "übel"}
    prompts = [request.messages[0].content for request in llm.requests]
    assert "Calls so far" not in prompts[0]
    assert 'list_visits({"day": "monday"}) -> [{"id": 7}]' in prompts[1]
    assert llm.requests[0].json_schema == ROWS


async def test_a_value_that_does_not_fit_is_asked_for_again() -> None:
    zoo, llm = environment("no idea", '{"visits": [{"id": 1}]}', '[{"id": "seven"}]', '[{"id": 7}]')
    with pytest.raises(UnusableAnswerError, match=r"list_visits gave no fitting value in 3 attempts: 0.id: 'seven'"):
        await zoo.call("list_visits", {"day": "monday"})
    assert (await zoo.call("list_visits", {"day": "monday"})).value == [{"id": 7}]
    assert len({request.key for request in llm.requests[:3]}) == 3


async def test_an_error_that_the_model_makes_up_is_an_error() -> None:
    zoo, _ = environment('{"error": "closed on mondays"}')
    assert (await zoo.call("get_weather", {"day": "monday"})).error


async def test_a_fork_goes_its_own_way_and_reset_forgets() -> None:
    zoo, llm = environment('{"sky": "blue"}', '{"sky": "red"}')
    blank = zoo.state_hash()
    await zoo.call("get_weather", {"day": "monday"})
    fork = zoo.fork()
    assert fork.state_hash() == zoo.state_hash() != blank
    await fork.call("get_weather", {"day": "tuesday"})
    assert fork.state_hash() != zoo.state_hash()
    assert '"blue"' in llm.requests[1].messages[0].content, "the fork remembers what came before it"
    again = SimulatedWorld("zoo", TOOLS, llm, "d", 3).open(fork.snapshot())
    assert again.state_hash() == fork.state_hash()
    zoo.reset()
    assert zoo.state_hash() == blank
    assert fork.state_diff() == ()


async def test_the_reference_time_stays_within_a_dialogue_and_differs_between_them() -> None:
    times = set()
    for dialogue in ("a", "b", "c"):
        zoo, llm = environment("{}", "{}", dialogue=dialogue)
        await zoo.call("get_weather", {"day": "monday"})
        await zoo.fork().call("get_weather", {"day": "tuesday"})
        said = {r.messages[0].content.partition("The time is ")[2].partition(" unless")[0] for r in llm.requests}
        assert len(said) == 1
        times |= said
    assert len(times) == 3


def test_in_real_dialogues_every_result_fits_its_tool(simulated: dict[str, Played]) -> None:
    checked = 0
    for dialogue in simulated["user_oriented"].accepted:
        returns = {tool.name: tool.returns or {} for tool in dialogue.tools}
        assert dialogue.state is None
        assert not any(task.gold_calls for task in dialogue.tasks)
        for name, _, result in dialogue.calls():
            assert schema_error(json.loads(result), returns[name]) is None
            checked += 1
    assert checked > 50
