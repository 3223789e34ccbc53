"""The stand-in's task writers: tasks have the requested difficulty, mention every value, and follow-ups use what was
learnt."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from core.dialogue import PlannedCall
from core.messages import ToolSpec
from generation.database.schema import DatabaseSchema
from generation.tasks.draft import TaskDraft, check_draft
from tests.generation.helpers.task_drafts import LEVELS, Rows, asking, draft_of, previous
from tests.generation.helpers.travel_tools import SHOP, TRAVEL, shop_rows

Plan = list[dict[str, Any]]


def level(plan: Plan) -> str:
    """An independent count: calls, calls with a placeholder, calls whose name is not a read."""
    reading = re.compile(r"(get|find|search|list|top|total|count|convert)_")
    score = len(plan) + sum("${" in json.dumps(c["arguments"]) for c in plan)
    score += sum(not reading.match(call["tool"]) for call in plan)
    return "none" if not score else "easy" if score < 3 else "medium" if score < 6 else "hard"


def leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from leaves(part)
    else:
        yield value


@pytest.mark.parametrize("difficulty", LEVELS)
def test_drafts_about_databases_have_the_requested_difficulty(
    difficulty: str, databases: list[tuple[DatabaseSchema, tuple[ToolSpec, ...], Rows]]
) -> None:
    for schema, tools, rows in databases:
        hits = Counter()
        for number in range(20):
            rng = Random(f"{schema.name}/{number}")
            view = {table: rng.sample(sample, min(4, len(sample))) for table, sample in rows.items()}
            context = asking(tools, difficulty, schema=schema, view=view)
            hits[level(draft_of(context, f"{difficulty}{number}")["plan"])] += 1
        assert hits[difficulty] >= 18, (schema.name, hits)


def test_drafts_are_grounded(databases: list[tuple[DatabaseSchema, tuple[ToolSpec, ...], Rows]]) -> None:
    """What a real model is held to: goals say what plans need, plans fit the tools, names stand for internal ids."""
    about_databases = [(tools, {"schema": schema, "view": rows}) for schema, tools, rows in databases]
    for tools, more in [*about_databases, (TRAVEL, {}), (SHOP, {"view": shop_rows()})]:
        for number in range(30):
            draft = TaskDraft.model_validate(draft_of(asking(tools, LEVELS[number % 3], **more), number))
            check_draft(draft.task("t", "easy", None), tools, "")


@pytest.mark.parametrize("difficulty", LEVELS)
@pytest.mark.parametrize(("tools", "view"), [(TRAVEL, {}), (SHOP, shop_rows())], ids=["travel", "shop"])
def test_drafts_about_any_tools(tools: tuple[ToolSpec, ...], view: Rows, difficulty: str) -> None:
    """Each draft is well-formed: told and referenced fields are declared, arguments fit, the goal has every literal."""
    specs = {tool.name: tool for tool in tools}
    hits = Counter()
    for number in range(60):
        draft = draft_of(asking(tools, difficulty, view=view), number)
        hits[level(draft["plan"])] += 1
        assert not [name for name in specs if name in draft["goal"]]
        assert all(part in draft["goal"] for part in draft["subgoals"])
        for place, call in enumerate(draft["plan"]):
            tool = specs[call["tool"]]
            literal = {k: v for k, v in call["arguments"].items() if "${" not in str(v)}
            assert set(tool.parameters["required"]) <= set(call["arguments"])
            relaxed = tool.parameters | {"required": []}
            assert Draft202012Validator(relaxed).is_valid(literal)
            subgoal = draft["subgoals"][call["subgoal"]]
            assert all(str(leaf) in subgoal for leaf in leaves(literal) if not isinstance(leaf, bool))
            declared = (tool.returns or {}).get("items", tool.returns or {}).get("properties", {})
            assert set(call["tell"]) <= set(declared)
            for value in set(call["arguments"].values() if not literal else ()) | {
                v for v in call["arguments"].values() if isinstance(v, str) and v.startswith("${")
            }:
                earlier, field = re.fullmatch(r"\$\{(\d+)(?:\.(\w+))?\}", value).groups()
                assert int(earlier) < place
                returns = specs[draft["plan"][int(earlier)]["tool"]].returns or {}
                assert field in returns.get("items", returns).get("properties", {None: "the entire result"})
    assert hits[difficulty] >= 54, hits


def test_calls_chain_and_deleted_records_are_not_used_again() -> None:
    chained = 0
    for number in range(150):
        plan = draft_of(asking(TRAVEL, "hard"), number)["plan"]
        chained += any("${" in str(call["arguments"]) for call in plan)
        deleted: list[str] = []
        for call in plan:
            booking = call["arguments"].get("booking_id")
            assert not (deleted and booking and ("${" in f"{deleted}{booking}" or booking in deleted)), plan
            deleted += [booking] if call["tool"] == "cancel_booking" else []
    assert chained >= 60


def test_a_single_value_that_a_tool_returns_goes_into_later_calls() -> None:
    used = 0
    for number in range(100):
        plan = draft_of(asking(SHOP, "hard", view=shop_rows()), number)["plan"]
        for call in plan:
            if source := re.fullmatch(r"\$\{(\d+)\}", str(call["arguments"].get("user_id"))):
                used += 1
                assert plan[int(source[1])]["tool"] == "find_user_id_by_email"
    assert used >= 5


def test_values_of_a_call_come_from_one_record_in_the_right_state() -> None:
    view = shop_rows()
    owner = {order["order_id"]: order for order in view["orders"]}
    seen = Counter()
    for number in range(300):
        for call in draft_of(asking(SHOP, LEVELS[number % 3], view=view), number)["plan"]:
            seen[call["tool"]] += 1
            arguments, order = call["arguments"], owner.get(call["arguments"].get("order_id"))
            if call["tool"] == "cancel_pending_order" and order:
                assert order["status"] == "pending"
            if call["tool"] == "return_items" and order:
                assert arguments["item_ids"] == [item["item_id"] for item in order["items"]]
                assert arguments["payment_method_id"] == order["payment_history"][0]["payment_method_id"]
            if call["tool"] == "update_address" and not arguments["user_id"].startswith("${"):
                mine = next(user for user in view["users"] if user["user_id"] == arguments["user_id"])
                assert (arguments["street"], arguments["city"]) != tuple(mine["address"].values())
                places = [tuple(user["address"].values()) for user in view["users"]]
                assert (arguments["street"], arguments["city"]) in places, "both from one other address"
    assert {tool.name for tool in SHOP} - set(seen) == {"set_passengers", "get_coupon"}, (
        "no row gives passengers or coupons"
    )


def test_follow_ups_use_learnt_values_as_arguments() -> None:
    for number in range(40):
        before = previous("book_flight", "booking_id")
        draft = draft_of(asking(TRAVEL, LEVELS[number % 3], facts={"booking_id": "B-77"}, previous=before), number)
        assert "B-77" in [call["arguments"].get("booking_id") for call in draft["plan"]]
        assert "B-77" in draft["goal"]


def test_follow_ups_about_a_database_know_whose_key_they_learnt(
    databases: list[tuple[DatabaseSchema, tuple[ToolSpec, ...], Rows]],
) -> None:
    schema, tools, rows = next(entry for entry in databases if entry[0].name == "library")
    search = next(tool.name for tool in tools if tool.name.startswith("search_"))
    key = next(iter(next(t for t in tools if t.name == search).returns["items"]["properties"]))
    used = 0
    for number in range(60):
        context = asking(
            tools, LEVELS[number % 3], schema=schema, view=rows, facts={key: 990_077}, previous=previous(search, key)
        )
        draft = draft_of(context, number)
        used += 990_077 in [value for call in draft["plan"] for value in call["arguments"].values()]
        other = asking(tools, "easy", schema=schema, view=rows, facts={key: 990_077}, previous=previous("top_x", key))
        assert "990077" not in draft_of(other, number)["goal"], "the key belongs to no known table"
    assert used >= 54


def test_tasks_avoid_records_that_an_earlier_task_deleted() -> None:
    cancellation = PlannedCall(tool="cancel_booking", arguments={"booking_id": "B-77"})
    task = previous("x")[0].model_copy(update={"plan": (cancellation,)})
    for number in range(40):
        context = asking(TRAVEL, "medium", facts={"booking_id": "B-77"}, previous=(task,))
        assert "B-77" not in draft_of(context, number)["goal"]


def test_a_call_without_known_results_tells_nothing_but_has_a_criterion() -> None:
    draft = draft_of(asking((TRAVEL[5],), "easy"), 0)
    assert [call["tell"] for call in draft["plan"]] == [[]] * len(draft["plan"])
    assert any(draft["subgoals"][0] in criterion for criterion in draft["criteria"])


def test_a_question_waives_confirmation() -> None:
    question = draft_of(asking((TRAVEL[3],), "easy", style="question"), 0)["goal"]
    assert question.startswith("Please cancel the booking")
    assert question.endswith("There is no need to ask me for confirmation.")


def test_equal_seeds_give_equal_drafts() -> None:
    contexts = [asking(TRAVEL, "hard"), asking(SHOP, "hard", view=shop_rows())]
    for context in contexts:
        assert draft_of(context, 1) == draft_of(context, 1)
        assert len({json.dumps(draft_of(context, number)) for number in range(20)}) > 15


def test_a_new_rows_key_is_told_exactly_if_the_subgoal_asks_for_it(
    databases: list[tuple[DatabaseSchema, tuple[ToolSpec, ...], Rows]],
) -> None:
    told = Counter()
    for schema, tools, rows in databases:
        for number in range(20):
            draft = draft_of(asking(tools, "medium", schema=schema, view=rows), number)
            for call in (call for call in draft["plan"] if call["tool"].startswith("create_")):
                assert bool(call["tell"]) is (", and get the new " in draft["subgoals"][call["subgoal"]])
                told[bool(call["tell"])] += 1
    assert min(told[True], told[False]) > 10, told
