"""Users and agents that err in guided tasks: their dialogues are rejected, and the side that erred is to blame."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from core.messages import AssistantMessage, ToolCall
from generation.llm.base import Completion, Request
from generation.llm.contexts import AgentContext, UserContext
from generation.pipeline import DomainTools
from generation.scripted.llm import ScriptedLLM
from generation.seeds.support_desk import DESKS
from generation.utterances.instructions import instructed, speaks_of
from tests.generation.helpers.support_desks import play


@dataclass
class Spoiled:
    """The stand-in, but for what `spoil` answers itself; a request that it returns is the stand-in's instead."""

    spoil: Callable[[Request], AssistantMessage | Request | None]
    llm: ScriptedLLM = field(default_factory=lambda: ScriptedLLM(error_rate=0.0))
    name: str = "spoiled"

    async def complete(self, request: Request) -> Completion:
        answer = self.spoil(request)
        if isinstance(answer, AssistantMessage):
            return Completion(answer, model=self.name)
        return await self.llm.complete(answer or request)

    async def close(self) -> None: ...


def turn(message: str, **use: object) -> AssistantMessage:
    answer = {"user_message": message, "is_task_complete": False} | ({"use_tool": use} if use else {})
    return AssistantMessage(content=json.dumps(answer))


def claims_to_be_done(request: Request) -> AssistantMessage | None:
    is_agent = isinstance(request.context, AgentContext)
    return AssistantMessage(content="Done: it works again. Anything else?") if is_agent else None


def acts_without_instruction(request: Request) -> AssistantMessage | Request | None:
    """The user does something that the agent has not spoken of after its first answer, and then what it is told to."""
    context = request.context
    if not isinstance(context, UserContext):
        return None
    said = [m for m in context.transcript if isinstance(m, AssistantMessage) and m.content]
    if len(said) != 1:
        return None
    if context.actions:
        return replace(request, context=replace(context, actions=context.actions[1:]))
    subject = next(value for value in context.task.subject.values() if "-" in value)
    uses = [(tool, {next(iter(tool.parameters["properties"])): subject}) for tool in context.tools]
    tool, arguments = next(
        (tool, arguments)
        for tool, arguments in uses
        if not (tool.argument_error(arguments) or speaks_of(said[0].content, tool.name))
    )
    return turn("", tool=tool.name, arguments=arguments)


def only_claims_to_act(request: Request) -> AssistantMessage | None:
    """The user is told to do something and says that it did."""
    context = request.context
    if not isinstance(context, UserContext) or not context.transcript[context.task_start :]:
        return None
    latest = context.transcript[-1].content
    if not instructed(latest, [tool.model_dump() for tool in context.tools], context.task.goal):
        return None
    return turn(f"I have done number {len(context.transcript)} of what you said.")


def makes_its_own_calls_first(request: Request) -> AssistantMessage | None:
    """The agent does not wait for what the user would find."""
    context = request.context
    if not isinstance(context, AgentContext) or len(request.messages) - context.task_start != 1:
        return None
    calls = [call for call in context.task.gold_calls if call.actor == "agent"]
    tool_calls = tuple(ToolCall.make(f"c{n}", call.tool, call.arguments) for n, call in enumerate(calls))
    return AssistantMessage(tool_calls=tool_calls) if tool_calls else None


def calls_the_users_tool(request: Request) -> AssistantMessage | None:
    context = request.context
    if not isinstance(context, AgentContext) or len(request.messages) - context.task_start != 1:
        return None
    gold = next(call for call in context.task.gold_calls if call.actor == "user")
    return AssistantMessage(tool_calls=(ToolCall.make("c", gold.tool, gold.arguments),))


@pytest.mark.parametrize(
    ("spoil", "blamed", "failed_check"),
    [
        (claims_to_be_done, "agent", "procedure in task 0"),
        (acts_without_instruction, "user", "instructed in task 0"),
        (only_claims_to_act, "user", "procedure in task 0"),
        (makes_its_own_calls_first, "agent", "procedure in task 0"),
        (calls_the_users_tool, "agent", "contract"),
    ],
)
def test_who_errs_is_rejected_and_blamed(
    desks: tuple[DomainTools, ...],
    tmp_path: Path,
    spoil: Callable[[Request], AssistantMessage | Request | None],
    blamed: str,
    failed_check: str,
) -> None:
    run = play(desks, tmp_path, Spoiled(spoil), n=6, count={1: 1.0}, invalid_calls="error")
    # Some procedures need no call of the agent, which then has none to make too early.
    assert len(run.rejected) >= 2 if spoil is makes_its_own_calls_first else not run.accepted
    for rejection in run.rejected:
        verdict = rejection.dialogue.verdict if rejection.dialogue else None
        assert verdict
        assert verdict.blame == blamed, verdict.reasons
        assert failed_check in [check.name for check in verdict.checks if not check.passed], verdict.reasons


def test_what_the_agent_may_not_touch_stays_untouched(desks: tuple[DomainTools, ...], tmp_path: Path) -> None:
    run = play(desks, tmp_path, Spoiled(calls_the_users_tool), n=2, count={1: 1.0}, invalid_calls="error")
    for rejection in run.rejected:
        assert rejection.dialogue
        refusal = next(message for message in rejection.dialogue.messages if message.role == "tool")
        assert "there is no tool" in refusal.content


def test_an_unusable_use_of_a_tool_is_asked_again(desks: tuple[DomainTools, ...], tmp_path: Path) -> None:
    """A model as the user names a tool that it does not have, then leaves out an argument, then does it right."""
    wrong = iter([turn("", tool="fly", arguments={}), turn("", tool="check_hub_light", arguments={})])

    def spoil(request: Request) -> AssistantMessage | None:
        context = request.context
        is_told = isinstance(context, UserContext) and len(context.transcript) - context.task_start == 2
        return next(wrong, None) if is_told else None

    run = play(tuple(desk for desk in desks if desk.domain.name == "smart_home"), tmp_path, Spoiled(spoil), n=1)
    assert len(run.accepted) == 1, [rejection.reasons for rejection in run.rejected]
    prompts = [request.messages[-1].content for request, _ in run.log if request.role == "user"]
    assert any("you cannot use 'fly' now; you have check_hub_light" in prompt for prompt in prompts)
    assert any("arguments of check_hub_light do not fit" in prompt for prompt in prompts)
    first = next(request for request, _ in run.log if request.role == "user")
    assert "press_sensor_button" in first.messages[0].content
    assert first.json_schema
    uses = first.json_schema["properties"]["use_tool"]["anyOf"][1:]
    names = [use["properties"]["tool"]["enum"][0] for use in uses]
    assert names == [tool.spec.name for tool in DESKS["smart_home"].user_tools]
