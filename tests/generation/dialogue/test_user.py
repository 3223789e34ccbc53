"""The user simulator: what it is told, what it hides, which answers count, and what it remembers of a dialogue."""

from __future__ import annotations

import itertools
import json
from random import Random
from typing import Any

import pytest

from core.dialogue import Dialogue, Task
from core.messages import AssistantMessage, UserMessage
from core.settings import UserError, typed
from generation.dialogue.user import SimulatedUser, UserSettings
from generation.llm.base import Request, UnusableAnswerError
from generation.llm.meter import Meter
from tests.generation.helpers.pipeline_runs import CONF, TASK, Played, Sayer, user_settings

ASK = json.dumps({"user_message": "Is there a hall?", "is_task_complete": False})
LEAVE = json.dumps({"user_message": "Thanks!", "is_task_complete": True})
FURTHER = TASK.model_copy(update={"task_id": "d/t1", "goal": "A further goal."})
PRESETS = sorted(path.stem for path in (CONF / "user").glob("*.yaml"))


def rules(preset: str = "incremental", **changes: Any) -> dict[str, Any]:
    return user_settings(preset).rules.model_dump() | changes


def user(*texts: str, **changes: Any) -> tuple[SimulatedUser, Sayer]:
    llm = Sayer(list(texts))
    return SimulatedUser(Meter(llm), user_settings(**changes), "d", Random(0)), llm


async def prompt_of(**changes: Any) -> str:
    """The rules as the model reads them."""
    someone, llm = user(ASK, rules=rules(**changes))
    someone.start_task(TASK, 1)
    await someone.speak(())
    return llm.requests[0].messages[0].content


async def test_its_conversation_is_append_only_with_the_goal_where_it_begins() -> None:
    someone, llm = user(ASK, LEAVE, ASK, ASK)
    someone.start_task(TASK, 1)
    assert (await someone.speak(())).user_message == "Is there a hall?"
    someone.hear(AssistantMessage(content="There is one.", reasoning_content="secret thought"))
    assert (await someone.speak(())).is_task_complete
    someone.start_task(FURTHER, 5)
    await someone.speak(())
    someone.hear(AssistantMessage(content="That too."))
    await someone.speak(())
    sent = [request.messages for request in llm.requests]
    assert [len(messages) for messages in sent] == [2, 4, 4, 6]
    for earlier, later in itertools.pairwise(sent):
        assert later[: len(earlier) - 1] == earlier[:-1]
        assert later[len(earlier) - 1].content.startswith(earlier[-1].content)
    assert sent[0][1].content == f"(The conversation has not begun.)\n\nYour goal: {TASK.goal}"
    assert sent[1][3].content == "The assistant says: There is one."
    assert sent[2][3].content == (
        "The assistant says: There is one.\n\nYou now have a further goal in the same conversation: A further goal."
    )
    assert sent[3][5].content == "The assistant says: That too."
    assert json.loads(sent[3][4].content) == json.loads(ASK)
    assert "secret thought" not in str(sent)
    assert "Thanks!" not in str(sent), "what it did not say aloud is not in the conversation"


@pytest.mark.parametrize(
    ("rule", "value", "other", "sentence"),
    [
        ("max_subtasks_per_turn", 1, None, "ask for at most 1 of them in one message"),
        ("max_subtasks_per_turn", 2, 1, "ask for at most 2 of them in one message"),
        ("disclosure", "incremental", "upfront", "Give the details bit by bit"),
        ("disclosure", "on_request", "incremental", "until the assistant asks for them"),
        ("disclosure", "upfront", "incremental", "Hold nothing back: give every detail of what you ask for at once"),
        ("feedback", True, False, "Give feedback"),
        ("clarification", True, False, "Clarify:"),
        ("confirmation", True, False, "have the assistant confirm what it will do"),
        ("patience", 4, 3, "when 4 answers in a row have brought you no further"),
        ("patience", 1, 2, "when 1 answer has brought you no further"),
        ("manner", "adversarial", "cooperative", "You are hard to please"),
        ("manner", "cooperative", "adversarial", "concise, polite"),
    ],
)
async def test_each_rule_is_a_sentence_of_the_prompt(rule: str, value: Any, other: Any, sentence: str) -> None:
    assert sentence in await prompt_of(**{rule: value})
    assert sentence not in await prompt_of(**{rule: other})


async def test_without_a_limit_an_upfront_user_is_told_to_ask_for_everything() -> None:
    text = await prompt_of(disclosure="upfront", max_subtasks_per_turn=None)
    assert "ask for everything that you want in your first message" in text
    assert "at most" not in text
    assert "None" not in text


async def test_the_rules_come_before_the_persona_so_that_dialogues_share_a_prefix() -> None:
    texts = []
    for persona, expertise in (("terse: few words", "novice"), ("warm: kind", "expert")):
        someone, llm = user(ASK, personas=[persona], expertise={expertise: 1})
        someone.start_task(TASK, 1)
        await someone.speak(())
        assert someone.persona == f"{persona}; expertise: {expertise}"
        before, found, after = llm.requests[0].messages[0].content.partition(f"Who you are: {persona}.")
        assert found
        texts.append((before, after))
    assert texts[0][0] == texts[1][0]
    assert "everyday words" in texts[0][1]
    assert "need no explanations" in texts[1][1]


def test_persona_and_expertise_are_drawn_by_their_weights() -> None:
    settings = user_settings(personas=["a: x", "b: y"], expertise={"novice": 3, "expert": 1, "intermediate": 0})
    drawn = [SimulatedUser(Meter(Sayer([])), settings, "d", Random(i)).persona for i in range(800)]
    assert {persona[0] for persona in drawn} == {"a", "b"}
    assert 540 < sum(persona.endswith("novice") for persona in drawn) < 660
    assert not any(persona.endswith("intermediate") for persona in drawn)
    assert drawn == [SimulatedUser(Meter(Sayer([])), settings, "d", Random(i)).persona for i in range(800)]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"expertise": {"novice": 0.0}}, "'user': Value error, expertise needs a weight above 0"),
        ({"expertise": {}}, "expertise needs a weight above 0 for one of novice, intermediate, expert"),
        ({"expertise": {"wizard": 1.0}}, "user.expertise.wizard"),
        ({"expertise": {"novice": -1.0}}, "user.expertise.novice"),
        ({"personas": []}, "user.personas"),
        ({"rules": {"max_subtasks_per_turn": 0}}, "user.rules.max_subtasks_per_turn"),
        ({"max_subtasks_per_turn": 2}, "unknown config key 'user.max_subtasks_per_turn'"),
    ],
)
def test_settings_that_make_no_user_are_refused_by_name(changes: dict[str, Any], why: str) -> None:
    shipped = user_settings().model_dump()
    changes = {key: shipped[key] | value if key == "rules" else value for key, value in changes.items()}
    with pytest.raises(UserError, match=why):
        typed(shipped | changes, UserSettings, "user")


def test_the_presets_are_what_their_names_say() -> None:
    assert PRESETS == ["adversarial", "incremental", "terse", "upfront"]
    known = {preset: user_settings(preset) for preset in PRESETS}
    assert known["incremental"].rules.max_subtasks_per_turn == 2
    assert known["incremental"].rules.disclosure == "incremental"
    assert known["upfront"].rules.max_subtasks_per_turn is None
    assert known["upfront"].rules.disclosure == "upfront"
    assert known["upfront"].expertise == {"expert": 1.0}
    assert known["terse"].rules.disclosure == "on_request"
    assert not known["terse"].rules.feedback
    assert [preset for preset in PRESETS if known[preset].rules.manner == "adversarial"] == ["adversarial"]


async def test_an_unreadable_answer_is_asked_for_again_with_the_complaint_and_forgotten() -> None:
    someone, llm = user("Hm.", '{"user_message": " "}', f"<b>Sure</b> {ASK}", LEAVE, attempts=3)
    someone.start_task(TASK, 1)
    assert (await someone.speak(())).user_message == "Is there a hall?"
    someone.hear(AssistantMessage(content="Yes."))
    await someone.speak((UserMessage(content="Is there a hall?"),))
    assert [len(request.messages) for request in llm.requests] == [2, 2, 2, 4]
    assert len({request.key for request in llm.requests}) == 4
    first, second, third, _ = (request.messages[-1].content for request in llm.requests)
    assert second.startswith(f"{first}\n\n(Your last answer could not be used: expected a JSON object")
    assert "user_message" in third.partition("could not be used:")[2]
    assert llm.requests[3].messages[1].content == first
    assert someone.meter.flaws == {"user/malformed": 2}


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ("Hello!", "expected a JSON object"),
        ('{"user_message": "", "is_task_complete": false}', "user_message: "),
        ('{"user_message": " \\n", "is_task_complete": false}', "user_message: "),
        ('{"user_message": "Hi"}', "is_task_complete: "),
    ],
)
async def test_after_all_attempts_it_is_to_blame(answer: str, why: str) -> None:
    someone, _ = user(answer, answer, attempts=2)
    someone.start_task(TASK, 1)
    with pytest.raises(UnusableAnswerError, match=f"^user: nothing usable in 2 attempts: .*{why}"):
        await someone.speak(())


async def test_reasoning_beside_the_message_is_ignored() -> None:
    answer = {"reasoning": "I want a hall", "user_message": " Is there a hall? ", "is_task_complete": False}
    someone, llm = user(json.dumps(answer), LEAVE)
    someone.start_task(TASK, 1)
    assert (await someone.speak(())).user_message == "Is there a hall?"
    someone.hear(AssistantMessage(content="Yes."))
    await someone.speak(())
    assert "I want a hall" not in str(llm.requests[1].messages)


# In real dialogues.


def requests_of(dialogue: Dialogue, played: Played) -> list[Request]:
    return [request for request, _ in played.log if request.role == "user" and request.affinity == dialogue.dialogue_id]


def test_in_real_dialogues_the_user_never_sees_tools_results_or_thoughts(executed: Played) -> None:
    for dialogue in executed.accepted:
        mine = requests_of(dialogue, executed)
        heard = "\n".join(message.content for message in mine[-1].messages)
        assert all(not request.tools for request in mine)
        assert not [tool.name for tool in dialogue.tools if tool.name in heard]
        for message in dialogue.messages:
            if isinstance(message, AssistantMessage) and message.reasoning_content:
                assert message.reasoning_content not in heard
            if message.role == "tool" and len(message.content) > 2:
                assert message.content not in heard


def asked_at_once(dialogue: Dialogue, task: Task, number: int) -> list[int]:
    """How many subgoals stand in each of the user's messages."""
    return [
        sum(goal.casefold() in message.content.casefold() for goal in task.subgoals)
        for message in dialogue.part(number)
        if isinstance(message, UserMessage)
    ]


def test_in_real_dialogues_it_asks_for_at_most_two_subtasks_at_a_time(executed: Played) -> None:
    asked = [
        count
        for dialogue in executed.accepted
        for number, task in enumerate(dialogue.tasks)
        for count in asked_at_once(dialogue, task, number)
    ]
    assert max(asked) == 2
    assert asked.count(1) > asked.count(2) > 0
