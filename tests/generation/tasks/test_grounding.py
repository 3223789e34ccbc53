"""A task's goal says what its plan needs, or the plan looks it up; what a user would not know is refused."""

from __future__ import annotations

from typing import Any

import pytest

from core.dialogue import PlannedCall
from core.messages import ToolSpec
from generation.llm.parsing.json_text import read_answer
from generation.tasks.draft import DraftError, TaskDraft, check_draft
from tests.generation.helpers.travel_tools import INTEGER, NUMBER, STRING, obj, rows, spec

STATUS = {"type": "string", "enum": ["open", "cancelled", "in_progress"]}
TOOLS = (
    spec("search_members_by_member_name", obj(member_name=STRING), rows(member_id=INTEGER, phone=STRING)),
    spec("search_members_by_city", obj(city=STRING), rows(member_id=INTEGER)),
    spec("get_member", obj(member_id=INTEGER), obj(member_id=INTEGER, phone=STRING)),
    spec("list_bookings_by_member_id", obj(member_id=INTEGER), rows(booking_id=INTEGER, guide_id=INTEGER)),
    spec("search_tours_by_guide_name", obj(guide_name=STRING), rows(tour_id=INTEGER, guide_id=INTEGER)),
    spec("cancel_tour", obj(tour_id=INTEGER), None),
    spec("set_booking_status", obj(booking_id=INTEGER, status=STATUS), None),
    spec("get_order", obj(order_id=STRING), None),
    spec("top_rooms", obj(("unit",), limit=INTEGER, unit={"type": "string", "default": "metric"}), None),
    spec("set_price", obj(room=STRING, discount=NUMBER, day=STRING, tags={"type": "array", "items": STRING}), None),
)


def call(tool: str, /, **arguments: Any) -> PlannedCall:
    return PlannedCall(tool=tool, arguments=arguments)


def refusal(goal: str, *plan: PlannedCall, known: str = "", **changes: Any) -> str:
    """Why a draft is refused; '' if it is not."""
    draft = {"goal": goal, "subgoals": (goal[:9],), "plan": plan, "criteria": ("The user is told.",)} | changes
    try:
        check_draft(TaskDraft.model_validate(draft).task("t", "easy", None), TOOLS, known)
    except DraftError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("goal", "plan"),
    [
        ("Find the phone of Ada\u202fMoreno.", [call("search_members_by_member_name", member_name="Ada Moreno")]),
        ("Set booking 41 to cancelled.", [call("set_booking_status", booking_id=41, status="cancelled")]),
        ("Please cancel booking 41.", [call("set_booking_status", booking_id=41, status="cancelled")]),
        ("Booking 41 is in progress now.", [call("set_booking_status", booking_id=41, status="in_progress")]),
        ("Look up order ORD-1042.", [call("get_order", order_id="ORD-1042")]),
        ("Look up order ord\u20111042.", [call("get_order", order_id="ORD-1042")]),
        ("Show me the top three rooms.", [call("top_rooms", limit=3)]),
        ("Show me the best room.", [call("top_rooms", limit=1, unit="metric")]),
        ("Cancel tour number 7.", [call("cancel_tour", tour_id=7)]),
        (
            "From June 15, 2025 on the room Elm is 15 % off, tagged sale and warm.",
            [call("set_price", room="Elm", discount=0.15, day="2025-06-15", tags=["sale", "warm"])],
        ),
        (
            "List the bookings of Ada.",
            [
                call("search_members_by_member_name", member_name="Ada"),
                call("list_bookings_by_member_id", member_id="${0.member_id}"),
            ],
        ),
    ],
)
def test_grounded_drafts(goal: str, plan: list[PlannedCall]) -> None:
    assert refusal(goal, *plan) == ""


@pytest.mark.parametrize(
    ("goal", "plan", "why"),
    [
        (
            "Find recipes by ingredient.",
            [call("search_members_by_city", city="tomato")],
            "the goal does not say 'tomato' (city of call 0): put that into the goal, or look it up with an earlier call",
        ),
        ("Show me some rooms.", [call("top_rooms", limit=3)], "the goal does not say '3' (limit of call 0)"),
        ("Show me the top 30 rooms.", [call("top_rooms", limit=3)], "the goal does not say '3' (limit of call 0)"),
        (
            "Show me the best room.",
            [call("top_rooms", limit=1, unit="feet")],
            "the goal does not say 'feet' (unit of call 0)",
        ),
        ("Close booking 41.", [call("set_booking_status", booking_id=41, status="cancelled")], "say 'cancelled'"),
        ("Cancel the tour.", [call("cancel_tour", tour_id=1)], "the goal does not say '1' (tour_id of call 0)"),
        (
            "Elm is 15 % off from June 16 on, tagged sale.",
            [call("set_price", room="Elm", discount=0.15, day="2025-06-15", tags=["sale", "warm"])],
            "the goal does not say '2025-06-15' (day of call 0), 'warm' (tags of call 0): put that into the goal",
        ),
        (
            "Find the phone of member 7.",
            [call("get_member", member_id=7)],
            "call 0 (get_member): a user does not know member_id 7; look it up with search_members_by_member_name and "
            'write "${i.field}" for it',
        ),
        (
            "Find the phone of Ada.",
            [call("get_member", member_id=7)],
            "a user does not know member_id 7; look it up with search_members_by_member_name",
        ),
    ],
)
def test_ungrounded_drafts_are_refused(goal: str, plan: list[PlannedCall], why: str) -> None:
    assert why in refusal(goal, *plan)


def test_what_the_user_has_learnt_is_known() -> None:
    assert refusal("Find the phone of that member.", call("get_member", member_id=7), known="member 7") == ""


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"subgoals": ("cancel it",)}, "these subgoals do not stand in the goal word for word: 'cancel it'"),
        ({"subgoals": ("Cancel tour", " .")}, "these subgoals do not stand in the goal word for word: ' .'"),
        ({"subgoals": ("cancel  TOUR number\u00a07.",)}, ""),
        ({"criteria": ("none",)}, "the criterion 'none' says nothing that a conversation could show"),
        ({"criteria": ("cancel_tour",)}, "the criterion 'cancel_tour' says nothing"),
        ({"criteria": ("It is cancelled.", "")}, "the criterion '' says nothing"),
        ({"goal": "Cancel tour number 7 with cancel_tour."}, "the goal names the tool cancel_tour"),
        ({"checkpoints": ("none",)}, ""),
    ],
)
def test_subgoals_criteria_and_names(changes: dict[str, Any], why: str) -> None:
    goal = changes.pop("goal", "Cancel tour number 7.")
    answer = refusal(goal, call("cancel_tour", tour_id=7), **changes)
    assert why in answer
    assert bool(why) is bool(answer)


RECIPES: tuple[ToolSpec, ...] = (
    spec(
        "search_recipes", obj(("max_minutes",), ingredient=STRING, max_minutes=INTEGER), obj(recipes={"type": "array"})
    ),
    spec("get_recipe", obj(recipe_id=STRING), obj(recipe={"type": "object"})),
    spec("add_to_shopping_list", obj(item=STRING, quantity=INTEGER), None),
)


RECORDED = (
    '{"goal": "Find recipes by ingredient and add them to the shopping list.", "subgoals": ["search_recipes", '
    '"get_recipe", "add_to_shopping_list"], "difficulty": "medium", "plan": [{"tool": "search_recipes", "arguments": '
    '{"ingredient": "tomato", "max_minutes": 10}}, {"tool": "get_recipe", "arguments": {"recipe_id": "1234567890"}}, '
    '{"tool": "add_to_shopping_list", "arguments": {"item": "tomato", "quantity": 2}}], "criteria": ["Search for the '
    'ingredient \'tomato\'", "Get the recipe with ID 1234567890"]}'
)


def test_a_real_models_draft_that_was_once_accepted_is_refused() -> None:
    """An answer of Qwen2.5-Coder-0.5B: no value of the plan stands in the goal, and the subgoals are tools."""
    draft = read_answer(RECORDED, TaskDraft)
    with pytest.raises(DraftError) as refused:
        check_draft(draft.task("t", "medium", None), RECIPES, "")
    assert str(refused.value) == (
        "these subgoals do not stand in the goal word for word: 'search_recipes', 'get_recipe', 'add_to_shopping_list'; "
        "the goal does not say 'tomato' (ingredient of call 0), '10' (max_minutes of call 0), '1234567890' (recipe_id of "
        "call 1), 'tomato' (item of call 2), '2' (quantity of call 2): put that into the goal, or look it up with an "
        "earlier call"
    )
