"""Simulated tools: checked calls, values that fit, no contradictions, a time that the conversation can state."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from core.dialogue import calls
from core.messages import AssistantMessage, Message, SystemMessage, ToolCall, ToolMessage, ToolSpec, UserMessage
from core.schemas import schema_error
from core.settings import UserError
from generation.environments.simulated.environment import (
    SimulatedDomainEnvironment,
    SimulatedEnvironment,
    SimulatedEnvironmentFactory,
    SimulatedEnvironmentSettings,
    read_value,
)
from generation.environments.simulated.ledger import Ledger
from generation.environments.simulated.reference_time import drawn_time, stated_time
from generation.llm.base import Request, UnusableAnswerError
from generation.llm.contexts import ToolSimulatorContext
from generation.llm.meter import Meter
from generation.scripted.tool_simulator import answer
from generation.tools.toolset import Toolset
from tests.generation.helpers.pipeline_runs import CONF, FinishedRun, ListedAnswers

PARAMETERS = {"type": "object", "properties": {"day": {"type": "string"}}, "required": ["day"]}
ID = {"type": "object", "properties": {"animal_id": {"type": "integer"}, "name": {"type": "string"}}}
ROWS = {"type": "array", "items": {"type": "object", "properties": {"id": {"type": "integer"}}, "required": ["id"]}}
TOOLS = (
    ToolSpec(name="list_visits", description="The visits of a day.", parameters=PARAMETERS, returns=ROWS),
    ToolSpec(name="get_weather", description="The weather.", parameters=PARAMETERS),
    ToolSpec(name="get_animal", description="One animal.", parameters=ID, returns={"type": "object"}),
    ToolSpec(name="rename_animal", description="Another name.", parameters=ID),
)
LION = '{"animal_id": 7, "name": "Leo", "kind": "lion"}'


def environment(*texts: str, dialogue: str = "d", **options: int) -> tuple[SimulatedEnvironment, ListedAnswers, Meter]:
    llm = ListedAnswers(list(texts))
    meter = Meter(llm)
    toolset = Toolset(domain="zoo", description="A zoo.", tools=TOOLS)
    return SimulatedEnvironmentFactory(**options).for_domain(toolset, meter, dialogue).open(), llm, meter


def prompts(llm: ListedAnswers) -> list[str]:
    return [request.messages[0].content for request in llm.requests]


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
    assert meter.flaws == {"tool_simulator/contradiction": 1}
    assert "Leo" not in prompts(llm)[1], "the call does not name the animal"
    assert 'Your last answer was refused: list_visits: animal_id=7 has name "Leo", not "Rex"' in prompts(llm)[2]
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
        "$defs": {"row": {"type": "object", "required": ["id"]}},
    }
    spec = ToolSpec(name="list_rows", description="", parameters={"type": "object"}, returns=returns)
    llm = ListedAnswers(['[{"id": 1}]'])
    await (
        SimulatedDomainEnvironment("d", (spec,), Meter(llm), "d", SimulatedEnvironmentSettings())
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
    again = SimulatedDomainEnvironment("zoo", TOOLS, meter, "d", SimulatedEnvironmentSettings()).open(fork.snapshot())
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


def time_lines(llm: ListedAnswers) -> list[str]:
    return [line for prompt in prompts(llm) for line in prompt.splitlines() if line.startswith("The time ")]


async def test_the_reference_time_stays_within_a_dialogue_and_differs_between_them() -> None:
    times = set()
    for dialogue in ("a", "b", "c"):
        zoo, llm, _ = environment("{}", "{}", dialogue=dialogue)
        await zoo.call("get_weather", {"day": "monday"})
        await zoo.fork().call("get_weather", {"day": "tuesday"})
        assert len(time_lines(llm)) == 2
        assert set(time_lines(llm)) == {f"The time is {drawn_time(dialogue)}."}
        times |= {drawn_time(dialogue)}
    assert len(times) == 3


async def test_a_time_stated_by_the_user_counts() -> None:
    zoo, llm, _ = environment("{}")
    await zoo.call("get_weather", {"day": "x"}, (UserMessage(content="Hi, today is May 5, 2024. Will it rain?"),))
    assert time_lines(llm)[0].startswith("The time was stated in the conversation: May 5, 2024.")


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("Today is 2024-05-15, a Wednesday", "2024-05-15"),
        ("The current time is 2024-05-15 15:00:00 EST.", "2024-05-15 15:00:00"),
        ("Current date: 2024-05-15T09:30", "2024-05-15T09:30"),
        ("today's date is the 3rd of March 2025, right?", "the 3rd of March 2025"),
        ("It’s now 3 pm, and I wait", "3 pm"),
        ("it is currently Friday at 9:30", "Friday at 9:30"),
        ("Today is Friday, 7 June. It is now 18:05.", "18:05"),
        ("Today is a good day for it, since 2020-01-01 at least", ""),
        ("My order of 2024-05-15 has not come today", ""),
        ("Is it now possible at 3 pm?", ""),
        ("Today is Mondayish", ""),
    ],
)
def test_how_a_time_is_stated(text: str, time: str) -> None:
    assert stated_time([UserMessage(content=text), AssistantMessage(content="It is now 2020-01-01.")]) == time


def test_the_last_statement_of_user_or_system_counts() -> None:
    messages = [SystemMessage(content="It is now 2024-01-01 10:00."), UserMessage(content="Hi")]
    assert stated_time(messages) == "2024-01-01 10:00"
    assert stated_time([*messages, UserMessage(content="No, today is May 5.")]) == "May 5"


async def test_the_model_sees_the_last_messages_of_user_and_assistant() -> None:
    call = AssistantMessage(tool_calls=(ToolCall.make("c", "get_weather", {"day": "x"}),))
    transcript: list[Message] = [SystemMessage(content="rules"), UserMessage(content="first"), call]
    transcript += [ToolMessage(tool_call_id="c", content="sunny"), AssistantMessage(content="It is sunny.")]
    transcript += [UserMessage(content="And the lions?"), call]
    zoo, llm, _ = environment("{}", transcript_messages=2)
    await zoo.call("get_weather", {"day": "x"}, transcript)
    assert "[assistant] It is sunny.\n[user] And the lions?\n" in prompts(llm)[0]
    assert not any(word in prompts(llm)[0] for word in ("first", "rules", "sunny\n[", "[tool]"))
    zoo, llm, _ = environment("{}", transcript_messages=0)
    await zoo.call("get_weather", {"day": "x"}, transcript)
    assert "conversation in which" not in prompts(llm)[0]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"attempts": 0}, "greater than or equal to 1"),
        ({"transcript_messages": -1}, "greater than or equal to 0"),
        ({"calls_shown": "many"}, "valid integer"),
    ],
)
def test_invalid_settings_say_what_is_expected(options: dict[str, Any], expected: str) -> None:
    name, value = next(iter(options.items()))
    with pytest.raises(UserError, match=rf"'environment.{name}': .*{expected}.* \(given: {value!r}\)"):
        SimulatedEnvironmentFactory(**options)


def test_an_unknown_setting_is_named() -> None:
    with pytest.raises(UserError, match=r"'environment\.attempt'; did you mean 'attempts'"):
        SimulatedEnvironmentFactory(attempt=3)


def test_the_shipped_settings_are_the_defaults() -> None:
    shipped = yaml.safe_load(Path(CONF / "environment" / "simulated.yaml").read_text())
    assert shipped.pop("_target_") == "generation.environments.simulated.environment.SimulatedEnvironmentFactory"
    assert SimulatedEnvironmentFactory(**shipped).settings == SimulatedEnvironmentSettings()
    assert (SimulatedEnvironmentFactory().engine, SimulatedEnvironmentFactory().executable) == (None, False)


# The stand-in.

SCALARS = st.one_of(
    st.sampled_from(
        [{"type": "string"}, {"type": "boolean"}, {"type": ["integer", "null"]}, {"type": ["null", "string"]}]
    ),
    st.sampled_from(["date", "date-time", "email", "uri", "uuid", "ipv4"]).map(
        lambda f: {"type": "string", "format": f}
    ),
    st.lists(st.integers(0, 9), min_size=1, unique=True).map(lambda values: {"enum": values}),
    st.tuples(st.integers(-50, 50), st.integers(0, 60)).map(
        lambda r: {"type": "integer", "minimum": r[0], "maximum": r[0] + r[1]}
    ),
    st.tuples(st.sampled_from(["integer", "number"]), st.integers(-9, 9)).map(
        lambda r: {"type": r[0], "exclusiveMinimum": r[1], "maximum": r[1] + 3}
    ),
    st.integers(-5000, 5000).map(lambda most: {"type": "number", "maximum": most}),
    st.integers(1, 40).map(lambda step: {"type": "integer", "multipleOf": step, "minimum": 0}),
    st.tuples(st.integers(0, 40), st.integers(0, 9)).map(
        lambda r: {"type": "string", "minLength": r[0], "maxLength": r[0] + r[1]}
    ),
    st.sampled_from([{"const": 5}, {"type": "null"}, {"$ref": "#/$defs/day"}, {}]),
)
NAMES = st.sampled_from(
    ["visit_id", "animal_id", "id", "name", "email", "total", "status", "starts_on", "weight", "zip_code"]
)


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": [*properties, "extra"],
        "additionalProperties": True,
    }


SCHEMAS = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.dictionaries(NAMES, inner, max_size=5).map(_object),
        st.tuples(inner, st.integers(0, 3), st.integers(0, 3)).map(
            lambda r: {"type": "array", "items": r[0], "minItems": r[1], "maxItems": r[1] + r[2]}
        ),
        inner.map(lambda schema: {"anyOf": [{"type": "null"}, schema]}),
        inner.map(lambda schema: {"type": "object", "additionalProperties": schema}),
        inner.map(
            lambda schema: {
                "type": "object",
                "additionalProperties": schema,
                "propertyNames": {"enum": ["economy", "business"]},
                "minProperties": 2,
            }
        ),
        st.dictionaries(NAMES, inner, max_size=3).map(lambda p: {"allOf": [_object(p), {"required": ["weight"]}]}),
    ),
    max_leaves=12,
)
VERBS = st.sampled_from(
    ["get_visit", "list_visits", "search_visits", "create_visit", "update_visit_weight", "cancel_visit"]
)


@settings(max_examples=300, deadline=None)
@given(schema=SCHEMAS, tool=VERBS, seed=st.integers(0, 10**6))
def test_the_stand_in_follows_any_schema(schema: dict[str, Any], tool: str, seed: int) -> None:
    complete = {**schema, "$defs": {"day": {"type": "string", "format": "date"}}}
    spec = ToolSpec(name=tool, description="", parameters={"type": "object"}, returns=complete)
    arguments = {"visit_id": 5, "name": "Ann"}
    known = {"visit_id=5": {"name": "Ann", "weight": "heavy", "total": 7}, "visit_id=6": {"exists": False}}
    text = answer(ToolSimulatorContext(spec, arguments, known), Random(seed), "d")
    assert text == answer(ToolSimulatorContext(spec, arguments, known), Random(seed), "d")
    assert "error" in json.loads(text) if schema_error(json.loads(text), complete) else True
    read_value(text, complete)


VISIT = {
    "type": "object",
    "properties": {
        "visit_id": {"type": "integer"},
        "animal_id": {"type": "integer"},
        "day": {"type": "string", "format": "date"},
        "keeper": {"type": "object", "properties": {"keeper_id": {"type": "integer"}, "name": {"type": "string"}}},
    },
    "required": ["visit_id"],
}
LIST = ToolSpec(name="list_visits", description="", parameters=ID, returns={"type": "array", "items": VISIT})
GET = ToolSpec(name="get_visit", description="", parameters=ID, returns=VISIT)


def listed(seed: int, known: dict[str, dict[str, Any]], **arguments: Any) -> Any:
    return json.loads(answer(ToolSimulatorContext(LIST, arguments, known), Random(seed), f"system {seed}"))


def test_the_stand_in_lists_what_is_known_and_others_under_new_identifiers() -> None:
    known = {
        "visit_id=5": {"animal_id": 7, "day": "2020-01-01"},
        "visit_id=6": {"exists": False},
        "visit_id=8": {"animal_id": 9},
    }
    lengths, odd = set(), 0
    for seed in range(300):
        rows = listed(seed, known, animal_id=7)
        if "error" in rows or not rows or rows[0]["visit_id"] != 5:
            odd += 1  # it failed or slipped
            continue
        lengths.add(len(rows))
        assert rows[0]["day"] == "2020-01-01"
        assert {row["animal_id"] for row in rows} == {7}
        assert len({row["visit_id"] for row in rows} | {6, 8}) == len(rows) + 2
    assert lengths == {1, 2, 3, 4}
    assert 3 <= odd <= 40


def test_the_stand_in_sometimes_finds_nothing_and_sometimes_fails() -> None:
    answers = [listed(seed, {}, animal_id=7) for seed in range(500)]
    assert 5 <= sum(rows == [] for rows in answers) <= 50
    assert 2 <= sum("error" in rows for rows in answers) <= 30


def test_a_record_of_the_stand_in_looks_the_same_from_everywhere() -> None:
    """Except for its slips; another dialogue has another system."""
    same = different = 0
    for seed in range(100):
        rows = listed(seed, {}, animal_id=7)
        for row in rows if isinstance(rows, list) else ():
            context = ToolSimulatorContext(
                GET, {"visit_id": row["visit_id"]}, {f"visit_id={row['visit_id']}": {"animal_id": 7}}
            )
            same += json.loads(answer(context, Random(seed + 1000), f"system {seed}")) == row
            different += json.loads(answer(context, Random(seed + 1000), "another")) != row
    assert same > 0.85 * different > 100


def test_the_stand_in_does_not_find_deleted_records() -> None:
    gone = {"visit_id=5": {"exists": False}}
    answers = [json.loads(answer(ToolSimulatorContext(GET, {"visit_id": 5}, gone), Random(n), "s")) for n in range(100)]
    assert sum("not found" in found.get("error", "") for found in answers) > 85


def test_in_real_dialogues_every_result_fits_its_tool(simulated: dict[str, FinishedRun]) -> None:
    checked = 0
    for dialogue in simulated["user_oriented"].accepted:
        returns = {tool.name: tool.returns or {} for tool in dialogue.tools}
        assert dialogue.state is None
        assert not any(task.gold_calls for task in dialogue.tasks)
        for name, arguments, result in calls(dialogue.messages):
            value = json.loads(result)
            refused = isinstance(value, dict) and value.keys() == {"error"}
            assert refused or schema_error(value, returns[name]) is None, arguments
            checked += not refused
    assert checked > 50


def requests_of(played: FinishedRun) -> list[Request]:
    return [request for request, _ in played.log if request.role == "tool_simulator"]


def test_requests_of_real_dialogues_have_unique_keys(simulated: dict[str, FinishedRun]) -> None:
    for played in simulated.values():
        keys = [request.key for request in requests_of(played)]
        assert len(keys) == len(set(keys)) > 50


def test_no_accepted_dialogue_contradicts_itself(simulated: dict[str, FinishedRun]) -> None:
    checked = 0
    for dialogue in (dialogue for played in simulated.values() for dialogue in played.accepted):
        ledger = Ledger()
        for name, arguments, result in calls(dialogue.messages):
            earlier = ledger.recorded_answer(name, arguments)
            assert earlier in (None, result)
            if earlier is None:
                assert ledger.contradiction(name, arguments, json.loads(result)) is None
                ledger.record(name, arguments, result)
            checked += 1
    assert checked > 100
