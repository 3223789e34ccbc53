"""The user simulator: its prompts, what it never sees, which answers are usable, and what it remembers."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

from core.dialogue import Dialogue, Task
from core.messages import AssistantMessage, UserMessage
from core.settings import UserError, typed
from generation.dialogue.personas import UserSettings, drawn_user
from generation.dialogue.user import SimulatedUser
from generation.llm.base import Request, UnusableAnswerError
from generation.llm.meter import Meter
from tests.generation.helpers.pipeline_runs import CONF, SCENE, TASK, FinishedRun, ListedAnswers, user_settings

ASK = json.dumps({"user_message": "Is there a hall?", "is_task_complete": False})
LEAVE = json.dumps({"user_message": "Thanks!", "is_task_complete": True})
FIRST = "Write your first message: ask the assistant for something that you want."
YOU = "Write your next message as the customer."
FURTHER = TASK.model_copy(update={"task_id": "d/t1", "goal": "A further goal."})
PRESETS = sorted(path.stem for path in (CONF / "user").glob("*.yaml"))


def rules(preset: str = "incremental", **changes: Any) -> dict[str, Any]:
    return user_settings(preset).rules.model_dump() | changes


def user(*texts: str, **changes: Any) -> tuple[SimulatedUser, ListedAnswers]:
    llm = ListedAnswers(list(texts))
    settings = user_settings(**changes)
    return SimulatedUser(Meter(llm), drawn_user(settings, "0"), settings.attempts, SCENE, "d"), llm


async def prompt_of(**changes: Any) -> str:
    """The rules, as the prompt states them."""
    simulated_user, llm = user(ASK, rules=rules(**changes))
    simulated_user.start_task(TASK, 1)
    await simulated_user.speak(())
    return llm.requests[0].messages[0].content


async def test_its_conversation_is_append_only_with_each_goal_at_its_start() -> None:
    simulated_user, llm = user(ASK, LEAVE, ASK, ASK.replace("hall", "large hall"))
    simulated_user.start_task(TASK, 1)
    assert (await simulated_user.speak(())).user_message == "Is there a hall?"
    simulated_user.hear(AssistantMessage(content="There is one.", reasoning_content="secret thought"))
    assert (await simulated_user.speak(())).is_task_complete
    simulated_user.start_task(FURTHER, 5)
    await simulated_user.speak(())
    simulated_user.hear(AssistantMessage(content="That too."))
    await simulated_user.speak(())
    sent = [request.messages for request in llm.requests]
    assert [len(messages) for messages in sent] == [2, 4, 4, 6]
    for earlier, later in itertools.pairwise(sent):
        assert later[: len(earlier) - 1] == earlier[:-1]
        assert later[len(earlier) - 1].content.startswith(earlier[-1].content.removesuffix(YOU).removesuffix(FIRST))
    assert sent[0][1].content == f"(The conversation has not begun.)\n\nYour goal: {TASK.goal}\n\n{FIRST}"
    assert sent[1][3].content == f"The assistant says: There is one.\n\n{YOU}"
    assert sent[2][3].content == (
        "The assistant says: There is one.\n\nYou now have a further goal in the same conversation: A further goal."
        f"\n\n{YOU}"
    )
    assert sent[3][5].content == f"The assistant says: That too.\n\n{YOU}"
    assert json.loads(sent[3][4].content) == json.loads(ASK)
    assert "secret thought" not in str(sent)
    assert "Thanks!" not in str(sent), "a message that was not sent is not in the conversation"


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


async def test_without_a_limit_an_upfront_user_requests_everything_at_once() -> None:
    text = await prompt_of(disclosure="upfront", max_subtasks_per_turn=None)
    assert "ask for everything that you want in your first message" in text
    assert "at most" not in text
    assert "None" not in text


async def test_the_rules_come_before_the_persona_so_that_dialogues_share_a_prefix() -> None:
    texts = []
    for persona, expertise in (("terse: few words", "novice"), ("warm: kind", "expert")):
        simulated_user, llm = user(ASK, personas=[persona], expertise={expertise: 1})
        simulated_user.start_task(TASK, 1)
        await simulated_user.speak(())
        assert simulated_user.user.persona == f"{persona}; expertise: {expertise}"
        before, found, after = llm.requests[0].messages[0].content.partition(f"Who you are: {persona}.")
        assert found
        texts.append((before, after))
    assert texts[0][0] == texts[1][0]
    assert "everyday words" in texts[0][1]
    assert "need no explanations" in texts[1][1]


def test_persona_and_expertise_are_drawn_by_their_weights() -> None:
    settings = user_settings(personas=["a: x", "b: y"], expertise={"novice": 3, "expert": 1, "intermediate": 0})
    drawn = [drawn_user(settings, str(i)).persona for i in range(800)]
    assert {persona[0] for persona in drawn} == {"a", "b"}
    assert 540 < sum(persona.endswith("novice") for persona in drawn) < 660
    assert not any(persona.endswith("intermediate") for persona in drawn)
    assert drawn == [drawn_user(settings, str(i)).persona for i in range(800)]


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
def test_invalid_user_settings_are_refused_by_name(changes: dict[str, Any], why: str) -> None:
    shipped = user_settings().model_dump()
    changes = {key: shipped[key] | value if key == "rules" else value for key, value in changes.items()}
    with pytest.raises(UserError, match=why):
        typed(shipped | changes, UserSettings, "user")


def test_the_presets_match_their_names() -> None:
    assert PRESETS == ["adversarial", "incremental", "mix", "terse", "upfront"]
    known = {preset: user_settings(preset) for preset in PRESETS}
    assert known["incremental"].rules.max_subtasks_per_turn == 2
    assert known["incremental"].rules.disclosure == "incremental"
    assert known["upfront"].rules.max_subtasks_per_turn is None
    assert known["upfront"].rules.disclosure == "upfront"
    assert known["upfront"].expertise == {"expert": 1.0}
    assert known["terse"].rules.disclosure == "on_request"
    assert not known["terse"].rules.feedback
    assert [preset for preset in PRESETS if known[preset].rules.manner == "adversarial"] == ["adversarial"]


async def test_an_unreadable_answer_is_requested_again_with_the_complaint_and_forgotten() -> None:
    simulated_user, llm = user("Hm.", '{"user_message": " "}', f"<b>Sure</b> {ASK}", LEAVE, attempts=3)
    simulated_user.start_task(TASK, 1)
    assert (await simulated_user.speak(())).user_message == "Is there a hall?"
    simulated_user.hear(AssistantMessage(content="Yes."))
    await simulated_user.speak((UserMessage(content="Is there a hall?"),))
    assert [len(request.messages) for request in llm.requests] == [2, 4, 6, 4]
    assert len({request.key for request in llm.requests}) == 4
    first, second, third, fourth = (request.messages for request in llm.requests)
    assert second[:2] == third[:2] == first
    assert second[2].content == "Hm."
    assert second[3].content.startswith("This answer cannot be used: expected a JSON object")
    assert third[5].content.startswith("This answer cannot be used: user_message: ")
    assert fourth[:2] == first
    assert json.loads(fourth[2].content) == json.loads(ASK), "refused answers are forgotten"
    assert simulated_user.meter.flaws == {"user/malformed": 2}


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
    simulated_user, _ = user(answer, answer, attempts=2)
    simulated_user.start_task(TASK, 1)
    with pytest.raises(UnusableAnswerError, match=f"^user: nothing usable in 2 attempts: .*{why}"):
        await simulated_user.speak(())


async def test_reasoning_next_to_the_message_is_ignored() -> None:
    answer = {"reasoning": "I want a hall", "user_message": " Is there a hall? ", "is_task_complete": False}
    simulated_user, llm = user(json.dumps(answer), LEAVE)
    simulated_user.start_task(TASK, 1)
    assert (await simulated_user.speak(())).user_message == "Is there a hall?"
    simulated_user.hear(AssistantMessage(content="Yes."))
    await simulated_user.speak(())
    assert "I want a hall" not in str(llm.requests[1].messages)


# In generated dialogues.


def requests_of(dialogue: Dialogue, played: FinishedRun) -> list[Request]:
    return [request for request, _ in played.log if request.role == "user" and request.affinity == dialogue.dialogue_id]


def test_the_user_never_sees_tools_results_or_reasoning(executed: FinishedRun) -> None:
    for dialogue in executed.accepted:
        requests = requests_of(dialogue, executed)
        heard = "\n".join(message.content for message in requests[-1].messages)
        assert all(not request.tools for request in requests)
        assert not [tool.name for tool in dialogue.tools if tool.name in heard]
        for message in dialogue.messages:
            if isinstance(message, AssistantMessage) and message.reasoning_content:
                assert message.reasoning_content not in heard
            if message.role == "tool" and len(message.content) > 2:
                assert message.content not in heard


def subgoals_per_message(dialogue: Dialogue, task: Task, number: int) -> list[int]:
    """Number of subgoals in each of the user's messages."""
    return [
        sum(goal.casefold() in message.content.casefold() for goal in task.subgoals)
        for message in dialogue.part(number)
        if isinstance(message, UserMessage)
    ]


def test_the_user_requests_at_most_two_subtasks_per_message(executed: FinishedRun) -> None:
    counts = [
        count
        for dialogue in executed.accepted
        for number, task in enumerate(dialogue.tasks)
        for count in subgoals_per_message(dialogue, task, number)
    ]
    assert max(counts) == 2
    assert counts.count(1) > counts.count(2) > 0
