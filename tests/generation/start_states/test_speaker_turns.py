"""Conversations as turns of speakers: the Schema-Guided Dialogue set and ABCD."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from core.messages import AssistantMessage, ContractError, ToolMessage, check_transcript
from generation.start_states.chat_formats import complete_tools, parse_conversation, read_conversation
from generation.start_states.conversation_files import raw_conversations
from tests.helpers.paths import SHARED_DATA

SGD, ABCD = SHARED_DATA / "sgd" / "dialogues_001.json", SHARED_DATA / "abcd" / "abcd_sample.json"


def turn(speaker: str, utterance: str, *frames: dict[str, Any]) -> dict[str, Any]:
    return {"speaker": speaker, "utterance": utterance, "frames": [{"service": "Tables_1", "actions": []}, *frames]}


BOOKED = {
    "service": "Tables_1",
    "service_call": {"method": "ReserveTable", "parameters": {"name": "Sino", "seats": "2"}},
    "service_results": [{"name": "Sino", "phone": "408"}],
}
GUIDED = {
    "dialogue_id": "1_00000",
    "services": ["Tables_1"],
    "turns": [
        turn("USER", "A table at Sino."),
        turn("SYSTEM", "For how many?"),
        turn("USER", "Two."),
        turn("SYSTEM", "It is booked.", BOOKED),
        turn("USER", "Thanks, bye."),
    ],
}
SERVICE = {
    "original": [
        ["agent", "Hello!"],
        ["customer", "I want to return it."],
        ["customer", "It is too small."],
        ["agent", "Let me look."],
        ["action", "Account has been pulled up for Ada."],
        ["agent", "Done."],
        ["customer", "Thanks."],
    ],
    "delexed": [
        *({"targets": ["return", "utterance", None, [], 1]} for _ in range(4)),
        {"targets": ["return", "take_action", "pull-up-account", ["ada"], -1]},
        *({"targets": ["return", "utterance", None, [], 1]} for _ in range(2)),
    ],
}


def shown(raw: dict[str, Any]) -> list[str]:
    return [f"{message.role}: {message.content}" for message in read_conversation(raw).messages]


def test_a_service_call_becomes_a_call_with_its_result_before_what_the_system_says() -> None:
    assert shown(GUIDED) == [
        "user: A table at Sino.",
        "assistant: For how many?",
        "user: Two.",
        "assistant: ",
        'tool: [{"name": "Sino", "phone": "408"}]',
        "assistant: It is booked.",
        "user: Thanks, bye.",
    ]
    messages = read_conversation(GUIDED).messages
    asking, result = messages[3], messages[4]
    assert isinstance(asking, AssistantMessage)
    assert isinstance(result, ToolMessage)
    (call,) = asking.tool_calls or ()
    assert (call.name, call.parsed()) == ("ReserveTable", {"name": "Sino", "seats": "2"})
    assert result.tool_call_id == call.id
    check_transcript(messages, complete_tools((), messages))


def test_a_call_without_a_result_found_nothing() -> None:
    frame = {"service_call": {"method": "FindTable", "parameters": {}}}
    raw = {"turns": [turn("USER", "A table."), turn("SYSTEM", "There is none.", frame)]}
    assert shown(raw) == ["user: A table.", "assistant: ", "tool: []", "assistant: There is none."]


def test_an_action_of_the_agent_becomes_a_call_and_a_customer_may_say_several_things() -> None:
    assert shown(SERVICE) == [
        "user: I want to return it.\n\nIt is too small.",
        "assistant: Let me look.",
        "tool: Account has been pulled up for Ada.",
        "assistant: Done.",
        "user: Thanks.",
    ]
    asking = read_conversation(SERVICE).messages[1]
    assert isinstance(asking, AssistantMessage)
    (call,) = asking.tool_calls or ()
    assert (call.name, call.parsed()) == ("pull_up_account", {"values": ["ada"]})


def test_a_start_state_ends_with_an_answer_and_a_reading_with_whoever_spoke_last() -> None:
    assert [message.role for message in parse_conversation(GUIDED).messages][-1] == "assistant"
    assert [message.role for message in read_conversation(GUIDED).messages][-1] == "user"


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        ({"turns": [turn("NARRATOR", "Once upon a time.")]}, "roles out of order"),
        ({"turns": ["What is it?"]}, "unreadable"),
        ({"turns": [turn("USER", "Hi.", BOOKED)]}, "unreadable"),
        ({"original": [["customer"]]}, "unreadable"),
        ({"original": [["customer", "Hi."], ["action", "Pulled up."]]}, "unknown content"),
    ],
)
def test_what_is_not_known_is_refused_by_kind(raw: dict[str, Any], kind: str) -> None:
    with pytest.raises(ContractError) as refused:
        read_conversation(raw)
    assert refused.value.kind == kind


def test_other_meanings_of_the_keys_are_no_conversation() -> None:
    assert read_conversation({"turns": 3, "original": "text of something"}).messages == []


@pytest.mark.skipif(not SGD.is_file(), reason="no ../shared/data/sgd here")
def test_a_dev_file_of_the_schema_guided_dialogue_set_is_read_completely() -> None:
    raw = list(raw_conversations(SGD))
    for conversation in raw:
        messages = read_conversation(conversation).messages
        check_transcript(messages, complete_tools((), messages))
        said = [turn["utterance"].strip() for turn in conversation["turns"]]
        spoken = [message.content for message in messages if message.role in ("user", "assistant") and message.content]
        assert [" ".join(text.split()) for text in spoken] == [" ".join(text.split()) for text in said]
    calls = Counter(
        frame["service_call"]["method"]
        for conversation in raw
        for turn in conversation["turns"]
        for frame in turn["frames"]
        if "service_call" in frame
    )
    read = [message for conversation in raw for message in read_conversation(conversation).messages]
    assert calls == Counter(
        call.name for message in read if isinstance(message, AssistantMessage) for call in message.tool_calls or ()
    )


@pytest.mark.skipif(not ABCD.is_file(), reason="no ../shared/data/abcd here")
def test_sample_dialogues_of_abcd_are_read_completely() -> None:
    for conversation in raw_conversations(ABCD):
        messages = read_conversation(conversation).messages
        customer = [text for speaker, text in conversation["original"] if speaker == "customer"]
        assert "\n\n".join(customer) == "\n\n".join(m.content for m in messages if m.role == "user")
        actions = [text for speaker, text in conversation["original"] if speaker == "action"]
        assert actions == [message.content for message in messages if message.role == "tool"]
