"""The producer/consumer graph of a toolset, compared with one drawn by hand."""

from __future__ import annotations

from typing import Any

from core.messages import ToolSpec
from generation.specs.tool_graph import tool_graph


def tool(name: str, *parameters: str, returns: tuple[str, ...] | None = (), optional: tuple[str, ...] = ()) -> ToolSpec:
    properties: dict[str, Any] = {parameter: {"type": "string"} for parameter in (*parameters, *optional)}
    rows = None
    if returns is not None:
        fields = {field: {"type": "string"} for field in returns}
        rows = {"type": "array", "items": {"type": "object", "properties": fields}}
    schema = {"type": "object", "properties": properties, "required": list(parameters)}
    return ToolSpec(name=name, description=name, parameters=schema, returns=rows)


GYM = (
    tool("search_members", "member_name", returns=("member_id", "member_name", "plan_id")),
    tool("get_member", "member_id", returns=("member_id", "phone", "plan_id")),
    tool("top_members", "limit", returns=("member_id", "visits")),
    tool("update_member_phone", "member_id", "phone", returns=("rows_affected",)),
    tool("get_plan", "plan_id", returns=("plan_id", "price")),
    tool("create_booking", "member_id", "class_name", returns=("rows_affected", "booking_id")),
    tool("cancel_booking", "booking_id", returns=("rows_affected",)),
    tool("count_rooms", "floor", returns=("number_of_rooms",)),
)


def test_identifiers_lead_from_tool_to_tool() -> None:
    consumers = {name: sorted(tools) for name, tools in tool_graph(GYM).consumers.items()}
    assert consumers == {
        "search_members": ["create_booking", "get_member", "get_plan", "update_member_phone"],
        "get_member": ["get_plan"],  # it takes the member_id that it returns
        "top_members": ["create_booking", "get_member", "update_member_phone"],
        "update_member_phone": [],
        "get_plan": [],
        "create_booking": ["cancel_booking"],
        "cancel_booking": [],
        "count_rooms": [],
    }


def test_neighbours_are_both_ways() -> None:
    graph = tool_graph(GYM)
    assert graph.neighbours["create_booking"] == {"search_members", "top_members", "cancel_booking"}
    assert graph.neighbours["count_rooms"] == set()
    assert all(a in graph.neighbours[b] for a, tools in graph.neighbours.items() for b in tools)


def test_look_ups_find_what_is_required_the_most_direct_one_first() -> None:
    look_ups = tool_graph(GYM).look_ups
    assert look_ups["update_member_phone"] == (("search_members", "top_members"),)
    assert look_ups["get_plan"] == (("search_members", "get_member"),)
    assert look_ups["cancel_booking"] == ()  # only a change returns a booking_id
    assert look_ups["search_members"] == ()


def test_an_optional_identifier_needs_no_look_up_but_links() -> None:
    graph = tool_graph((*GYM, tool("list_rooms", returns=("room_id",), optional=("plan_id",))))
    assert graph.look_ups["list_rooms"] == ()
    assert "list_rooms" in graph.consumers["search_members"]


def test_a_tool_that_does_not_say_what_it_returns_returns_its_own_entity() -> None:
    graph = tool_graph((tool("find_order", "email", returns=None), tool("get_order_items", "order_id", returns=None)))
    assert graph.consumers["find_order"] == {"get_order_items"}


def test_subjects_are_entities_within_names() -> None:
    subjects = tool_graph(GYM).subjects
    assert subjects["update_member_phone"] == ("member",)
    assert subjects["create_booking"] == ("booking",)


def test_a_part_of_the_graph_has_only_its_own_tools() -> None:
    part = tool_graph(GYM).among(("get_plan", "get_member"))
    assert part.consumers == {"get_plan": set(), "get_member": {"get_plan"}}
    assert part.look_ups == {"get_plan": (("get_member",),), "get_member": ()}
