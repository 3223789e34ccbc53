"""The user simulator: what it is told, what it hides, and which answers count."""

from __future__ import annotations

import itertools
import json
from random import Random

import pytest
from rollouts import TASK, Played, Sayer, user_settings

from core.messages import AssistantMessage, UserMessage
from generation.llm.base import UnusableAnswerError
from generation.user import SimulatedUser

ASK = json.dumps({"user_message": "Is there a hall?", "is_task_complete": False})
LEAVE = json.dumps({"user_message": "Thanks!", "is_task_complete": True})


def user(*texts: str, **changes: object) -> tuple[SimulatedUser, Sayer]:
    llm = Sayer(list(texts))
    return SimulatedUser(llm, user_settings(**changes), "d", Random(0)), llm


async def test_its_conversation_is_append_only_with_the_goal_where_it_begins() -> None:
    someone, llm = user(ASK, LEAVE, ASK)
    someone.begin(TASK, 1)
    assert (await someone.speak(())).user_message == "Is there a hall?"
    someone.hear(AssistantMessage(content="There is one.", reasoning_content="secret thought"))
    assert (await someone.speak(())).is_task_complete
    someone.begin(TASK.model_copy(update={"goal": "A further goal."}), 5)
    await someone.speak(())
    sent = [request.messages for request in llm.requests]
    assert [len(messages) for messages in sent] == [2, 4, 6]
    for earlier, later in itertools.pairwise(sent):
        assert later[: len(earlier)] == earlier
    assert TASK.goal in sent[0][1].content
    assert "has not begun" in sent[0][1].content
    assert sent[1][3].content == "The assistant says: There is one."
    assert "further goal in the same conversation: A further goal." in sent[2][5].content
    assert "secret thought" not in str(sent)


async def test_it_keeps_persona_and_rules() -> None:
    someone, llm = user(ASK, max_subtasks_per_turn=1, personas=["terse: few words"])
    someone.begin(TASK, 1)
    await someone.speak(())
    rules = llm.requests[0].messages[0].content
    assert "terse: few words" in rules
    assert "ask for at most 1 of them" in rules


async def test_an_unreadable_answer_is_asked_for_again_and_forgotten() -> None:
    someone, llm = user("Hm.", '{"user_message": ""}', f"<b>Sure</b> {ASK}", LEAVE)
    someone.begin(TASK, 1)
    await someone.speak(())
    someone.hear(AssistantMessage(content="Yes."))
    await someone.speak((UserMessage(content="Is there a hall?"),))
    assert [len(request.messages) for request in llm.requests] == [2, 2, 2, 4]
    assert len({request.key for request in llm.requests}) == 4


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ("Hello!", "expected a JSON object"),
        ('{"user_message": "", "is_task_complete": false}', "user_message: "),
        ('{"user_message": "Hi"}', "is_task_complete: "),
        ('{"user_message": "Hi", "is_task_complete": false, "mood": 1}', "mood: "),
    ],
)
async def test_after_all_attempts_it_is_to_blame(answer: str, why: str) -> None:
    someone, _ = user(answer, answer, attempts=2)
    someone.begin(TASK, 1)
    with pytest.raises(UnusableAnswerError, match=f"^user: no readable user message in 2 attempts: .*{why}"):
        await someone.speak(())


def test_in_real_dialogues_the_user_never_sees_tools_results_or_thoughts(executed: Played) -> None:
    for dialogue in executed.accepted:
        mine = [r for r, _ in executed.log if r.role == "user" and r.affinity == dialogue.dialogue_id]
        heard = "\n".join(message.content for message in mine[-1].messages)
        assert all(not request.tools for request in mine)
        assert not [tool.name for tool in dialogue.tools if tool.name in heard]
        for message in dialogue.messages:
            if isinstance(message, AssistantMessage) and message.reasoning_content:
                assert message.reasoning_content not in heard
            if message.role == "tool" and len(message.content) > 2:
                assert message.content not in heard


def test_in_real_dialogues_it_asks_for_at_most_two_subtasks_at_a_time(executed: Played) -> None:
    asked = []
    for dialogue in executed.accepted:
        ends = [*dialogue.task_starts[1:], len(dialogue.messages)]
        for task, start, end in zip(dialogue.tasks, dialogue.task_starts, ends, strict=True):
            for message in dialogue.messages[start:end]:
                if isinstance(message, UserMessage):
                    asked.append(sum(goal.casefold() in message.content.casefold() for goal in task.subgoals))
    assert max(asked) == 2
    assert asked.count(1) > asked.count(2) > 0
