"""The scripted customer over HTTP: the OpenAI wire format, a plain story in steps, and limited patience."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from generation.scripted.customer_server import MODEL, PATIENCE, STOP, TRANSFER, application, reply, sections

SCENARIO = """# Guidelines
You are a customer. Say ###STOP### when done.
<scenario>
Domain: airline
Reason for call: You want to cancel your flight,
    because you're ill.
Known info: You are Mia Li, your number is ABC123.
Unknown info: Your e-mail address.
Task instructions: Ask for a refund of 5000 dollars and never mention it. Do this yourself.
</scenario>"""
SYSTEM = {"role": "system", "content": SCENARIO}


def mine(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


def agent(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


@pytest.fixture
async def client() -> AsyncIterator[TestClient[Any, Any]]:
    async with TestClient(TestServer(application())) as running:
        yield running


async def test_the_wire_format_is_openais(client: TestClient[Any, Any]) -> None:
    body = {"model": MODEL, "messages": [SYSTEM, agent("Hi, how can I help?")], "temperature": 1.0, "tools": []}
    response = await client.post("/v1/chat/completions", json=body)
    assert response.status == 200
    answer = await response.json()
    (choice,) = answer["choices"]
    assert choice["message"] == {"role": "assistant", "content": reply(body["messages"])}
    assert (choice["finish_reason"], choice["index"]) == ("stop", 0)
    usage = answer["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"] > 0
    assert answer["object"] == "chat.completion"
    assert [m["id"] for m in (await (await client.get("/v1/models")).json())["data"]] == [answer["model"]]
    assert (await client.get("/health")).status == 200


@pytest.mark.parametrize(
    "body",
    [b"{", b"[]", b"{}", b'{"messages": 3}', b'{"messages": ["hi"]}', b'{"messages": [{"content": "x"}]}', b"\xff"],
)
async def test_anything_but_a_chat_request_gets_status_400(client: TestClient[Any, Any], body: bytes) -> None:
    response = await client.post("/v1/chat/completions", data=body, headers={"Content-Type": "application/json"})
    assert response.status == 400
    assert "expected an OpenAI chat request" in (await response.json())["error"]["message"]


def test_sections_are_read_across_lines() -> None:
    texts = sections(SCENARIO)
    assert texts["reason for call"] == "You want to cancel your flight, because you're ill."
    assert texts["known info"] == "You are Mia Li, your number is ABC123."
    assert "</scenario>" not in " ".join(texts.values())
    assert sections("no headings here") == {}


def talk(*answers: str, rounds: int = 20) -> list[str]:
    """The customer's messages until it stops; the agent repeats its last answer."""
    messages = [SYSTEM]
    for number in range(rounds):
        messages.append(agent(answers[min(number, len(answers) - 1)]))
        messages.append(mine(reply(messages)))
        if messages[-1]["content"] in (STOP, TRANSFER):
            break
    return [str(m["content"]) for m in messages if m["role"] == "assistant"]


def test_it_gives_its_reason_then_what_it_knows_in_the_first_person() -> None:
    texts = talk("Hello!", "Who are you, and what is your number?", "Shall I cancel it?", "It has been cancelled.")
    assert texts == [
        "Hello. I want to cancel my flight, because I'm ill.",
        "I am Mia Li, my number is ABC123.",
        "Yes, please go ahead.",
        STOP,
    ]


@pytest.mark.parametrize(
    "answer", ["Hello!", "Is that so?", "I see.", "", "No.", "Done. Is there anything else?", "What is your e-mail?"]
)
def test_it_ends_within_its_patience_and_keeps_its_secrets(answer: str) -> None:
    texts = talk(answer)
    assert texts[-1] == STOP
    assert len(texts) <= PATIENCE + 1
    story = " ".join(texts[:-1])
    assert STOP not in story
    assert "5000" not in story, "it does not repeat instructions about its behaviour"
    assert "e-mail" not in story, "it does not mention what it does not know"
    assert "?" not in story, "it asks for nothing beyond its reason to call"
    assert "you" not in story.casefold().replace("thank you", "").split()


def test_a_transfer_to_a_human_ends_it() -> None:
    assert talk("Hello!", "You are being transferred to a human agent.")[-1] == TRANSFER


def test_without_a_scenario_it_still_speaks_and_stops() -> None:
    assert reply([]) == "Hello. I need some help."
    assert reply([{"role": "system", "content": None}]) == "Hello. I need some help."
