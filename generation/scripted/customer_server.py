"""The stand-in's user over HTTP, in the OpenAI wire format: a simulator for harnesses with their own prompts
(τ²-bench).

Run `python -m generation.scripted.customer_server --port PORT`. Without a typed context it reads the scenario in the
system prompt for what the customer wants and knows, gives it step by step, agrees when asked, and ends with the
harness's stop word. If the request offers tools (telecom's device), it uses those that the agent's latest message tells
it to, and reports what they returned; it never acts on its own. It follows no other instructions of the scenario, so
scores with it measure an agent against a plain customer.
"""

from __future__ import annotations

import argparse
import re
import time
from typing import Any

from aiohttp import web

from generation.scripted.own_tools import follow, report
from generation.utterances.answers import asks
from generation.utterances.instructions import as_call

MODEL = "scripted-user"
STOP, TRANSFER = "###STOP###", "###TRANSFER###"
PATIENCE = 6
"""Messages after which the customer gives up, counted anew when it has used a tool."""

_SECTION = re.compile(r"^\s*(Reason for call|Known info|Unknown info|Task instructions|Domain)\s*:\s*(.*)$", re.I)
_DONE = re.compile(
    r"\b(anything else|is there anything|have a (great|nice|good)|you're welcome|successfully|has been|done)\b", re.I
)
_CLOSED = re.compile(r"\b(anything else|is there anything|have a (great|nice|good)|you're welcome|goodbye)\b", re.I)
"""What ends a dialogue with tools: "Done" may be one step of many."""


def sections(scenario: str) -> dict[str, str]:
    """The sections of a scenario ('Reason for call: …'): lower-case heading -> text."""
    texts: dict[str, list[str]] = {}
    current: list[str] | None = None
    for line in scenario.splitlines():
        text = line
        heading = _SECTION.match(line)
        if heading:
            current = texts.setdefault(heading[1].lower(), [])
            text = heading[2]
        if current is not None and text.strip() and not text.strip().startswith("</"):
            current.append(text.strip())
    return {heading: " ".join(lines) for heading, lines in texts.items()}


def answer(messages: list[dict[str, Any]], tools: list[dict[str, Any]]) -> dict[str, Any]:
    """The customer's next message: words, or a call of one of its `tools` (function specs).

    `messages` come from the harness: system prompt first, the customer as the assistant.
    """
    heard = max((i for i, m in enumerate(messages) if m["role"] == "user"), default=-1)
    opened = any(m["role"] == "assistant" for m in messages)
    results = [str(m.get("content") or "") for m in messages[heard + 1 :] if m["role"] == "tool"]
    following = follow(_text(messages[heard]), results, tools) if tools and opened and heard >= 0 else None
    if following is None:
        return _says(reply(messages, bool(tools)))
    if following.next is None:
        return _says(report(following))
    call = {"id": f"device_{len(messages)}", "type": "function", "function": as_call(following.next)}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


def reply(messages: list[dict[str, Any]], has_tools: bool = False) -> str:
    """What the customer says where it is told to do nothing with its tools."""
    scenario = sections(_text(messages[0])) if messages else {}
    mine = [m for m in messages if m["role"] == "assistant" and not m.get("tool_calls")]
    used = max((i for i, m in enumerate(messages) if m["role"] == "tool"), default=-1)
    since = sum(m["role"] == "assistant" for m in messages[used + 1 :])
    latest = _text(messages[-1]) if messages else ""
    if not mine:
        return f"Hello. {_first_person(scenario.get('reason for call', 'I need some help.'))}"
    if "transfer" in latest.lower() and "human" in latest.lower():
        return TRANSFER
    done = _CLOSED if has_tools else _DONE
    if since >= PATIENCE or (len(mine) >= 2 and done.search(latest) and not asks(latest)):
        return STOP
    if len(mine) == 1 and "known info" in scenario:
        return _first_person(scenario["known info"])
    if "?" in latest:
        return "Yes, please go ahead."
    if has_tools:
        return "Please go ahead, I agree with it. If there is something to do on my side, tell me which step to take."
    return "Please do what I asked for, I agree with it."


def _text(message: dict[str, Any]) -> str:
    return str(message.get("content") or "")


def _says(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


def _first_person(text: str) -> str:
    """Second person to first person, good enough to be understood."""
    for pattern, replacement in (
        (r"\byou are\b", "I am"),
        (r"\byou're\b", "I'm"),
        (r"\byourself\b", "myself"),
        (r"\byour\b", "my"),
        (r"\byou\b", "I"),
    ):
        text = re.sub(pattern, replacement, text, flags=re.I)
    return text


async def _complete(request: web.Request) -> web.Response:
    try:
        body = await request.json()
        messages = body["messages"]
        tools = [tool["function"] for tool in body.get("tools") or ()]
        message = answer(messages, tools)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return web.json_response({"error": {"message": f"expected an OpenAI chat request: {error!r}"}}, status=400)
    words = len(_text(message).split())
    prompt_words = sum(len(_text(m).split()) for m in messages)
    finish = "tool_calls" if message.get("tool_calls") else "stop"
    return web.json_response(
        {
            "id": "chatcmpl-scripted",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": MODEL,
            "choices": [{"index": 0, "finish_reason": finish, "message": message}],
            "usage": {"prompt_tokens": prompt_words, "completion_tokens": words, "total_tokens": prompt_words + words},
        }
    )


async def _models(_: web.Request) -> web.Response:
    return web.json_response({"object": "list", "data": [{"id": MODEL, "object": "model"}]})


async def _health(_: web.Request) -> web.Response:
    return web.Response()


def application() -> web.Application:
    app = web.Application(client_max_size=64 * 2**20)
    app.add_routes(
        [web.post("/v1/chat/completions", _complete), web.get("/v1/models", _models), web.get("/health", _health)]
    )
    return app


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Serve the scripted customer on loopback.")
    parser.add_argument("--port", type=int, required=True)
    web.run_app(application(), host="127.0.0.1", port=parser.parse_args().port, print=None)
