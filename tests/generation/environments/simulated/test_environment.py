"""Simulated tools: checked calls, values that fit, no contradictions, a time that the conversation can state."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from core.messages import ToolSpec
from core.schemas import schema_error
from core.settings import UserError
from generation.environments.simulated.environment import (
    SimulatedEnvironmentFactory,
    SimulatedEnvironmentSettings,
    read_value,
)
from generation.llm.base import UnusableAnswerError
from generation.llm.contexts import ToolSimulatorContext
from generation.llm.meter import Meter
from generation.tools.toolset import Toolset
from tests.generation.helpers.pipeline_runs import CONF, ListedAnswers
from tests.generation.helpers.simulated_visits import ROWS, TOOLS, environment, prompts

LION = '{"animal_id": 7, "name": "Leo", "kind": "lion"}'


@pytest.mark.parametrize(
    ("name", "arguments", "why"),
    [
        ("feed", {}, "unknown tool 'feed'; known: get_animal, get_weather, list_visits, rename_animal"),
        ("list_visits", {}, "'day' is a required property"),
        ("list_visits", {"day": 3}, "day: 3 is not of type 'string'"),
    ],
)
async def test_invalid_calls_are_refused_without_a_request(name: str, arguments: dict[str, Any], why: str) -> None:
    zoo, llm, _ = environment()
    before = zoo.state_hash()
    result = await zoo.call(name, arguments)
    assert result.error
    assert why in json.loads(result.content)["error"]
    assert not llm.requests
    assert zoo.state_hash() == before


async def test_a_fitting_value_is_returned_and_remembered() -> None:
    zoo, llm, meter = environment('Certainly: [{"id": 7}]', '{"sky": "grau", "note": "übel"}', '[{"id": 8}]')
    first = await zoo.call("list_visits", {"day": "monday"})
    second = await zoo.call("get_weather", {"day": "monday"})
    await zoo.call("list_visits", {"day": "tuesday"})
    assert (first.value, first.error) == ([{"id": 7}], False)
    assert json.loads(second.content) == second.value == {"sky": "grau", "note": "übel"}
    assert "Earlier calls" not in prompts(llm)[0]
    assert 'list_visits({"day": "monday"}) -> [{"id": 7}]' in prompts(llm)[2]
    assert "grau" not in prompts(llm)[2], "the weather has nothing to do with visits"
    assert meter.flaws == {}


async def test_a_repeated_reading_call_returns_the_same_bytes_without_a_request() -> None:
    zoo, llm, _ = environment(LION, '{"ok": true}', LION.replace("Leo", "Rex"))
    first = await zoo.call("get_animal", {"animal_id": 7})
    state = zoo.state_hash()
    assert await zoo.call("get_animal", {"animal_id": 7}) == first
    assert (len(llm.requests), zoo.state_hash()) == (1, state)
    await zoo.call("rename_animal", {"animal_id": 7, "name": "Rex"})
    assert (await zoo.call("get_animal", {"animal_id": 7})).value["name"] == "Rex"
    assert len(llm.requests) == 3


async def test_a_contradiction_goes_back_with_what_is_known_and_is_counted() -> None:
    other = '[{"id": 1, "animal": {"id": 7, "name": "Rex"}}]'
    zoo, llm, meter = environment(LION, other, other.replace("Rex", "Leo"))
    await zoo.call("get_animal", {"animal_id": 7})
    assert (await zoo.call("list_visits", {"day": "monday"})).value[0]["animal"]["name"] == "Leo"
    assert meter.flaws == {"tool_simulator/contradiction": 1, "tool_simulator/refused": 1}
    assert "Leo" not in prompts(llm)[1], "the call does not name the animal"
    complaint = llm.requests[2].messages[-1].content
    assert 'cannot be used: list_visits: animal_id=7 has name "Leo", not "Rex"' in complaint
    assert '- animal_id=7: {"name": "Leo", "kind": "lion"}' in prompts(llm)[2]
    context = llm.requests[2].context
    assert isinstance(context, ToolSimulatorContext)
    assert context.known == {"animal_id=7": {"name": "Leo", "kind": "lion"}}
    assert len({request.key for request in llm.requests}) == 3


async def test_a_value_that_does_not_fit_is_requested_again() -> None:
    texts = ("no idea", '{"visits": [{"id": 1}]}', '[{"id": "seven"}]', '[{"id": 7}]')
    zoo, llm, meter = environment(*texts, attempts=3)
    with pytest.raises(UnusableAnswerError, match=r"tool_simulator: .*3 attempts: .*list_visits: 0.id: 'seven'"):
        await zoo.call("list_visits", {"day": "monday"})
    assert (await zoo.call("list_visits", {"day": "monday"})).value == [{"id": 7}]
    assert len({request.key for request in llm.requests[:3]}) == 3
    assert meter.flaws == {"tool_simulator/malformed": 3}


async def test_the_error_of_a_tool_fits_any_schema() -> None:
    zoo, llm, _ = environment('{"error": "closed on mondays"}')
    assert (await zoo.call("list_visits", {"day": "monday"})).error
    guided = llm.requests[0].json_schema or {}
    assert schema_error([{"id": 1}], guided) is schema_error({"error": "x"}, guided) is None
    assert schema_error([{"id": "x"}], guided)
    assert schema_error({"error": "x", "id": 1}, guided)


async def test_guided_decoding_finds_the_definitions() -> None:
    returns = {
        "type": "array",
        "items": {"$ref": "#/$defs/row"},
        "$defs": {"row": {"type": "object", "properties": {"id": {"type": "integer"}}, "required": ["id"]}},
    }
    spec = ToolSpec(name="list_rows", description="", parameters={"type": "object"}, returns=returns)
    llm = ListedAnswers(['[{"id": 1}]'])
    await (
        SimulatedEnvironmentFactory()
        .for_domain(Toolset(domain="d", description="", tools=(spec,)), Meter(llm), "d")
        .open()
        .call("list_rows", {})
    )
    guided = llm.requests[0].json_schema or {}
    assert schema_error([{"id": 1}], guided) is None
    assert schema_error([{}], guided)


@pytest.mark.parametrize(
    ("text", "schema", "value"),
    [
        ("12.5", {"type": "number"}, 12.5),
        ('"yes"', {"type": "string"}, "yes"),
        (" true ", {"type": "boolean"}, True),
        ("null", {"type": ["object", "null"]}, None),
        ("```json\n[1, 2]\n```", {"type": "array"}, [1, 2]),
        ('```\n{"a": 1}\n```', None, {"a": 1}),
        ('Here: {"a": 1} as asked', None, {"a": 1}),
        ('The rows {"of": 1} are [{"id": 1}]', ROWS, [{"id": 1}]),
        ("{'a': 1,}", None, {"a": 1}),
        ('{"error": "no such visit"}', ROWS, {"error": "no such visit"}),
    ],
)
def test_json_of_any_kind_that_the_schema_allows(text: str, schema: dict[str, Any] | None, value: Any) -> None:
    assert read_value(text, schema) == value


@pytest.mark.parametrize(
    ("text", "schema", "why"),
    [
        ("12.5", None, "is not of type 'object', 'array'"),
        ("", None, "expected a JSON object"),
        ('"7"', {"type": "integer"}, "'7' is not of type 'integer'"),
        ('{"a": NaN}', None, "JSON|NaN|float"),
        ('{"a": "\\ud83d"}', None, "surrogates"),
        ('{"error": 5}', ROWS, "is not of type 'array'"),
        ("[" * 20_000, None, "expected a JSON"),
        ('[{"id": 1}, {"id": ', ROWS, "expected a JSON"),
    ],
)
def test_unusable_answers_say_why(text: str, schema: dict[str, Any] | None, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        read_value(text, schema)


async def test_a_fork_is_independent_and_reset_forgets() -> None:
    zoo, llm, meter = environment('{"sky": "blue"}', '{"sky": "red"}')
    blank = zoo.state_hash()
    await zoo.call("get_weather", {"day": "monday"})
    fork = zoo.fork()
    assert fork.state_hash() == zoo.state_hash() != blank
    await fork.call("get_weather", {"day": "tuesday"})
    assert fork.state_hash() != zoo.state_hash()
    assert '"blue"' in prompts(llm)[1], "the fork remembers what came before it"
    toolset = Toolset(domain="zoo", description="A zoo.", tools=TOOLS)
    again = SimulatedEnvironmentFactory().for_domain(toolset, meter, "d").open(fork.snapshot())
    assert again.state_hash() == fork.state_hash()
    zoo.reset()
    assert zoo.state_hash() == blank
    assert fork.state_diff() == ()


async def test_recorded_calls_are_adopted_regardless_of_their_source() -> None:
    zoo, llm, _ = environment(LION, '[{"id": 1, "animal": {"id": 7, "name": "Rex"}}]', "[]", attempts=2)
    direct = [("get_animal", {"animal_id": 7}, LION), ("get_animal", {"animal_id": 7}, LION)]
    refused = [("feed", {"a": 1}, '{"error": "unknown"}'), ("list_visits", {}, '{"error": "day?"}')]
    assert await zoo.retrace([*direct, *refused, ("get_weather", {"day": "x"}, "It rains")])
    assert (await zoo.call("get_animal", {"animal_id": 7})).content == LION
    rain = await zoo.call("get_weather", {"day": "x"})
    assert (rain.content, rain.value, rain.error) == ("It rains", "It rains", False)
    assert not llm.requests
    played, _, _ = environment(LION)
    await played.call("get_animal", {"animal_id": 7})
    await played.call("get_animal", {"animal_id": 7})
    retraced, _, _ = environment()
    await retraced.retrace(direct)
    assert retraced.state_hash() == played.state_hash()


def test_an_unknown_setting_is_named() -> None:
    with pytest.raises(UserError, match=r"'environment\.attempt'; did you mean 'attempts'"):
        SimulatedEnvironmentFactory(attempt=3)


def test_the_shipped_settings_are_the_defaults() -> None:
    shipped = yaml.safe_load(Path(CONF / "environment" / "simulated.yaml").read_text())
    assert shipped.pop("_target_") == "generation.environments.simulated.environment.SimulatedEnvironmentFactory"
    assert SimulatedEnvironmentFactory(**shipped).settings == SimulatedEnvironmentSettings()
    assert (SimulatedEnvironmentFactory().engine, SimulatedEnvironmentFactory().executable) == (None, False)


async def test_a_simulated_record_is_whole() -> None:
    """Recorded: a grammar without "required" let the model return {"author_id": 3, "publication_year": 2024, …} of a
    book, without its id and title."""
    book = {"properties": {"book_id": {"type": "integer"}, "title": {"type": "string"}}, "type": "object"}
    spec = ToolSpec(
        name="list_books", description="Books.", parameters={"type": "object"}, returns={"type": "array", "items": book}
    )
    llm = ListedAnswers(['[{"book_id": 3}]', '[{"book_id": 3, "title": "Emma"}]'])
    toolset = Toolset(domain="library", description="", tools=(spec,))
    library = SimulatedEnvironmentFactory().for_domain(toolset, Meter(llm), "d").open()
    assert (await library.call("list_books", {})).value == [{"book_id": 3, "title": "Emma"}]
    assert "'title' is a required property" in llm.requests[1].messages[-1].content
    sent = llm.requests[0].json_schema or {}
    assert sent["anyOf"][0]["items"]["required"] == ["book_id", "title"]
