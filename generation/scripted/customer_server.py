"""The stand-in's user over HTTP, in the OpenAI wire format: a simulator for harnesses with their own prompts
(τ²-bench).

Run `python -m generation.scripted.customer_server --port PORT`. Without a typed context it reads the scenario in the
system prompt for what the customer wants and knows, gives it step by step, agrees when asked, and ends with the
harness's stop word. It follows no other instructions and uses no device tools, so scores with it measure an agent
against a plain customer.
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


def reply(messages: list[dict[str, Any]]) -> str:
    """The customer's next message. `messages` come from the harness: system prompt first, the customer as the
    assistant."""
    scenario = sections(str(messages[0].get("content") or "")) if messages else {}
    mine = [m for m in messages if m["role"] == "assistant"]
    latest = str(messages[-1].get("content") or "") if messages else ""
    if not mine:
        return f"Hello. {_first_person(scenario.get('reason for call', 'I need some help.'))}"
    if "transfer" in latest.lower() and "human" in latest.lower():
        return TRANSFER
    if len(mine) >= PATIENCE or (
        len(mine) >= 2 and _DONE.search(latest) and "?" not in latest.replace("anything else?", "")
    ):
        return STOP
    if len(mine) == 1 and "known info" in scenario:
        return _first_person(scenario["known info"])
    if "?" in latest:
        return "Yes, please go ahead."
    return "Please do what I asked for, I agree with it."


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
        messages = (await request.json())["messages"]
        content = reply(messages)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return web.json_response({"error": {"message": f"expected an OpenAI chat request: {error!r}"}}, status=400)
    words = len(content.split())
    prompt_words = sum(len(str(m.get("content") or "").split()) for m in messages)
    return web.json_response(
        {
            "id": "chatcmpl-scripted",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": MODEL,
            "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": content}}],
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
