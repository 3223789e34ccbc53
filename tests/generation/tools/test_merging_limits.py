"""Merging above the limit: which tools stay, and properties of every merge."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from core.messages import ToolSpec
from generation.tools.merging import merge, read_tool, trivial
from tests.generation.helpers.tool_proposals import names, spec


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
