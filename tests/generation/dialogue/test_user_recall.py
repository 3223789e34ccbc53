"""The user simulator rebuilds from a dialogue everything that it would know had it taken part."""

from __future__ import annotations

import json
from typing import Any

from core.dialogue import Dialogue
from core.messages import AssistantMessage, Message, SystemMessage, ToolCall, ToolMessage, ToolSpec, UserMessage
from core.provenance import Provenance
from generation.dialogue.personas import drawn_user, recalled_user
from generation.dialogue.user import SimulatedUser
from generation.environments.clock import dialogue_time
from generation.llm.base import Request
from generation.llm.contexts import UserContext
from generation.llm.meter import Meter
from tests.generation.helpers.pipeline_runs import SCENE, TASK, FinishedRun, ListedAnswers, user_settings

ASK = json.dumps({"user_message": "Is there a hall?", "is_task_complete": False})
YOU = "Write your next message as the customer."
FURTHER = TASK.model_copy(update={"task_id": "d/t1", "goal": "A further goal."})


def user() -> tuple[SimulatedUser, ListedAnswers]:
    llm = ListedAnswers([ASK, ASK])
    settings = user_settings()
    return SimulatedUser(Meter(llm), drawn_user(settings, "0"), settings.attempts, SCENE, "d"), llm


def before(request: Request, dialogue: Dialogue) -> Dialogue:
    """The dialogue at the time of the request, in the middle of the task that the request is about."""
    assert isinstance(request.context, UserContext)
    tasks = dialogue.task_starts.index(request.context.task_start) + 1
    return dialogue.model_copy(
        update={
            "messages": request.context.transcript,
            "tasks": dialogue.tasks[:tasks],
            "task_starts": dialogue.task_starts[:tasks],
            "stop": "open",
        }
    )


def newcomer(dialogue: Dialogue, played: FinishedRun) -> tuple[SimulatedUser, ListedAnswers]:
    """The dialogue's user as a resumed run makes it, without its history."""
    llm = ListedAnswers([ASK])
    domain = next(tools.domain for tools in played.pipeline.domains if tools.domain.name == dialogue.domain)
    scene = domain.scene(dialogue_time(dialogue))
    settings = played.pipeline.settings.user
    user = recalled_user(settings, drawn_user(settings, f"x{dialogue.dialogue_id}"), dialogue.provenance)
    return SimulatedUser(Meter(llm), user, settings.attempts, scene, dialogue.dialogue_id), llm


def requests_of(dialogue: Dialogue, played: FinishedRun) -> list[Request]:
    return [request for request, _ in played.log if request.role == "user" and request.affinity == dialogue.dialogue_id]


async def test_recalling_a_dialogue_equals_having_taken_part(executed: FinishedRun) -> None:
    """Resumed at any point, the next request is the one that the original user made."""
    compared = differed = 0
    for dialogue in executed.accepted:
        for request in requests_of(dialogue, executed):
            simulated_user, llm = newcomer(dialogue, executed)
            differed += drawn_user(executed.pipeline.settings.user, f"x{dialogue.dialogue_id}") != simulated_user.user
            simulated_user.recall(before(request, dialogue))
            await simulated_user.speak(request.context.transcript)
            assert llm.requests == [request]
            compared += 1
    assert compared > 100
    assert differed > 50


async def test_after_recalling_it_can_hear_too(executed: FinishedRun) -> None:
    """Resumed before the agent's answer, it makes the original request after hearing that answer."""
    compared = 0
    for dialogue in executed.accepted:
        for request in requests_of(dialogue, executed):
            snapshot = before(request, dialogue)
            if len(snapshot.messages) == snapshot.task_starts[-1]:
                continue
            answer = snapshot.messages[-1]
            assert isinstance(answer, AssistantMessage)
            last_request = max(i for i, message in enumerate(snapshot.messages) if isinstance(message, UserMessage))
            simulated_user, llm = newcomer(dialogue, executed)
            simulated_user.recall(snapshot.model_copy(update={"messages": snapshot.messages[: last_request + 1]}))
            simulated_user.hear(answer)
            await simulated_user.speak(snapshot.messages)
            assert llm.requests == [request]
            compared += 1
    assert compared > 50


async def test_a_further_task_ignores_the_closing_message_of_a_finished_dialogue(executed: FinishedRun) -> None:
    several = [dialogue for dialogue in executed.accepted if len(dialogue.tasks) > 1]
    assert len(several) > 5
    for dialogue in several:
        start = dialogue.task_starts[1]
        request = next(r for r in requests_of(dialogue, executed) if r.context.task_start == start)
        closing = UserMessage(content="Thanks, bye.")
        over = {
            "messages": (*dialogue.messages[:start], closing),
            "tasks": dialogue.tasks[:1],
            "task_starts": dialogue.task_starts[:1],
        }
        simulated_user, llm = newcomer(dialogue, executed)
        simulated_user.recall(dialogue.model_copy(update=over))
        simulated_user.start_task(dialogue.tasks[1], start)
        await simulated_user.speak(request.context.transcript)
        assert llm.requests == [request]


def foreign(*more: Message, **fields: Any) -> Dialogue:
    """An imported conversation about halls, with a tool call, followed by `more`."""
    tool = ToolSpec(name="get_hall", description="A hall.", parameters={"type": "object", "properties": {}})
    given = (
        SystemMessage(content="You serve."),
        UserMessage(content="Hello, how big is it?"),
        AssistantMessage(content="One moment.", tool_calls=(ToolCall.make("c", "get_hall", {}),)),
        ToolMessage(tool_call_id="c", content='{"seats": 90}'),
        AssistantMessage(content="It has 90 seats.", reasoning_content="secret thought"),
    )
    known: dict[str, Any] = {"dialogue_id": "d", "pipeline": "p", "domain": "halls", "tools": (tool,), "given": 5}
    return Dialogue(messages=(*given, *more), **(known | fields))


async def test_messages_before_the_first_task_count_as_the_users_own() -> None:
    simulated_user, llm = user()
    simulated_user.recall(foreign())
    simulated_user.start_task(TASK, 5)
    await simulated_user.speak(foreign().messages)
    assert llm.requests[0].messages[1].content == (
        "The conversation so far:\nYou: Hello, how big is it?\nThe assistant: It has 90 seats.\n\n"
        f"You now have a further goal in the same conversation: {TASK.goal}\n\n{YOU}"
    )
    assert isinstance(llm.requests[0].context, UserContext)
    assert not llm.requests[0].context.first_task
    question, answer = UserMessage(content="Is there a hall?"), AssistantMessage(content="There is.")
    simulated_user.hear(answer)
    await simulated_user.speak(())
    assert llm.requests[1].messages[3].content == f"The assistant says: There is.\n\n{YOU}"
    another, other_llm = user()
    another.recall(foreign(question, answer, tasks=(TASK,), task_starts=(5,), stop="open"))
    await another.speak(())
    assert other_llm.requests[0].messages == llm.requests[1].messages


async def test_a_task_that_has_just_started_is_recalled_with_its_goal() -> None:
    simulated_user, llm = user()
    simulated_user.recall(foreign(tasks=(TASK, FURTHER), task_starts=(5,), stop="open"))
    await simulated_user.speak(())
    assert llm.requests[0].messages[1].content.endswith(f"{TASK.goal}\n\n{YOU}")


def test_an_unknown_persona_in_the_dialogue_does_not_replace_the_drawn_one() -> None:
    settings = user_settings("mix")
    drawn = drawn_user(settings, "0")
    assert recalled_user(settings, drawn, Provenance(persona="a pirate", user_rules="none such")) == drawn
    pirate = recalled_user(settings, drawn, Provenance(persona="pirate: says arr; expertise: expert"))
    assert (pirate.persona, pirate.rules) == ("pirate: says arr; expertise: expert", drawn.rules)


def test_the_rules_and_the_language_of_an_earlier_run_are_recalled() -> None:
    settings = user_settings("mix")
    drawn = next(user for seed in "abcdefgh" if (user := drawn_user(settings, seed)).rule_set != "terse")
    recalled = recalled_user(settings, drawn, Provenance(user_rules="terse", language="de"))
    assert (recalled.rule_set, recalled.rules.disclosure) == ("terse", "on_request")
    assert recalled.language_name == "German"
    assert recalled.persona == drawn.persona
