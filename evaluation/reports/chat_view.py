"""Messages in OpenAI's chat format as a page shows them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from core.page.contents import CallView, MessageView

_ROLES: dict[str, Literal["system", "user", "assistant"]] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
}


def chat_messages(messages: Sequence[Mapping[str, Any]]) -> tuple[MessageView, ...] | None:
    """The messages, with each result in the call that it answers: the last one before it with its id. None if a result
    answers no call, or if there is an unknown role."""
    results: dict[tuple[int, int], str] = {}
    calls: dict[str, tuple[int, int]] = {}
    for index, message in enumerate(messages):
        calls |= {str(call.get("id")): (index, number) for number, call in enumerate(message.get("tool_calls") or ())}
        if message["role"] == "tool":
            place = calls.pop(str(message.get("tool_call_id")), None)
            if place is None:
                return None
            results[place] = _text(message.get("content"))
        elif message["role"] not in _ROLES:
            return None
    return tuple(
        MessageView(
            index=index,
            role=_ROLES[message["role"]],
            content=_text(message.get("content")),
            reasoning=_text(message.get("reasoning_content") or message.get("reasoning")),
            calls=tuple(
                CallView(
                    name=call["function"]["name"],
                    arguments=_text(call["function"]["arguments"]),
                    result=results.get((index, number)),
                )
                for number, call in enumerate(message.get("tool_calls") or ())
            ),
        )
        for index, message in enumerate(messages)
        if message["role"] != "tool"
    )


def _text(content: Any) -> str:
    """Lists of parts and arguments that were recorded as objects become JSON."""
    return "" if content is None else content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
