"""A task with two subgoals, and a conversation that solves it, in pieces that a test can replace."""

from __future__ import annotations

import json
from typing import Any

from core.dialogue import PlannedCall, Rubric, Task
from core.messages import AssistantMessage, Message, ToolCall, ToolMessage, UserMessage

TASK = Task(
    task_id="d/t0",
    goal="The user wants to change the city of the customer Ada Moreno to Paris. They also want to know the price of the pen.",
    subgoals=("change the city of the customer Ada Moreno to Paris", "know the price of the pen"),
    difficulty="medium",
    rubric=Rubric(
        criteria=(
            "The assistant gets this done: change the city of the customer Ada Moreno to Paris.",
            "The assistant gets this done: know the price of the pen.",
            "The user is told: price.",
            "The assistant stays polite.",
            "The moon is full.",
        ),
        tool_pattern=(
            "search_customers(name=Ada Moreno)",
            "update_city(customer_id=${0.customer_id}, city=Paris)",
            "get_product(sku=pen)",
        ),
        checkpoints=("search_customers has succeeded", "The assistant thinks first"),
    ),
    plan=(
        PlannedCall(tool="search_customers", arguments={"name": "Ada Moreno"}),
        PlannedCall(tool="update_city", arguments={"customer_id": "${0.customer_id}", "city": "Paris"}),
        PlannedCall(tool="get_product", arguments={"sku": "pen"}, subgoal=1, tell=("price",)),
    ),
)


def call(call_id: str, name: str, result: Any, /, **arguments: Any) -> list[Message]:
    return [
        AssistantMessage(tool_calls=(ToolCall.make(call_id, name, arguments),)),
        ToolMessage(tool_call_id=call_id, content=result if isinstance(result, str) else json.dumps(result)),
    ]


Pieces = dict[str, list[Message]]


def pieces() -> Pieces:
    """A conversation that solves TASK, in pieces that a test can replace."""
    return {
        "ask": [UserMessage(content="Hi, please change the city of the customer Ada Moreno to Paris.")],
        "search": call("a", "search_customers", [{"customer_id": 17, "name": "Ada Moreno"}], name="Ada Moreno"),
        "update": call("b", "update_city", {"rows_affected": 1}, customer_id=17, city="Paris"),
        "report": [AssistantMessage(content="Done: customer 17 now lives in Paris.")],
        "also": [UserMessage(content="And what is the price of the pen?")],
        "get": call("c", "get_product", {"sku": "pen", "price": 1200.5}, sku="pen"),
        "tell": [AssistantMessage(content="It costs $1,200.50.")],
        "bye": [UserMessage(content="Thanks, that is all.")],
    }


def transcript(**changes: list[Message]) -> tuple[Message, ...]:
    return tuple(message for part in (pieces() | changes).values() for message in part)


def words(text: str) -> list[Message]:
    return [AssistantMessage(content=text)]
