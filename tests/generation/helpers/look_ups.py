"""A shop whose tools run in memory, and conversations that call them round after round."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from core.dialogue import Dialogue, Rubric, Task
from core.messages import (
    AssistantMessage,
    Message,
    SystemMessage,
    ToolCall,
    ToolMessage,
    ToolSpec,
    UserMessage,
)
from generation.environments.base import PastCall, ToolResult

OWNERS = {11: "Ada", 12: "Bo", 13: "Cy", 14: "Di", 15: "Ed"}


def _spec(name: str, **parameters: str) -> ToolSpec:
    properties = {key: {"type": kind} for key, kind in parameters.items()}
    schema = {"type": "object", "properties": properties, "required": list(properties)}
    return ToolSpec(name=name, description="A tool of the shop.", parameters=schema)


TOOLS = (
    _spec("get_item", item_id="integer"),
    _spec("search_items", owner="string"),
    _spec("list_items", limit="integer"),
    _spec("get_ticket", desk="string"),
    _spec("update_item", item_id="integer", price="number"),
    _spec("get_and_count", item_id="integer"),
)


@dataclass
class Shop:
    """Both domain and environment. get_ticket returns another number each time, which no state shows; get_and_count
    changes the state although it is called like a look-up."""

    domain: str = "shop"
    executable: bool = True
    tools: tuple[ToolSpec, ...] = TOOLS
    changed: dict[str, float] = field(default_factory=dict)
    tickets: list[int] = field(default_factory=lambda: [0])
    opened: int = 0

    def open(self, snapshot: bytes | None = None) -> Shop:
        self.opened += 1
        return Shop(changed=json.loads(snapshot) if snapshot else {}, tickets=self.tickets if snapshot else [0])

    async def call(self, name: str, arguments: dict[str, Any], transcript: Sequence[Message] = ()) -> ToolResult:
        item = arguments.get("item_id", 0)
        value: Any = {"error": f"no item {item}"}
        if name == "search_items":
            value = [self._item(item) for item, owner in OWNERS.items() if owner == arguments["owner"]]
        elif name == "list_items":
            value = [self._item(item) for item in sorted(OWNERS)[: arguments["limit"]]]
        elif name == "get_ticket":
            self.tickets[0] += 1
            value = {"ticket": 1000 + self.tickets[0]}
        elif item in OWNERS and name == "update_item":
            self.changed[str(item)], value = arguments["price"], {"rows_affected": 1}
        elif item in OWNERS:
            value = self._item(item)
            if name == "get_and_count":
                self.changed["views"] = self.changed.get("views", 0) + 1
        return ToolResult(json.dumps(value), value, error=isinstance(value, dict) and "error" in value)

    def _item(self, item: int) -> dict[str, Any]:
        price = self.changed.get(str(item), item * 100 + 0.5)
        return {"item_id": item, "owner": OWNERS[item], "stock": item - 9, "price": price}

    async def retrace(self, calls: Sequence[PastCall]) -> bool:
        return all([(await self.call(name, arguments)).content == result for name, arguments, result in calls])

    def snapshot(self) -> bytes:
        return json.dumps(self.changed).encode()

    def fork(self) -> Shop:
        return self.open(self.snapshot())

    def state_hash(self) -> str:
        return json.dumps(self.changed, sort_keys=True)

    def state_diff(self) -> tuple[str, ...]:
        return tuple(f"{name} {value}" for name, value in sorted(self.changed.items()))

    def reset(self) -> None:
        self.changed = {}

    def close(self) -> None: ...


Call = tuple[str, dict[str, Any]]


@dataclass(frozen=True)
class Step:
    """One assistant message with calls."""

    calls: tuple[Call, ...]
    thought: str | None = None
    content: str = ""


def get(item: int, thought: str | None = None, content: str = "", tool: str = "get_item") -> Step:
    return Step(((tool, {"item_id": item}),), thought, content)


async def conversation(*turns: tuple[str, Sequence[Step]]) -> Dialogue:
    """A dialogue with one task for each turn: what the user says, and the rounds of calls, executed in order."""
    shop = Shop().open()
    messages: list[Message] = [SystemMessage(content="You help in a shop.")]
    starts = []
    for text, steps in turns:
        starts.append(len(messages))
        messages.append(UserMessage(content=text))
        for step in steps:
            calls = tuple(
                ToolCall.make(f"call_{len(messages)}_{n}", name, args) for n, (name, args) in enumerate(step.calls)
            )
            messages.append(AssistantMessage(content=step.content, reasoning_content=step.thought, tool_calls=calls))
            for call in calls:
                result = await shop.call(call.name, call.parsed())
                messages.append(ToolMessage(tool_call_id=call.id, content=result.content))
        messages.append(AssistantMessage(content="Here you are."))
    tasks = [
        Task(task_id=f"t{n}", goal=text, subgoals=(text,), difficulty="easy", rubric=Rubric(criteria=()))
        for n, (text, _) in enumerate(turns)
    ]
    dialogue = Dialogue(
        dialogue_id="d",
        pipeline="user_oriented_exec",
        domain="shop",
        tools=TOOLS,
        messages=tuple(messages),
        tasks=tuple(tasks),
        task_starts=tuple(starts),
    )
    dialogue.check()
    return dialogue
