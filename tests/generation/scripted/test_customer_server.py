"""The scripted customer over HTTP: the OpenAI wire format, a plain story in steps, and limited patience."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from generation.scripted.customer_server import MODEL, PATIENCE, STOP, TRANSFER, answer, application, reply, sections

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


SWITCH = {"name": "toggle_airplane_mode", "description": "Toggles Airplane Mode.", "parameters": {}}
BAR = {"name": "check_status_bar", "description": "Shows the status bar.", "parameters": {}}
MODE = {
    "name": "set_network_mode",
    "description": "Sets the network mode.",
    "parameters": {"properties": {"mode": {"type": "string", "enum": ["4g_only", "2g_only"]}}, "required": ["mode"]},
}
DEVICE = [SWITCH, BAR, MODE]


class Phone:
    """A device whose Airplane Mode can be switched, and a dialogue of the customer who has it."""

    def __init__(self, airplane: bool = True) -> None:
        self.airplane = airplane
        self.messages = [SYSTEM]
        self.used: list[str] = []

    def hears(self, text: str) -> str:
        """What the customer answers after it has used its tools."""
        self.messages.append(agent(text))
        while True:
            message = answer(self.messages, DEVICE)
            self.messages.append(message)
            if "tool_calls" not in message:
                return str(message["content"])
            assert len(self.used) < 50, "it goes on and on"
            (call,) = message["tool_calls"]
            self.messages.append({"role": "tool", "tool_call_id": call["id"], "content": self.use(call["function"])})

    def use(self, function: dict[str, str]) -> str:
        self.used.append(function["name"])
        if function["name"] == "toggle_airplane_mode":
            self.airplane = not self.airplane
        elif function["name"] == "set_network_mode":
            return f"Set to {json.loads(function['arguments'])['mode']}"
        return f"Airplane Mode is now {'ON' if self.airplane else 'OFF'}."


def test_it_uses_its_tools_when_told_and_reports_what_they_return() -> None:
    phone = Phone()
    assert phone.hears("Hello! Please turn off Airplane Mode.").startswith("Hello. I want"), "it states its wish first"
    assert phone.used == []
    said = phone.hears("Please turn off Airplane Mode. Then check your status bar.")
    assert phone.used == ["toggle_airplane_mode", "check_status_bar"]
    assert not phone.airplane
    assert said.count('"Airplane Mode is now OFF."') == 2
    assert "Set to 4g_only" in phone.hears("Set your network mode to 4G only.")


def test_a_switch_that_is_in_the_wanted_state_stays_there() -> None:
    phone = Phone(airplane=False)
    phone.hears("Hello!")
    assert '"Airplane Mode is now OFF."' in phone.hears("Please turn off Airplane Mode.")
    assert phone.used == ["toggle_airplane_mode"] * 2, "it cannot see the state without a call"
    assert not phone.airplane


@pytest.mark.parametrize(
    "text",
    [
        "Please do whatever is needed on your phone.",
        "Airplane Mode may be on, and then nothing works.",
        "Have you tried to turn it off and on again?",
        "I am checking your line.",
        "Do not turn off Airplane Mode.",
    ],
)
def test_it_takes_no_step_of_its_own_accord_and_ends_within_its_patience(text: str) -> None:
    phone = Phone()
    texts = [phone.hears(text) for _ in range(PATIENCE + 1)]
    assert phone.used == []
    assert phone.airplane
    assert texts[-1] == STOP
    assert texts.index(STOP) == PATIENCE


def test_its_patience_begins_anew_with_every_step() -> None:
    phone = Phone()
    texts = [phone.hears("Hello!")] + [phone.hears("Check your status bar.") for _ in range(3 * PATIENCE)]
    assert STOP not in texts
    assert phone.hears("That has been done, one moment.") != STOP, "one of many steps"
    assert phone.hears("Everything works now. Is there anything else?") == STOP


def test_it_says_which_value_it_was_not_told() -> None:
    phone = Phone()
    phone.hears("Hello!")
    assert "set network mode" in phone.hears("Change your network mode, please.")
    assert phone.used == []
