"""The reference time of a dialogue, and what the model sees of the conversation."""

from __future__ import annotations

from typing import Any

import pytest

from core.dialogue import Dialogue
from core.messages import AssistantMessage, Message, SystemMessage, ToolCall, ToolMessage, UserMessage
from core.provenance import Provenance
from core.settings import UserError
from generation.environments.clock import dialogue_time, drawn_time, stated_time
from generation.environments.simulated.environment import (
    SimulatedEnvironmentFactory,
)
from tests.generation.helpers.pipeline_runs import ListedAnswers
from tests.generation.helpers.simulated_visits import environment, prompts


def time_lines(llm: ListedAnswers) -> list[str]:
    return [line for prompt in prompts(llm) for line in prompt.splitlines() if line.startswith("The current time ")]


async def test_the_reference_time_stays_within_a_dialogue_and_differs_between_them() -> None:
    times = set()
    for dialogue in ("a", "b", "c"):
        zoo, llm, _ = environment("{}", "{}", dialogue=dialogue)
        await zoo.call("get_weather", {"day": "monday"})
        await zoo.fork().call("get_weather", {"day": "tuesday"}, (UserMessage(content="Hi, today is May 5, 2024."),))
        assert time_lines(llm) == [f"The current time is {drawn_time(dialogue)}."] * 2
        times |= {drawn_time(dialogue)}
    assert len(times) == 3


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("Today is 2024-05-15, a Wednesday", "2024-05-15"),
        ("The current time is 2024-05-15 15:00:00 EST.", "2024-05-15 15:00:00"),
        ("Current date: 2024-05-15T09:30", "2024-05-15T09:30"),
        ("today's date is the 3rd of March 2025, right?", "the 3rd of March 2025"),
        ("It’s now 3 pm, and I wait", "3 pm"),
        ("it is currently Friday at 9:30", "Friday at 9:30"),
        ("Today is Friday, 7 June. It is now 18:05.", "18:05"),
        ("Today is a good day for it, since 2020-01-01 at least", ""),
        ("My order of 2024-05-15 has not come today", ""),
        ("Is it now possible at 3 pm?", ""),
        ("Today is Mondayish", ""),
    ],
)
def test_how_a_time_is_stated(text: str, time: str) -> None:
    assert stated_time([UserMessage(content=text)]) == time


SYSTEM, LATER, SAID = (
    SystemMessage(content="It is now 2024-01-01 10:00."),
    UserMessage(content="No, today is May 5."),
    AssistantMessage(content="It is now 2020-01-01."),
)


@pytest.mark.parametrize(
    ("messages", "given", "generated_with", "time"),
    [
        ((SYSTEM, LATER, SAID), 3, "Monday", "2024-01-01 10:00"),
        ((SYSTEM, LATER, SAID), 0, None, "2024-01-01 10:00"),
        ((LATER, SAID), 2, None, "May 5"),
        ((UserMessage(content="It's now 9:00."), SAID, LATER), 2, None, "9:00"),
        ((LATER, SAID), 2, "Monday 2025-03-03 10:00", "Monday 2025-03-03 10:00"),
        ((LATER, SAID), 0, None, drawn_time("d")),
        ((), 0, None, drawn_time("d")),
    ],
)
def test_a_dialogue_has_one_time(
    messages: tuple[Message, ...], given: int, generated_with: str | None, time: str
) -> None:
    """The system message's, else the one it was generated with, else the imported user's; what a simulated user says
    in the rollout changes nothing."""
    dialogue = Dialogue(
        dialogue_id="d",
        pipeline="p",
        domain="x",
        tools=(),
        messages=messages,
        given=given,
        provenance=Provenance(now=generated_with),
    )
    assert dialogue_time(dialogue) == time
    of_domain = dialogue_time(dialogue, "Wednesday 2024-05-15 15:00")
    assert of_domain == ("Wednesday 2024-05-15 15:00" if time == drawn_time("d") else time)


async def test_the_model_sees_the_last_messages_of_user_and_assistant() -> None:
    call = AssistantMessage(tool_calls=(ToolCall.make("c", "get_weather", {"day": "x"}),))
    transcript: list[Message] = [SystemMessage(content="rules"), UserMessage(content="first"), call]
    transcript += [ToolMessage(tool_call_id="c", content="sunny"), AssistantMessage(content="It is sunny.")]
    transcript += [UserMessage(content="And the lions?"), call]
    zoo, llm, _ = environment("{}", transcript_messages=2)
    await zoo.call("get_weather", {"day": "x"}, transcript)
    assert "[assistant] It is sunny.\n[user] And the lions?\n" in prompts(llm)[0]
    assert not any(word in prompts(llm)[0] for word in ("first", "rules", "sunny\n[", "[tool]"))
    zoo, llm, _ = environment("{}", transcript_messages=0)
    await zoo.call("get_weather", {"day": "x"}, transcript)
    assert "conversation in which" not in prompts(llm)[0]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"attempts": 0}, "greater than or equal to 1"),
        ({"transcript_messages": -1}, "greater than or equal to 0"),
        ({"calls_shown": "many"}, "valid integer"),
    ],
)
def test_invalid_settings_say_what_is_expected(options: dict[str, Any], expected: str) -> None:
    name, value = next(iter(options.items()))
    with pytest.raises(UserError, match=rf"'environment.{name}': .*{expected}.* \(given: {value!r}\)"):
        SimulatedEnvironmentFactory(**options)
