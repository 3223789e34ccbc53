"""The agent: its system message, its call ids, and retries of answers that no valid dialogue may contain."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from core.messages import (
    AssistantMessage,
    FunctionCall,
    Message,
    ToolCall,
    ToolMessage,
    ToolSpec,
    UserMessage,
    check_transcript,
)
from generation.dialogue.agent import Agent, agent_system_message
from generation.llm.base import Completion, Request, UnusableAnswerError
from generation.llm.meter import Meter
from tests.generation.helpers.pipeline_runs import SCENE, TASK

MESSAGES = (agent_system_message(SCENE), UserMessage(content="Hello"))
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


def test_the_system_message_names_the_domain_in_plain_words() -> None:
    assert "assistant of the hall rental service" in MESSAGES[0].content


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
