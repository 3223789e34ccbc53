"""The stand-in's user over HTTP, in the OpenAI wire format: a simulator for harnesses that bring their own prompts (τ²-bench).

`python -m generation.scripted.customer_server --port PORT`. It has no typed context there, only text: from the system prompt's scenario it
takes what the customer wants and knows, tells it step by step, agrees when asked, and ends with the harness's stop word. It
follows no instructions beyond that and uses no device tools, so scores with it measure an agent against a plain customer.
"""

from __future__ import annotations

import argparse
import re
import time
from typing import Any

from aiohttp import web

MODEL = "scripted-user"
STOP, TRANSFER = "###STOP###", "###TRANSFER###"
PATIENCE = 6
"""Messages after which the customer gives up."""

_SECTION = re.compile(r"^\s*(Reason for call|Known info|Unknown info|Task instructions|Domain)\s*:\s*(.*)$", re.I)
_DONE = re.compile(
    r"\b(anything else|is there anything|have a (great|nice|good)|you're welcome|successfully|has been|done)\b", re.I
)


def sections(scenario: str) -> dict[str, str]:
    """'Reason for call: …' and its kin, lower-case heading -> text."""
    found: dict[str, list[str]] = {}
    current: list[str] | None = None
    for line in scenario.splitlines():
        text = line
        heading = _SECTION.match(line)
        if heading:
            current = found.setdefault(heading[1].lower(), [])
            text = heading[2]
        if current is not None and text.strip() and not text.strip().startswith("</"):
            current.append(text.strip())
    return {heading: " ".join(lines) for heading, lines in found.items()}


def reply(messages: list[dict[str, Any]]) -> str:
    """The customer's next message; `messages` are the harness's: system prompt first, its own words as assistant messages."""
    told = sections(str(messages[0].get("content") or "")) if messages else {}
    mine = [m for m in messages if m["role"] == "assistant"]
    heard = str(messages[-1].get("content") or "") if messages else ""
    if not mine:
        return f"Hello. {_as_me(told.get('reason for call', 'I need some help.'))}"
    if "transfer" in heard.lower() and "human" in heard.lower():
        return TRANSFER
    if len(mine) >= PATIENCE or (
        len(mine) >= 2 and _DONE.search(heard) and "?" not in heard.replace("anything else?", "")
    ):
        return STOP
    if len(mine) == 1 and "known info" in told:
        return _as_me(told["known info"])
    if "?" in heard:
        return "Yes, please go ahead."
    return "Please do what I asked for, I agree with it."


def _as_me(text: str) -> str:
    """Second person to first person, well enough to be understood."""
    for pattern, mine in (
        (r"\byou are\b", "I am"),
        (r"\byou're\b", "I'm"),
        (r"\byourself\b", "myself"),
        (r"\byour\b", "my"),
        (r"\byou\b", "I"),
    ):
        text = re.sub(pattern, mine, text, flags=re.I)
    return text


async def _complete(request: web.Request) -> web.Response:
    try:
        messages = (await request.json())["messages"]
        content = reply(messages)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return web.json_response({"error": {"message": f"expected an OpenAI chat request: {error!r}"}}, status=400)
    words = len(content.split())
    asked = sum(len(str(m.get("content") or "").split()) for m in messages)
    return web.json_response(
        {
            "id": "chatcmpl-scripted",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": MODEL,
            "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": content}}],
            "usage": {"prompt_tokens": asked, "completion_tokens": words, "total_tokens": asked + words},
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
