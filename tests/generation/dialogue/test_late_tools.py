"""Tools that are offered only from a later message on: what the agent sees, what is refused, what is written."""

from __future__ import annotations

import json
from typing import Any

import pytest

from core.dialogue import Dialogue, PlannedCall
from core.messages import AssistantMessage, ToolCall, ToolMessage, UserMessage
from generation.dialogue.rollout import Rollout
from generation.llm.base import Completion, Request
from generation.llm.contexts import UserContext
from generation.pipeline import DomainTools
from generation.specs.naming import changes as changes_something
from generation.validation.validate import replay
from tests.generation.helpers.pipeline_runs import FinishedRun, context_of, pipeline_of


class Insisting:
    """An agent that calls the late tool in every turn and then answers, and a user who speaks three times. Before the
    user speaks for the `offer_at`th time, the tool is offered."""

    name = "insisting"
    rollout: Rollout

    def __init__(self, call: PlannedCall, offer_at: int) -> None:
        self.call, self.offer_at = call, offer_at
        self.offered: list[tuple[int, set[str]]] = []
        self.spoken = 0

    async def complete(self, request: Request) -> Completion:
        if isinstance(request.context, UserContext):
            self.spoken += 1
            if self.spoken == self.offer_at:
                self.rollout.late_tools[self.call.tool] = len(self.rollout.messages)
                self.rollout._hidden.clear()
            turn = {"user_message": f"Please do it, {self.spoken}.", "is_task_complete": self.spoken == 4}
            return Completion(AssistantMessage(content=json.dumps(turn)))
        self.offered.append((len(request.messages), {tool.name for tool in request.tools}))
        if not isinstance(request.messages[-1], UserMessage):
            return Completion(AssistantMessage(content="I did what I could."))
        call = ToolCall.make("x", self.call.tool, self.call.arguments)
        return Completion(AssistantMessage(tool_calls=(call,)), "tool_calls")

    async def close(self) -> None: ...


async def played(
    executed: FinishedRun, domains: tuple[DomainTools, ...], offer_at: int, **changes: Any
) -> tuple[Insisting, Dialogue, bool]:
    """The models, the dialogue about one changing task whose last tool is late, and whether it replays."""
    source = next(dialogue for dialogue in executed.accepted if dialogue.tasks[0].mutates)
    domain = next(each for each in domains if each.domain.name == source.domain)
    late = next(call for call in reversed(source.tasks[0].gold_calls) if changes_something(call.tool))
    llm = Insisting(late, offer_at)
    pipeline = pipeline_of("user_oriented_exec", domains, llm, count={1: 1.0}, **changes)
    task = source.tasks[0].model_copy(update={"late_tools": (late.tool,)})
    draft = Dialogue(dialogue_id="d", pipeline=source.pipeline, domain=source.domain, tools=source.tools, tasks=(task,))
    context = context_of(pipeline, domain)
    try:
        llm.rollout = Rollout(draft, context)
        dialogue = await llm.rollout.run()
        replayed = await replay(dialogue, context.domain_environment)
        return llm, dialogue, replayed.faithful and replayed.proof == dialogue.state
    finally:
        pipeline.environments.close()


def results(dialogue: Dialogue) -> list[str]:
    return [message.content for message in dialogue.messages if isinstance(message, ToolMessage)]


async def test_a_late_tool_is_hidden_until_it_is_offered(
    executed: FinishedRun, domains: tuple[DomainTools, ...]
) -> None:
    llm, dialogue, replays = await played(executed, domains, 3, invalid_calls="error")
    name, start = llm.call.tool, dialogue.late_tools[llm.call.tool]
    assert dialogue.late_tools == {name: start}
    assert isinstance(dialogue.messages[start], UserMessage)
    assert dialogue.messages[start].content == "Please do it, 3."
    assert llm.offered == [
        (position, {tool.name for tool in dialogue.tools_at(position)}) for position, _ in llm.offered
    ]
    assert [name in names for _, names in llm.offered] == [False] * 4 + [True] * 2
    assert [f"there is no tool '{name}'" in result for result in results(dialogue)] == [True, True, False]
    assert replays
    assert dialogue.state
    assert dialogue.state.diff, "the last call changed the state"


async def test_a_tool_that_is_never_offered_is_not_among_the_dialogues_tools(
    executed: FinishedRun, domains: tuple[DomainTools, ...]
) -> None:
    llm, dialogue, replays = await played(executed, domains, 9, invalid_calls="error")
    assert llm.call.tool not in {tool.name for tool in dialogue.tools}
    assert dialogue.late_tools == {}
    assert all("there is no tool" in result for result in results(dialogue))
    assert replays
    assert dialogue.state
    assert not dialogue.state.diff


@pytest.mark.parametrize("offer_at", [1, 9])
async def test_calls_of_a_tool_that_is_not_offered_are_requested_again_as_those_of_unknown_ones(
    executed: FinishedRun, domains: tuple[DomainTools, ...], offer_at: int
) -> None:
    llm, dialogue, _ = await played(executed, domains, offer_at, invalid_calls="retry")
    refused = f"the answer calls {llm.call.tool!r}, which is not a tool" in dialogue.stop
    assert (refused, len(results(dialogue))) == ((False, 3) if offer_at == 1 else (True, 0))
    if offer_at == 1:
        dialogue.check()
