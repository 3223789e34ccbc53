"""One set from many proposals: rules find repetitions, contradictions and trivial tools, and all are counted."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.messages import ToolSpec
from generation.tools.merging import Merged, merge, read_tool, trivial


def spec(name: str, description: str = "", required: Sequence[str] = (), **types: str) -> dict[str, Any]:
    """A flat function spec with a unique description unless one is given."""
    properties = {key: {"type": kind, "description": f"the {key} for {name}"} for key, kind in types.items()}
    parameters = {"type": "object", "properties": properties, "required": list(required)}
    return {"name": name, "description": description or f"What {name} does.", "parameters": parameters}


def names(merged: Merged) -> list[str]:
    return [tool.name for tool in merged.tools]


ORDER = spec("get_order", "Get an order by its number.", order_id="integer")


@pytest.mark.parametrize(
    ("tool", "why"),
    [
        (spec("getOrder", order_id="integer"), "snake_case"),
        (spec("get__order", order_id="integer"), "snake_case"),
        (spec("Get_order", order_id="integer"), "snake_case"),
        (spec("get_order", " ", order_id="integer"), "no description"),
        (spec("get_statistics"), "no parameters"),
        (spec("refresh"), "no parameters"),
        (spec("help"), "constant"),
        (spec("get_help", topic="string"), "constant"),
        (spec("ping"), "constant"),
        (spec("health_check"), "constant"),
        (spec("get_api_version"), "constant"),
        (spec("get_current_time"), "the time"),
        (spec("current_date", required=["timezone"], timezone="string"), "the time"),
        (spec("show_time", format="string"), "the time"),
    ],
)
def test_trivial_tools_are_recognised(tool: dict[str, Any], why: str) -> None:
    reason = trivial(read_tool(tool))
    assert reason is not None
    assert why in reason
    merged = merge((), [tool])
    assert merged.tools == ()
    assert merged.counts["trivial"] == 1
    assert merged.refused == (f"{tool['name']}: {reason}",)


@pytest.mark.parametrize(
    "tool",
    [
        ORDER,
        spec("list_warehouses"),
        spec("search_open_orders"),
        spec("get_all_categories"),
        spec("get_status", required=["order_id"], order_id="integer"),
        spec("get_time", required=["appointment_id"], appointment_id="string"),
        spec("get_version", required=["document_id"], document_id="string"),
        spec("update_order_status", order_id="integer", status="string"),
        spec("book_flight2", flight_id="string"),
    ],
)
def test_useful_tools_are_not_trivial(tool: dict[str, Any]) -> None:
    assert trivial(read_tool(tool)) is None


@pytest.mark.parametrize(
    ("tool", "why"),
    [
        ({"description": "no name at all"}, "name"),
        (spec("get order", order_id="integer"), "name"),
        (spec("get-order", order_id="integer"), "name"),
        (spec("x" * 65, order_id="integer"), "name"),
        ({**ORDER, "name": 7}, "name"),
        ({**ORDER, "name": None}, "name"),
        ({**ORDER, "parameters": [1]}, "parameters"),
        ({**ORDER, "parameters": "order_id: integer"}, "Expecting value"),
        ({**ORDER, "parameters": {"type": "object", "properties": {"id": {"type": "callback"}}}}, "no JSON form"),
        ({**ORDER, "parameters": {"type": "object", "properties": ["id"]}}, "an object is expected"),
        ({**ORDER, "parameters": {"type": "array", "items": {}, "properties": {}}}, "type object is expected"),
        ({**ORDER, "parameters": {"properties": {"id": {"$ref": "#/$defs/id"}}}}, "does not resolve"),
        ({**ORDER, "parameters": {"properties": {"id": {"type": "string", "minLength": -1}}}}, "not a JSON Schema"),
    ],
)
def test_invalid_specs_are_refused_with_the_reason(tool: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        read_tool(tool)
    merged = merge((), [tool, ORDER])
    assert names(merged) == ["get_order"]
    assert merged.counts["invalid"] == 1
    assert why in merged.refused[0]


def test_a_schema_too_deep_for_python_is_refused() -> None:
    deep: dict[str, Any] = {"type": "string"}
    for _ in range(600):
        deep = {"type": "array", "items": deep}
    merged = merge((), [{**ORDER, "parameters": {"properties": {"id": deep}}}, spec("get_hall", hall_id="integer")])
    assert names(merged) == ["get_hall"]
    assert merged.counts["invalid"] == 1


@pytest.mark.parametrize(
    "name", ["functions.get_order", "get_order<|channel|>commentary", " functions.get_order<|x|>", "get_order"]
)
@pytest.mark.parametrize("nested", [True, False])
def test_both_ways_of_writing_a_spec_and_chat_markup_in_names_are_read(name: str, nested: bool) -> None:
    flat = {**ORDER, "name": name, "strict": True}
    tool = read_tool({"type": "function", "function": flat} if nested else flat)
    assert tool.openai()["function"] == {**ORDER, "parameters": {k: v for k, v in ORDER["parameters"].items() if v}}


@pytest.mark.parametrize(
    "parameters",
    [
        {"type": "object", "properties": {"order_id": {"type": "int", "description": "the order_id for get_order"}}},
        {"order_id": {"type": "integer", "description": "the order_id for get_order", "required": False}},
        {**ORDER["parameters"], "required": ["order"]},
        json.dumps(ORDER["parameters"]),
    ],
)
def test_sloppy_schemas_are_repaired(parameters: Any) -> None:
    expected = {**ORDER["parameters"]} | {"required": []}
    tool = read_tool({**ORDER, "parameters": parameters})
    assert {"required": [], **tool.parameters} == expected


def test_a_proposed_output_schema_is_ignored() -> None:
    assert read_tool({**ORDER, "returns": {"type": "string"}}).returns is None


def test_missing_parameters_mean_no_parameters() -> None:
    tool = read_tool({"name": "list_halls", "description": "Halls."})
    assert tool.parameters == {"type": "object", "properties": {}}
    assert read_tool({"name": "list_halls", "parameters": None}).parameters == tool.parameters


def test_the_first_tool_of_a_name_stays_and_other_parameters_are_a_conflict() -> None:
    given = [ToolSpec(**ORDER)]
    same = spec("get_order", "Other words.", required=["order_id"], order_id="integer")
    other_type = spec("get_order", order_id="string")
    other_name = spec("get_order", number="integer")
    merged = merge(given, [same, other_type, other_name])
    assert merged.tools == tuple(given)
    assert (merged.counts["merged_duplicates"], merged.counts["conflicts"]) == (1, 2)
    assert merged.refused == ("get_order: another tool of that name has other parameters",) * 2


def test_nullable_and_described_parameters_are_the_same_parameters() -> None:
    loose = {"type": "object", "properties": {"order_id": {"type": ["integer", "null"], "minimum": 1}}}
    assert merge((), [ORDER, {**ORDER, "parameters": loose}]).counts["merged_duplicates"] == 1


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (ORDER, spec("fetch_order", order_id="integer")),
        (ORDER, spec("get_order_details", "Everything about an order.", order_id="integer")),
        (ORDER, spec("retrieve_orders_info", order_id="integer")),
        (spec("search_halls", city="string"), spec("find_hall", city="string")),
        (spec("delete_booking", booking_id="string"), spec("remove_booking", booking_id="string")),
    ],
)
def test_a_mere_rename_is_trivial(first: dict[str, Any], second: dict[str, Any]) -> None:
    merged = merge((), [first, second])
    assert names(merged) == [first["name"]]
    assert merged.counts["trivial"] == 1
    assert merged.refused == (f"{second['name']}: a mere rename of {first['name']}",)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (
            spec("search_orders", "Find the orders of a customer by date.", customer_id="integer", date="string"),
            spec(
                "find_customer_orders",
                "Search the orders of a customer, by date.",
                customer_id="integer",
                date="string",
            ),
        ),
        (
            spec("get_bill", "Get the invoice of one order.", order_id="integer"),
            spec("fetch_invoice", "Fetch the invoice of an order", order_id="integer"),
        ),
    ],
)
def test_near_duplicates_are_merged(first: dict[str, Any], second: dict[str, Any]) -> None:
    merged = merge((), [first, second])
    assert names(merged) == [first["name"]]
    assert merged.counts["merged_duplicates"] == 1
    assert merged.refused == ()


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (ORDER, spec("delete_order", "Delete an order by its number.", order_id="integer")),
        (ORDER, spec("get_order_items", "Get the items of an order by its number.", order_id="integer")),
        (
            spec("get_order", "Get an order by its number, with status, date, total and address.", order_id="integer"),
            spec(
                "get_order_items",
                "Get items of an order by number, with status, date, total, address.",
                order_id="integer",
            ),
        ),
        (
            spec("get_order", "The order of a customer with its status.", order_id="integer"),
            spec(
                "get_customer_order",
                "The customer who placed the order, and the status of the payment.",
                order_id="integer",
            ),
        ),
        (ORDER, spec("get_order_by_reference", "Get an order by its reference.", reference="string")),
        (
            spec("get_first_order", "Get the first order of a customer, with all its details.", customer_id="integer"),
            spec("get_last_order", "Get the last order of a customer, with all its details.", customer_id="integer"),
        ),
        (
            spec(
                "search_flights", "Search for those available in a city on a given date.", city="string", date="string"
            ),
            spec("search_hotels", "Search for hotels available in a city on a date.", city="string", date="string"),
        ),
        (
            spec("get_guests_checked_in", "Guests of a hotel who have checked in.", hotel_id="integer"),
            spec("get_guests_checked_out", "Guests of a hotel who have checked out.", hotel_id="integer"),
        ),
        (
            spec("search_orders", "Find the orders of a customer.", customer_id="integer"),
            spec("search_customer_orders", "Find the orders of a customer.", customer_id="integer", date="string"),
        ),
    ],
)
def test_tools_that_differ_in_what_they_do_both_stay(first: dict[str, Any], second: dict[str, Any]) -> None:
    assert names(merge((), [first, second])) == [first["name"], second["name"]]


def test_given_tools_stay_unchanged_except_repetitions() -> None:
    given = [ToolSpec(**spec(name, " ")) for name in ("Ping", "getTime", "ping", "Ping")]
    merged = merge(given, [])
    assert names(merged) == ["Ping", "getTime", "ping"]
    assert merged.counts["merged_duplicates"] == 1


def test_above_the_limit_chaining_tools_stay() -> None:
    proposed = [
        spec("get_weather", city="string"),
        spec("search_flights", origin="string"),
        spec("translate_text", text="string"),
        spec("book_seat", flight_id="string", seat="string"),
        spec("cancel_seat", "Cancel it.", flight_id="string", customer="string"),
    ]
    merged = merge((), proposed, 3)
    assert names(merged) == ["search_flights", "book_seat", "cancel_seat"]
    assert merged.counts["beyond_max"] == 2
    assert merged.refused == tuple(f"{n}: beyond the 3 tools wanted" for n in ("get_weather", "translate_text"))
    assert names(merge((), proposed, 4)) == ["get_weather", "search_flights", "book_seat", "cancel_seat"]


def test_above_the_limit_tools_that_chain_to_chosen_ones_come_before_another_group() -> None:
    group = [spec(f"{verb}_order", order_id="string") for verb in ("track", "delete", "update")]
    bridge = spec("pay_order", order_id="string", card_id="string")
    others = [spec(f"{verb}_hotel", hotel_id="string") for verb in ("get", "book", "rate")]
    proposed = [*others, *group, spec("block_card", "Block it.", card_id="string"), bridge]
    wanted = ["track_order", "delete_order", "update_order", "block_card", "pay_order"]
    assert names(merge((), proposed, 5)) == wanted


def test_a_bare_id_belongs_to_the_record_in_the_tool_name() -> None:
    lonely = [spec(f"get_{noun}", id="string") for noun in ("station", "song", "planet", "recipe")]
    proposed = [*lonely, spec("get_order", id="string"), spec("cancel_order", "Cancel it.", order_id="string")]
    assert names(merge((), proposed, 2)) == ["get_order", "cancel_order"]


def test_tools_without_a_kind_of_record_do_not_chain() -> None:
    lonely = [spec(word, "Go on.", **{word: "string"}) for word in ("calculate", "translate", "summarize")]
    proposed = [*lonely, spec("get_order", id="string"), spec("cancel_order", "Cancel it.", order_id="string")]
    assert names(merge((), proposed, 2)) == ["get_order", "cancel_order"]


def test_above_the_limit_given_tools_stay_before_proposed_ones() -> None:
    given = [ToolSpec(**spec("translate_text", text="string"))]
    proposed = [
        spec(f"{verb}_order", f"{verb} it", order_id="string") for verb in ("get", "delete", "update", "cancel")
    ]
    assert names(merge(given, proposed, 3)) == ["translate_text", "get_order", "delete_order"]
    given = [ToolSpec(**spec(f"{word}_text", word, text="string")) for word in ("translate", "read", "spell")]
    assert names(merge(given, proposed, 2)) == ["translate_text", "read_text"]


VERBS = ["get", "fetch", "search", "find", "update", "delete", "create", "list"]
NOUNS = ["order", "orders", "order_details", "hall", "hall_status", "time", "help", "bad name", ""]
PROPOSALS = st.builds(
    lambda verb, noun, description, parameters: {
        "name": f"{verb}_{noun}",
        "description": description,
        "parameters": {"type": "object", "properties": {name: {"type": kind} for name, kind in parameters.items()}},
    },
    st.sampled_from(VERBS),
    st.sampled_from(NOUNS),
    st.sampled_from(["", "Get an order.", "Find an order of a hall.", "Something else entirely."]),
    st.dictionaries(
        st.sampled_from(["order_id", "hall_id", "city"]), st.sampled_from(["string", "integer", "int"]), max_size=2
    ),
)
MANY = st.lists(PROPOSALS, max_size=14)


def readable(proposed: list[dict[str, Any]]) -> list[ToolSpec]:
    tools = []
    for proposal in proposed:
        try:
            tools.append(read_tool(proposal))
        except ValueError:
            continue
    return tools


@settings(max_examples=150, deadline=None)
@given(MANY, MANY, st.integers(1, 8))
def test_a_merge_has_each_name_once_in_order_within_the_limit_and_counts_all(
    given_ones: list[dict[str, Any]], proposed: list[dict[str, Any]], limit: int
) -> None:
    first = readable(given_ones)
    merged = merge(first, proposed, limit)
    assert len(set(names(merged))) == len(merged.tools) <= limit
    assert sum(merged.counts.values()) == len(first) + len(proposed)
    assert (
        len(merged.refused) == sum(merged.counts.values()) - merged.counts["kept"] - merged.counts["merged_duplicates"]
    )
    everything = [json.dumps(tool.model_dump()) for tool in [*first, *readable(proposed)]]
    positions = [everything.index(json.dumps(tool.model_dump())) for tool in merged.tools]
    assert positions == sorted(positions)
    assert merge(first, proposed, limit) == merged


@settings(max_examples=150, deadline=None)
@given(MANY, MANY, st.integers(1, 8))
def test_a_merge_is_idempotent_and_more_proposals_leave_what_was_kept(
    proposed: list[dict[str, Any]], more: list[dict[str, Any]], limit: int
) -> None:
    merged = merge((), proposed, limit)
    assert merge((), [tool.openai() for tool in merged.tools], limit).tools == merged.tools
    assert merge(merged.tools, [], limit).tools == merged.tools
    before, after = merge((), proposed).tools, merge((), [*proposed, *more]).tools
    assert after[: len(before)] == before
    assert merge(before, more).tools == after
    for tool in before:
        assert trivial(tool) is None
