"""Dialogues in the formats of other ecosystems, as rows or lines: ShareGPT, Hermes and Hugging Face's session traces.

- sharegpt: as LLaMA-Factory reads it. Turns alternate between human or observation and gpt or function_call; text and
  reasoning next to calls, and a closing message of the user, have no place in it.
- hermes: NousResearch's function calling. Tools, calls and results are in tags within the text.
- traces: the hub's Session Trace Simple Format. One file per dialogue: a header, then a line per message.

Tools that are offered only later in a dialogue are named in `late_tools`, since none of these formats has them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from itertools import groupby
from typing import Any, Literal

Format = Literal["openai", "sharegpt", "hermes", "traces"]
Row = dict[str, Any]

HARNESS = "user-oriented-dialogues"
"""Names the format's writer in session traces."""

_HERMES = """\
You can call functions. Their signatures, as JSON, are within <tools></tools>:
<tools>
{tools}
</tools>
To call a function, write one JSON object with its name and arguments within <tool_call></tool_call>, for each call:
<tool_call>
{{"name": <function-name>, "arguments": <args-dict>}}
</tool_call>
Results are within <tool_response></tool_response>."""


def sharegpt_row(row: Row) -> Row:
    """A row of the chat format (generation.export.chat) as one of ShareGPT's."""
    messages: list[Row] = list(row["messages"])
    system = messages.pop(0)["content"] if messages and messages[0]["role"] == "system" else ""
    if messages[-1]["role"] == "user":
        messages.pop()
    turns = []
    for is_result, group in groupby(messages, lambda message: message["role"] == "tool"):
        if is_result:
            turns.append({"from": "observation", "value": _observation([result["content"] for result in group])})
        else:
            turns += [_sharegpt_turn(message) for message in group]
    return _origin(row) | {"conversations": turns, "system": system, "tools": _functions(row)}


def _sharegpt_turn(message: Row) -> Row:
    if message["role"] == "user":
        return {"from": "human", "value": message["content"]}
    if calls := message.get("tool_calls"):
        parsed = [_call(call) for call in calls]
        return {"from": "function_call", "value": _json(parsed[0] if len(parsed) == 1 else parsed)}
    return {"from": "gpt", "value": message["content"]}


def _observation(results: list[str]) -> str:
    """A single result unchanged; of several, each in tags."""
    return results[0] if len(results) == 1 else "\n".join(map(_in_tags, results))


def _in_tags(result: str) -> str:
    return f"<tool_response>\n{result}\n</tool_response>"


def hermes_row(row: Row) -> Row:
    """A row of the chat format as one of Hermes function calling."""
    names = {call["id"]: call["function"]["name"] for m in row["messages"] for call in m.get("tool_calls", ())}
    messages = [message for message in row["messages"] if message["role"] != "system"]
    system = [message["content"] for message in row["messages"] if message["role"] == "system"]
    tools = _functions(row)
    turns = [{"from": "system", "value": "\n\n".join([*system, _HERMES.format(tools=tools)])}]
    for is_result, group in groupby(messages, lambda message: message["role"] == "tool"):
        if is_result:
            results = [{"name": names[m["tool_call_id"]], "content": _value(m["content"])} for m in group]
            turns.append({"from": "tool", "value": "\n".join(_in_tags(_json(result)) for result in results)})
        else:
            turns += [_hermes_turn(message) for message in group]
    return _origin(row) | {"conversations": turns, "tools": tools}


def _hermes_turn(message: Row) -> Row:
    if message["role"] == "user":
        return {"from": "human", "value": message["content"]}
    parts = [f"<think>\n{message['reasoning_content']}\n</think>"] if message.get("reasoning_content") else []
    parts += [message["content"]] if message["content"] else []
    parts += [f"<tool_call>\n{_json(_call(call))}\n</tool_call>" for call in message.get("tool_calls", ())]
    return {"from": "gpt", "value": "\n".join(parts)}


def trace_lines(row: Row) -> Iterator[Row]:
    """A row of the chat format as the lines of one session trace."""
    yield {"type": "session", "harness": HARNESS, "name": row["domain"]} | _origin(row) | {"tools": _functions(row)}
    for message in row["messages"]:
        content: Row = {"role": message["role"], "content": message["content"]}
        if message.get("reasoning_content"):
            content["reasoningContent"] = message["reasoning_content"]
        if message.get("tool_calls"):
            content["toolCalls"] = [{"id": call["id"], "function": call["function"]} for call in message["tool_calls"]]
        if message["role"] == "tool":
            content["toolCallId"] = message["tool_call_id"]
        yield {"type": "message", "message": content}


ROWS: Mapping[Format, Callable[[Row], Row]] = {"sharegpt": sharegpt_row, "hermes": hermes_row}
"""The formats with one row per dialogue."""


def _origin(row: Row) -> Row:
    return {key: row[key] for key in row if key not in ("messages", "tools")}


def _functions(row: Row) -> str:
    """The functions as a JSON list."""
    return _json([tool["function"] for tool in json.loads(row["tools"])])


def _call(call: Row) -> Row:
    return {"name": call["function"]["name"], "arguments": json.loads(call["function"]["arguments"])}


def _value(text: str) -> Any:
    """A result as JSON value, or as text if it is not JSON."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
