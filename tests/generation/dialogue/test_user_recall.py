"""What the user simulator remembers of a dialogue that is taken up again: all that it would know had it played it."""

from __future__ import annotations

import json
from random import Random
from typing import Any

from core.dialogue import Dialogue
from core.messages import AssistantMessage, Message, SystemMessage, ToolCall, ToolMessage, ToolSpec, UserMessage
from generation.dialogue.user import SimulatedUser
from generation.llm.base import Request
from generation.llm.contexts import UserContext
from generation.llm.meter import Meter
from tests.generation.helpers.pipeline_runs import TASK, Played, Sayer, user_settings

ASK = json.dumps({"user_message": "Is there a hall?", "is_task_complete": False})
FURTHER = TASK.model_copy(update={"task_id": "d/t1", "goal": "A further goal."})


def user() -> tuple[SimulatedUser, Sayer]:
    llm = Sayer([ASK, ASK])
    return SimulatedUser(Meter(llm), user_settings(), "d", Random(0)), llm


def before(request: Request, dialogue: Dialogue) -> Dialogue:
    """The dialogue as it stood when the request was made: in the middle of the task that the request is about."""
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


def newcomer(dialogue: Dialogue, played: Played) -> tuple[SimulatedUser, Sayer]:
    """Another user with the same settings, who has drawn whatever persona and taken part in nothing."""
    llm = Sayer([ASK])
    return SimulatedUser(
        Meter(llm), played.pipeline.settings.user, dialogue.dialogue_id, Random(f"x{dialogue.dialogue_id}")
    ), llm


def requests_of(dialogue: Dialogue, played: Played) -> list[Request]:
    return [request for request, _ in played.log if request.role == "user" and request.affinity == dialogue.dialogue_id]


async def test_to_recall_a_dialogue_is_to_have_played_it(executed: Played) -> None:
    """At whatever point it is taken up, the next request is the one that the user who played it made."""
    compared = differed = 0
    for dialogue in executed.accepted:
        for request in requests_of(dialogue, executed):
            someone, llm = newcomer(dialogue, executed)
            differed += someone.persona != dialogue.provenance.persona
            someone.recall(before(request, dialogue))
            await someone.speak(request.context.transcript)  # type: ignore[union-attr]
            assert llm.requests == [request]
            compared += 1
    assert compared > 100
    assert differed > 50


async def test_after_recalling_it_can_hear_too(executed: Played) -> None:
    """Taken up where the agent is to act: with the agent's answer it makes the request that was made."""
    compared = 0
    for dialogue in executed.accepted:
        for request in requests_of(dialogue, executed):
            stand = before(request, dialogue)
            if len(stand.messages) == stand.task_starts[-1]:
                continue
            answer = stand.messages[-1]
            assert isinstance(answer, AssistantMessage)
            asked = max(i for i, message in enumerate(stand.messages) if isinstance(message, UserMessage))
            someone, llm = newcomer(dialogue, executed)
            someone.recall(stand.model_copy(update={"messages": stand.messages[: asked + 1]}))
            someone.hear(answer)
            await someone.speak(stand.messages)
            assert llm.requests == [request]
            compared += 1
    assert compared > 50


async def test_a_finished_dialogue_goes_on_with_a_further_task_as_if_it_had_not_been_over(executed: Played) -> None:
    several = [dialogue for dialogue in executed.accepted if len(dialogue.tasks) > 1]
    assert len(several) > 5
    for dialogue in several:
        start = dialogue.task_starts[1]
        request = next(r for r in requests_of(dialogue, executed) if r.context.task_start == start)  # type: ignore[union-attr]
        closing = UserMessage(content="Thanks, bye.")
        over = {
            "messages": (*dialogue.messages[:start], closing),
            "tasks": dialogue.tasks[:1],
            "task_starts": dialogue.task_starts[:1],
        }
        someone, llm = newcomer(dialogue, executed)
        someone.recall(dialogue.model_copy(update=over))
        someone.start_task(dialogue.tasks[1], start)
        await someone.speak(request.context.transcript)  # type: ignore[union-attr]
        assert llm.requests == [request]


def foreign(*more: Message, **fields: Any) -> Dialogue:
    """A conversation that others had about halls, with a call in it; `more` was said afterwards."""
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


async def test_a_conversation_before_its_first_task_is_one_that_it_has_had() -> None:
    someone, llm = user()
    someone.recall(foreign())
    someone.start_task(TASK, 5)
    await someone.speak(foreign().messages)
    assert llm.requests[0].messages[1].content == (
        "The conversation so far:\nYou: Hello, how big is it?\nThe assistant: It has 90 seats.\n\n"
        f"You now have a further goal in the same conversation: {TASK.goal}"
    )
    assert isinstance(llm.requests[0].context, UserContext)
    assert not llm.requests[0].context.first_task
    asked, answered = UserMessage(content="Is there a hall?"), AssistantMessage(content="There is.")
    someone.hear(answered)
    await someone.speak(())
    assert llm.requests[1].messages[3].content == "The assistant says: There is."
    another, other_llm = user()
    another.recall(foreign(asked, answered, tasks=(TASK,), task_starts=(5,), stop="open"))
    await another.speak(())
    assert other_llm.requests[0].messages == llm.requests[1].messages


async def test_a_task_that_has_just_begun_is_recalled_with_its_goal() -> None:
    someone, llm = user()
    someone.recall(foreign(tasks=(TASK, FURTHER), task_starts=(5,), stop="open"))
    await someone.speak(())
    assert llm.requests[0].messages[1].content.endswith(TASK.goal)


def test_without_a_persona_of_ours_a_recalled_dialogue_keeps_the_one_drawn() -> None:
    someone, _ = user()
    drawn = someone.persona
    someone.recall(foreign(provenance={"persona": "a pirate"}))
    assert someone.persona == drawn
    someone.recall(foreign(provenance={"persona": "pirate: says arr; expertise: expert"}))
    assert someone.persona == "pirate: says arr; expertise: expert"
