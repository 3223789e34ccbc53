"""Output schemas: one conversation per toolset, which answers are sent back, and which count."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from core.messages import AssistantMessage, SystemMessage, UserMessage
from generation.llm.base import Completion, LLMError, Request
from generation.llm.contexts import OutputSchemaContext
from generation.llm.meter import Meter
from generation.tools.output_schemas import predict_output_schemas
from generation.tools.toolset import Toolset
from tests.generation.helpers.pipeline_runs import ListedAnswers
from tests.generation.helpers.schema_toolsets import COUNTED, tool, toolset
from tests.generation.helpers.schemas import obj, rows

THREE = (tool("get_user", obj(user_id="integer")), tool("search_orders", obj(city="string")), tool("update_order"))


USER = obj(user_id="integer", city="string")


ORDERS = rows(order_id="string", user_id="integer")


UPDATED = obj(order_id="string", status="string")


def counts(made: Toolset) -> tuple[int, ...]:
    return tuple(made.counts[name] for name in COUNTED)


async def predict(given: Toolset, *answers: Any, attempts: int = 3) -> tuple[Toolset, list[Request], Meter]:
    sayer = ListedAnswers([answer if isinstance(answer, str) else json.dumps(answer) for answer in answers])
    meter = Meter(sayer)
    made = await predict_output_schemas(given, meter, attempts)
    assert len(sayer.requests) == len(answers)
    return made, sayer.requests, meter


async def test_one_conversation_grows_by_the_valid_answers() -> None:
    made, requests, _ = await predict(toolset(*THREE), USER, ORDERS, UPDATED)
    assert [t.returns for t in made.tools] == [USER, ORDERS, UPDATED]
    assert [t.model_copy(update={"returns": None}) for t in made.tools] == list(THREE)
    assert counts(made) == (3, 0, 0, 0, 0)
    rules = requests[0].messages[0]
    assert isinstance(rules, SystemMessage)
    for given_tool in THREE:
        assert f"- {given_tool.name}: Does {given_tool.name}." in rules.content
    assert "- user_id: integer\n- city: string" in rules.content
    for before, after, answer in zip(requests, requests[1:], (USER, ORDERS), strict=False):
        assert after.messages[:-2] == before.messages
        said, asked = after.messages[-2:]
        assert isinstance(said, AssistantMessage)
        assert json.loads(said.content) == answer
        assert isinstance(asked, UserMessage)
    assert [len(request.messages) for request in requests] == [2, 4, 6]
    assert {request.role for request in requests} == {"schema_writer"}
    assert {request.affinity for request in requests} == {"schemas/shop"}
    assert len({request.key for request in requests}) == 3
    assert isinstance(requests[2].context, OutputSchemaContext)
    assert requests[2].context.entities == {"user_id": "integer", "city": "string", "order_id": "string"}


async def test_a_contradicting_type_is_sent_back_with_its_origin_and_leaves_no_trace() -> None:
    wrong = rows(order_id="string", user_id="string")
    made, requests, meter = await predict(toolset(*THREE), USER, wrong, ORDERS, UPDATED)
    assert [t.returns for t in made.tools] == [USER, ORDERS, UPDATED]
    assert counts(made) == (3, 1, 1, 0, 0)
    complaint = "user_id is integer in get_user, not string"
    repair = requests[2]
    assert repair.messages[:-2] == requests[1].messages
    assert repair.messages[-2] == AssistantMessage(content=json.dumps(wrong))
    assert complaint in repair.messages[-1].content
    assert isinstance(repair.context, OutputSchemaContext)
    assert repair.context.conflicts == (complaint,)
    assert repair.key != requests[1].key
    later = "".join(message.content for message in requests[3].messages)
    assert complaint not in later
    assert json.dumps(wrong) not in later
    assert meter.usage.requests == 4


async def test_predicted_fields_bind_later_tools() -> None:
    conflicting = obj(order_id="integer", status="string")
    made, requests, _ = await predict(toolset(*THREE), USER, ORDERS, conflicting, UPDATED)
    assert "order_id is string in search_orders, not integer" in requests[3].messages[-1].content
    assert counts(made) == (3, 1, 1, 0, 0)


async def test_integer_is_not_number_and_one_answer_must_agree_with_itself() -> None:
    float_id, twice = obj(user_id="number"), obj(user_id="integer", total="number", last=obj(total="integer"))
    made, requests, _ = await predict(toolset(*THREE), float_id, twice, USER, ORDERS, UPDATED)
    assert "user_id is integer in get_user, not number" in requests[1].messages[-1].content
    assert "total is number in get_user, not integer" in requests[2].messages[-1].content
    assert counts(made) == (3, 2, 2, 0, 0)


async def test_a_nullable_type_is_not_a_conflict() -> None:
    nullable = obj(user_id={"type": ["integer", "null"]}, city={"anyOf": [{"type": "string"}, {"type": "null"}]})
    made, _, _ = await predict(toolset(*THREE), nullable, ORDERS, UPDATED)
    assert made.tools[0].returns == nullable
    assert counts(made) == (3, 0, 0, 0, 0)


@pytest.mark.parametrize(
    ("name", "answer", "complaint"),
    [
        ("get_thing", rows(a="string"), "a get_ tool returns one object"),
        ("search_things", obj(a="string"), "a search_ tool returns an array, or an object that wraps one"),
        ("list_things", obj(a="string"), "a list_ tool returns an array"),
        ("make_thing", {"type": "string"}, '"type" must be "object" or "array", not "string"'),
        ("make_thing", {"anyOf": [obj(a="string")]}, '"type" must be "object" or "array", not null'),
        ("make_thing", obj(), "the object has no properties"),
        ("make_thing", {"type": "array"}, "does not say what its items are"),
        ("make_thing", obj(a={"description": "?"}), "a has no type"),
        ("make_thing", obj(a={"$ref": "#/$defs/a"}), "$ref is used"),
        ("make_thing", obj(a={"type": "string", "pattern": "(?<x"}), "not a JSON Schema: '(?<x' is not a 'regex'"),
        ("make_thing", obj(a="float"), "not a JSON Schema"),
        ("make_thing", "I would return a list of things.", "expected a JSON object"),
        ("make_thing", '{"type": "object", "properties": {"a"', "not a JSON Schema"),
        ("make_thing", "", "expected a JSON object"),
        ("make_thing",
         '{"type": "object", "properties": {"a": ' + '{"type": "array", "items": ' * 300 + "{}" + "}" * 302,
         "too deeply nested"),
    ],
)  # fmt: skip
async def test_impossible_output_schemas_are_sent_back(name: str, answer: Any, complaint: str) -> None:
    good = rows(a="string") if name.startswith(("search", "list")) else obj(a="string")
    given_tools = toolset(tool(name), *(tool(f"do_{n}", returns=obj(done="boolean")) for n in "ab"))
    made, requests, _ = await predict(given_tools, answer, good)
    if answer:
        assert complaint in requests[1].messages[-1].content
    else:
        assert requests[1].messages == requests[0].messages, "there is no answer to repair"
    assert made.tools[0].returns == good
    assert counts(made) == (1, 0, 1, 0, 0)


@pytest.mark.parametrize("key", ["returns", "output_schema", "schema"])
async def test_a_schema_under_a_name_or_in_prose_is_found(key: str) -> None:
    wrapped = f"The tool returns:\n```json\n{json.dumps({'name': 'get_user', key: USER}, indent=1)}\n```"
    made, _, _ = await predict(toolset(*THREE), wrapped, ORDERS, UPDATED)
    assert made.tools[0].returns == USER


@pytest.mark.parametrize(("cut", "accepted"), [(json.dumps(USER)[:-3], False), (f"{json.dumps(USER)} It ret", True)])
async def test_a_truncated_answer_counts_only_if_its_schema_is_complete(cut: str, accepted: bool) -> None:
    class Cut(ListedAnswers):
        async def complete(self, request: Request) -> Completion:
            completion = await super().complete(request)
            return replace(completion, finish_reason="length" if len(self.requests) == 1 else "stop")

    sayer = Cut([cut, *([] if accepted else [json.dumps(USER)]), json.dumps(ORDERS), json.dumps(UPDATED)])
    meter = Meter(sayer)
    made = await predict_output_schemas(toolset(*THREE), meter, 2)
    assert made.tools[0].returns == USER
    assert len(sayer.requests) == len(sayer.texts)
    assert ("the answer was cut off" in sayer.requests[1].messages[-1].content) is not accepted
    assert meter.usage.flaws == {"schema_writer/truncated": 1}


async def test_an_object_may_wrap_the_array() -> None:
    wrapping = obj(orders=ORDERS, count="integer")
    made, _, _ = await predict(toolset(*THREE), USER, wrapping, UPDATED)
    assert made.tools[1].returns == wrapping


async def test_a_tool_without_a_schema_is_left_out_with_the_reason() -> None:
    four = toolset(
        *THREE, tool("delete_order"), refused=("x: before",), counts={"kept": 4}, statements={"get_user": "S"}
    )
    made, requests, _ = await predict(four, "no", rows(a="string"), ORDERS, UPDATED, UPDATED, attempts=2)
    assert [t.name for t in made.tools] == ["search_orders", "update_order", "delete_order"]
    assert made.refused[0] == "x: before"
    assert made.refused[1].startswith("get_user: no output schema: nothing usable in 2 attempts")
    assert "a get_ tool returns one object" in made.refused[1]
    assert counts(made) == (3, 0, 1, 1, 0)
    assert made.counts["kept"] == 4
    assert made.statements == {}
    assert len(requests[2].messages) == 2


async def test_with_fewer_than_three_tools_the_toolset_is_empty() -> None:
    made, _, _ = await predict(toolset(*THREE), "no", ORDERS, UPDATED, attempts=1)
    assert made.tools == ()
    assert made.refused[-1] == "2 tools have an output schema, at least 3 are needed"
    assert counts(made) == (2, 0, 0, 1, 0)


async def test_given_output_schemas_are_left_alone_and_bind_the_others() -> None:
    known = tool("get_order", obj(order_id="string"), obj(order_id="string", user_id="string"))
    made, requests, _ = await predict(
        toolset(THREE[2], known, tool("search_users")), UPDATED, rows(user_id="integer"), rows(user_id="string")
    )
    assert made.tools[1] == known
    assert "user_id is string in get_order, not integer" in requests[2].messages[-1].content
    assert "Returns: " in requests[0].messages[0].content


async def test_no_request_is_sent_where_every_tool_has_an_output_schema() -> None:
    whole = toolset(*(t.model_copy(update={"returns": USER}) for t in THREE), counts={"kept": 3})
    made, requests, _ = await predict(whole)
    assert (made, requests) == (whole, [])
    assert (await predict(toolset()))[0] == toolset()


async def test_contradictions_among_given_schemas_are_counted_and_the_first_type_counts() -> None:
    one, other = tool("get_a", obj(user_id="string", day="string")), tool("get_b", obj(user_id="integer"))
    made, requests, _ = await predict(
        toolset(one, other, tool("do_c")), obj(user_id="string"), *[obj(user_id="string")] * 2
    )
    assert counts(made) == (3, 0, 0, 0, 1)
    assert isinstance(requests[0].context, OutputSchemaContext)
    assert requests[0].context.entities == {"user_id": "string", "day": "string"}


async def test_an_unreachable_model_raises_its_own_error() -> None:
    class Silent(ListedAnswers):
        async def complete(self, request: Request) -> Any:
            raise LLMError("no route")

    with pytest.raises(LLMError, match="no route"):
        await predict_output_schemas(toolset(*THREE), Meter(Silent([])), 2)


async def test_the_exact_prompts() -> None:
    _, requests, _ = await predict(toolset(*THREE), obj(city="number"), USER, ORDERS, UPDATED)
    rules, question = (message.content for message in requests[0].messages)
    refused, repair = (message.content for message in requests[1].messages[2:])
    tools, _, fixed = rules.partition("All its tools:\n")[2].partition("\n\nTypes that are fixed:\n")
    assert fixed == "- user_id: integer\n- city: string"
    assert tools.splitlines() == [
        f"- {t.name}: Does {t.name}. Parameters: {json.dumps(t.parameters)}" for t in THREE
    ]  # fmt: skip
    assert question == "What does get_user return? Answer with the JSON Schema only."
    assert refused == json.dumps(obj(city="number"))
    assert repair == (
        "This answer cannot be used: city is string in search_orders, not number\n"
        "Answer again, completely and in the same form, with this corrected."
    )
