"""The agent: its system message, its call ids, and retries of answers that no valid dialogue may contain."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, get_args

import pytest

from core.messages import (
    AssistantMessage,
    FunctionCall,
    Message,
    SystemMessage,
    ToolCall,
    ToolMessage,
    ToolSpec,
    UserMessage,
    check_transcript,
)
from core.policy import Policy
from generation.dialogue.agent import Agent, agent_system_message
from generation.dialogue.scenario import Style
from generation.llm.base import Completion, Request, UnusableAnswerError
from generation.llm.meter import Meter
from tests.generation.helpers.pipeline_runs import SCENE, TASK

MESSAGES = (SystemMessage(content="You help."), UserMessage(content="Hello"))
TOOLS = (
    ToolSpec(
        name="get",
        description="d",
        parameters={"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]},
    ),
    ToolSpec(name="note", description="d", parameters={"type": "object", "properties": {}}),
)
GOOD = Completion(AssistantMessage(content="Hello, how can I help?"))


def calling(name: str, arguments: str, finish_reason: str = "tool_calls") -> Completion:
    call = ToolCall(id="x", function=FunctionCall(name=name, arguments=arguments))
    return Completion(AssistantMessage(tool_calls=(call,)), finish_reason)


@dataclass
class Playing:
    """Answers with one completion after the other, then repeats the last."""

    completions: list[Completion]
    requests: list[Request] = field(default_factory=list)
    name: str = "playing"

    async def complete(self, request: Request) -> Completion:
        self.requests.append(request)
        return self.completions[min(len(self.requests), len(self.completions)) - 1]

    async def close(self) -> None: ...


def agent_of(*completions: Completion, attempts: int = 3) -> tuple[Agent, Playing, Meter]:
    llm = Playing(list(completions))
    meter = Meter(llm)
    return Agent(meter, "d", attempts), llm, meter


def system_text(**more: Any) -> str:
    message = agent_system_message(SCENE, **more)
    return message.content if message else ""


@pytest.mark.parametrize("style", ["full", "brief", "rules_first"])
def test_the_system_message_names_the_domain_and_the_time_in_plain_words(style: Style) -> None:
    text = system_text(style=style)
    assert SCENE.domain in text
    assert SCENE.now in text
    assert "language" not in text
    assert "user's language" in system_text(style=style, multilingual=True)


def test_the_styles_are_different_texts() -> None:
    assert len({system_text(style=style) for style in get_args(Style)}) == 4


@pytest.mark.parametrize("style", get_args(Style))
def test_a_policy_is_told_in_every_style(style: Style) -> None:
    policy = Policy(text="Never book a hall on a Sunday.")
    assert policy.text in system_text(style=style, policy=policy)
    assert policy.text not in system_text(style=style)


def test_a_dialogue_may_have_no_system_message_unless_there_is_a_policy() -> None:
    assert agent_system_message(SCENE, "none") is None
    assert agent_system_message(SCENE, "none", Policy()) == agent_system_message(SCENE, "full")


def test_the_full_style_is_the_one_that_was_the_only_one() -> None:
    """Data of earlier versions begins with exactly this."""
    lines = system_text().split("\n")
    assert lines[0] == "You are the assistant of the hall rental service. Rents out halls."
    assert lines[-2] == "- When a tool returns an error or nothing, say so, or try again with corrected arguments."
    assert lines[-1] == "The current time is Tuesday 2025-03-04 10:15."
    assert len(lines) == 8


async def test_call_ids_follow_from_the_position_of_the_call() -> None:
    both = (ToolCall.make("x", "get", {"a": 1}), ToolCall.make("x", "get", {"a": 2}))
    agent, llm, _ = agent_of(Completion(AssistantMessage(reasoning_content="hm", tool_calls=both), "tool_calls"))
    messages: tuple[Message, ...] = MESSAGES
    for _ in range(3):
        answer = await agent.respond(messages, TOOLS, TASK, 1)
        assert answer.reasoning_content == "hm"
        results = [ToolMessage(tool_call_id=call.id, content="{}") for call in answer.tool_calls or ()]
        messages = (*messages, answer, *results)
    assert [m.tool_call_id for m in messages if isinstance(m, ToolMessage)] == [
        *("call_2_0", "call_2_1"),
        *("call_5_0", "call_5_1"),
        *("call_8_0", "call_8_1"),
    ]
    check_transcript((*messages, AssistantMessage(content="Done.")), TOOLS)
    forked, _, _ = agent_of(Completion(AssistantMessage(tool_calls=both), "tool_calls"))
    again = await forked.respond(messages[:5], TOOLS, TASK, 1)
    assert [call.id for call in again.tool_calls or ()] == ["call_5_0", "call_5_1"], (
        "as if it had produced the earlier messages itself"
    )
    assert [request.key for request in llm.requests] == ["d/agent/0", "d/agent/1", "d/agent/2"]


INVALID: list[tuple[Completion, str, dict[str, int]]] = [
    (Completion(AssistantMessage(content="  \n")), "empty", {"empty": 1}),
    (Completion(AssistantMessage(reasoning_content="only thinking")), "empty", {"empty": 1}),
    (Completion(AssistantMessage(content="It is"), finish_reason="length"), "cut off", {"truncated": 1}),
    (calling("get", '{"a": 1}', "length"), "cut off", {"truncated": 1}),
    (Completion(AssistantMessage(content="half \ud83d")), "not text", {"malformed": 1}),
    (Completion(AssistantMessage(content="ok", reasoning_content="\udc00")), "not text", {"malformed": 1}),
    (Completion(AssistantMessage(content="<tool_call>{</tool_call>")), "markup <tool_call>", {"malformed": 1}),
    (Completion(AssistantMessage(content="So: <|channel|>final")), "markup <.channel.>", {"malformed": 1}),
    (Completion(AssistantMessage(content="hm</think> yes")), "markup </think>", {"malformed": 1}),
    (calling("fetch", '{"a": 1}'), "calls 'fetch', which is not a tool", {"malformed": 1}),
    (calling("get", '{"a": '), "not JSON", {"malformed": 1}),
    (calling("get", "[1]"), "not a JSON object", {"malformed": 1}),
    (calling("get", '{"a": ' * 100_000), "not JSON", {"malformed": 1}),
    (calling("get", '{"a": "one"}'), "arguments of get do not fit: a: 'one'", {"malformed": 1}),
    (calling("get", "{}"), "arguments of get do not fit: 'a' is a required property", {"malformed": 1}),
    (calling("note", '{"x": NaN}'), "not JSON", {"malformed": 1}),
    (calling("note", '{"x": "\\ud83d"}'), "not JSON", {"malformed": 1}),
]


@pytest.mark.parametrize(("bad", "why", "flaws"), INVALID)
async def test_an_invalid_answer_is_requested_again_and_left_out(
    bad: Completion, why: str, flaws: dict[str, int]
) -> None:
    agent, llm, meter = agent_of(bad, GOOD)
    assert await agent.respond(MESSAGES, TOOLS, TASK, 1) == GOOD.message
    assert [request.key for request in llm.requests] == ["d/agent/0", "d/agent/1"], "another key is another seed"
    assert all(request.messages == MESSAGES for request in llm.requests), "the transcript does not mention the retry"
    assert meter.usage.flaws == {f"agent/{kind}": count for kind, count in flaws.items()}


@pytest.mark.parametrize(("bad", "why", "flaws"), INVALID)
async def test_after_the_last_attempt_the_agent_is_to_blame(bad: Completion, why: str, flaws: dict[str, Any]) -> None:
    agent, llm, _ = agent_of(bad, attempts=2)
    with pytest.raises(UnusableAnswerError, match=f"^agent: nothing usable in 2 attempts: .*{why}"):
        await agent.respond(MESSAGES, TOOLS, TASK, 1)
    assert len(llm.requests) == 2
    with pytest.raises(UnusableAnswerError):
        await agent.respond(MESSAGES, TOOLS, TASK, 1)
    assert len({request.key for request in llm.requests}) == 4, "no key is used twice in one rollout"
