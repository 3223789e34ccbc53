"""The agent: its system message, its call ids, and answers that cannot be used."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from rollouts import TASK

from core.messages import AssistantMessage, ToolCall, UserMessage
from generation.agent import Agent, agent_system_message
from generation.llm.base import Completion, Request, UnusableAnswerError

MESSAGES = (agent_system_message("animal_shelter"), UserMessage(content="Hello"))


@dataclass
class One:
    completion: Completion
    requests: list[Request] = field(default_factory=list)
    name: str = "one"

    async def complete(self, request: Request) -> Completion:
        self.requests.append(request)
        return self.completion

    async def close(self) -> None: ...


def test_the_system_message_names_the_domain_as_people_do() -> None:
    assert "assistant of the animal shelter service" in MESSAGES[0].content


async def test_calls_get_ids_that_are_unique_within_the_dialogue() -> None:
    both = (ToolCall.make("x", "get", {"a": 1}), ToolCall.make("x", "get", {"a": 2}))
    llm = One(Completion(AssistantMessage(reasoning_content="hm", tool_calls=both), "tool_calls"))
    agent = Agent(llm, (), "d")
    answers = [await agent.respond(MESSAGES, TASK, 1) for _ in range(3)]
    calls = [call for answer in answers for call in answer.tool_calls or ()]
    assert len({call.id for call in calls}) == 6
    assert [call.parsed() for call in calls] == [{"a": 1}, {"a": 2}] * 3
    assert {answer.reasoning_content for answer in answers} == {"hm"}
    assert [request.key for request in llm.requests] == ["d/agent/0", "d/agent/1", "d/agent/2"]
    assert all(request.messages == MESSAGES for request in llm.requests)


@pytest.mark.parametrize(
    ("completion", "why"),
    [
        (Completion(AssistantMessage(content="  \n")), "empty"),
        (Completion(AssistantMessage(reasoning_content="only thinking")), "empty"),
        (Completion(AssistantMessage(content="It is"), finish_reason="length"), "cut off"),
        (Completion(AssistantMessage(tool_calls=(ToolCall.make("x", "get", {}),)), "length"), "cut off"),
        (Completion(AssistantMessage(content="half \ud83d")), "no text"),
        (Completion(AssistantMessage(content="ok", reasoning_content="\udc00")), "no text"),
    ],
)
async def test_unusable_answers_are_the_agents_fault(completion: Completion, why: str) -> None:
    with pytest.raises(UnusableAnswerError, match=f"^agent: the answer .*{why}"):
        await Agent(One(completion), (), "d").respond(MESSAGES, TASK, 1)
