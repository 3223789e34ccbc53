"""Turns that a simulated user is not allowed: nothing asked for, an assistant's words, repetitions.

Answers marked "recorded" are quoted from Qwen2.5-Coder-0.5B-Instruct.
"""

from __future__ import annotations

import json

import pytest
from jsonschema import ValidationError, validate

from core.messages import AssistantMessage
from generation.dialogue.personas import drawn_user
from generation.dialogue.user import SimulatedUser
from generation.dialogue.user_checks import assistant_phrase
from generation.llm.base import UnusableAnswerError
from generation.llm.meter import Meter
from tests.generation.helpers.pipeline_runs import SCENE, TASK, ListedAnswers, user_settings

FURTHER = TASK.model_copy(update={"task_id": "d/t1", "goal": "A further goal."})
ASSISTANT = (
    "What would you like to know about the years experience of Dr. James Reed?"  # recorded, eleven times in a row
)
REQUEST = "Please tell me how many years of experience Dr. James Reed has."


def says(message: str, complete: bool = False) -> str:
    return json.dumps({"user_message": message, "is_task_complete": complete})


def user(*texts: str, attempts: int = 3) -> tuple[SimulatedUser, ListedAnswers]:
    llm = ListedAnswers(list(texts))
    simulated_user = SimulatedUser(Meter(llm), drawn_user(user_settings(), "0"), attempts, SCENE, "d")
    simulated_user.start_task(TASK, 1)
    return simulated_user, llm


async def converse(simulated_user: SimulatedUser, *heard: str) -> list[str]:
    """The user's messages: the first one, and its reply to each of the assistant's."""
    spoken = [(await simulated_user.speak(())).user_message]
    for text in heard:
        simulated_user.hear(AssistantMessage(content=text))
        spoken.append((await simulated_user.speak(())).user_message)
    return spoken


async def test_in_the_first_turn_of_a_task_nothing_can_be_complete() -> None:
    simulated_user, llm = user(says("Hi"), says("Thanks!", True), says("And a hall?"), says("Bye.", True))
    await converse(simulated_user, "Hello.")
    simulated_user.start_task(FURTHER, 4)
    await converse(simulated_user, "There is one.")
    may_end = []
    for request in llm.requests:
        validate({"user_message": "Hi", "is_task_complete": False}, request.json_schema or {})
        try:
            validate({"user_message": "Hi", "is_task_complete": True}, request.json_schema or {})
            may_end.append(True)
        except ValidationError:
            may_end.append(False)
    assert may_end == [False, True, False, True]


async def test_a_task_that_is_complete_before_anything_was_asked_for_is_asked_again() -> None:
    recorded = says("How many loans and total fine amount of book number 1 do you have?", True)
    simulated_user, llm = user(recorded, says(REQUEST))
    assert await converse(simulated_user) == [REQUEST]
    assert "you have not asked for anything yet" in llm.requests[1].messages[-1].content
    assert simulated_user.meter.flaws == {"user/refused": 1}
    simulated_user, _ = user(recorded, recorded)
    with pytest.raises(UnusableAnswerError, match=r"^user: declared the task complete before asking for anything$"):
        await converse(simulated_user)


async def test_a_user_who_plays_the_assistant_is_asked_again_then_stopped() -> None:
    simulated_user, llm = user(says(ASSISTANT), says(REQUEST))
    assert await converse(simulated_user) == [REQUEST]
    assert '"What would you like to know" is what the assistant says' in llm.requests[1].messages[-1].content
    simulated_user, llm = user(says(ASSISTANT), says(ASSISTANT))
    with pytest.raises(UnusableAnswerError, match=r"^user: plays the assistant$"):
        await converse(simulated_user)
    assert len(llm.requests) == 2, "the same answer twice ends the attempts"


@pytest.mark.parametrize(
    "message",
    [
        ASSISTANT,
        "How can I help you today?",
        "Hello! How may I assist you with your booking?",
        "Sure! I can help you with that.",
        "Of course, I’d be happy to help.",
        "Thank you. Is there anything else I can help you with?",
        "I am here to assist. What is your name?",
        "As an AI assistant, I need your name.",
        "Hi there! What can I do for you?",
        "The assistant found that the plan id is 4.",
        "I'm sorry, I can't assist with that.",  # recorded
        "I can assist with finding out the email of the doctor Dr. Carlos Cook.",  # recorded
    ],
)
def test_words_of_an_assistant_are_recognised(message: str) -> None:
    assert assistant_phrase(message)


async def test_a_user_who_echoes_the_assistant_is_asked_again_with_his_goal() -> None:
    """Recorded: "I am here to help. What can I do for you?" as the user's own message."""
    heard = "Which doctor do you mean?"
    simulated_user, llm = user(says(REQUEST), says(f"{heard[:-1]}"), says("Dr. James Reed."))
    assert (await converse(simulated_user, heard))[-1] == "Dr. James Reed."
    assert f"this is your goal: {TASK.goal}" in llm.requests[2].messages[-1].content


@pytest.mark.parametrize(
    "message",
    [
        REQUEST,
        "How can you help me with the booking?",
        "Can you help me? I would be happy to come on Friday.",
        "I was told that you can help me change my name.",
        "What would I have to pay, and how can I cancel?",
        "Is there anything else that you need from me?",
        "I can help myself, thanks. I'd like to know the price.",
        "My sister said: they will assist you. Will you?",
        "I would be glad to hear what it costs.",
        "I am here to help my mother with her booking.",
        "I'm sorry, I can't find the number.",
        "What is the current years experience of Dr. James Reed?",  # recorded
    ],
)
def test_words_of_a_customer_are_not(message: str) -> None:
    assert assistant_phrase(message) is None


SORRY = "I'm sorry, but the library service's conflicting with this request is not due to local conflicts."  # recorded


def test_a_long_sentence_of_the_assistant_is_not_a_users_own() -> None:
    heard = f"{SORRY} Your tool is providing a convenient solution. Shall I book HAT123 from Oslo to Rome on Friday?"
    assert assistant_phrase(f"{SORRY} Should there be any updates?", heard) == SORRY
    assert assistant_phrase("Yes. Book HAT123 from Oslo to Rome on Friday, please.", heard) is None
    assert assistant_phrase(SORRY, "I found three of them.") is None
    assert assistant_phrase("Thank you", "Thank you!") is None
    details = "add a new book for author 22 with title Emma, genre History and price 19.38."
    assert assistant_phrase(f"Let me repeat: {details}", f"I am sorry, I could not {details}") is None


async def test_a_user_who_recites_its_instructions_is_asked_again() -> None:
    """Recorded: a small model's first message was the first rule of its prompt."""
    recital = "Open by asking for help naturally, in your own words; never recite the goal."
    simulated_user, llm = user(says(recital), says(REQUEST))
    assert await converse(simulated_user) == [REQUEST]
    assert "a sentence of your instructions" in llm.requests[1].messages[-1].content


async def test_a_user_who_recites_a_complaint_or_the_announcement_of_a_goal_is_asked_again() -> None:
    """Recorded, both; the second one went on with an invented goal."""
    complaint = "You have said this already; answer what the assistant said last, or ask for what you still need."
    simulated_user, llm = user(says(REQUEST), says(REQUEST), says(complaint), says("He is a doctor."))
    assert (await converse(simulated_user, "Who is that?"))[-1] == "He is a doctor."
    assert "a sentence of your instructions" in llm.requests[3].messages[-1].content
    announced = "You now have a further goal in the same conversation: The user wants to add a room."
    simulated_user, _ = user(says("Hi."), says(announced), says("And a hall?"))
    await converse(simulated_user)
    simulated_user.start_task(FURTHER, 2)
    assert (await simulated_user.speak(())).user_message == "And a hall?"


async def test_a_goal_that_a_complaint_repeated_may_be_said() -> None:
    simulated_user, llm = user(says(ASSISTANT), says(TASK.goal))
    assert await converse(simulated_user) == [TASK.goal]
    assert TASK.goal in llm.requests[1].messages[-1].content


@pytest.mark.parametrize("again", [REQUEST, f"  {REQUEST.upper()}", REQUEST.replace(".", " …")])
async def test_a_message_said_before_in_this_task_is_asked_again(again: str) -> None:
    other = "I mean Dr. James Reed of the clinic."
    simulated_user, llm = user(says(REQUEST), says("Yes."), says(again), says(other))
    assert (await converse(simulated_user, "Do you mean James?", "Which one?"))[-1] == other
    assert "you have said this already" in llm.requests[3].messages[-1].content
    assert len(llm.requests[3].messages) == len(llm.requests[2].messages) + 2


async def test_a_user_who_insists_on_repeating_himself_is_stopped() -> None:
    """Recorded: the same message to "I am here to help. …" and to "Once more: I am here to help. …"."""
    message = "I want to know the years experience of Dr. James Reed."
    simulated_user, _ = user(*[says(message)] * 5)
    with pytest.raises(UnusableAnswerError, match=r"^user: repeats itself$"):
        await converse(simulated_user, "I am here to help. What can I do for you?")


async def test_the_assistant_is_to_blame_for_a_loop_that_it_began() -> None:
    simulated_user, _ = user(says(REQUEST), says("Yes, I confirm."), says("Yes, I confirm!"), says("Yes, I confirm!"))
    with pytest.raises(UnusableAnswerError, match=r"^agent: repeats itself$"):
        await converse(simulated_user, "Do you confirm?", "Do you confirm?")


async def test_a_short_answer_to_another_question_and_a_goodbye_may_be_repeated() -> None:
    yes, thanks = "Yes, please do that.", "Thank you very much for all your help today."
    simulated_user, _ = user(
        says(REQUEST), says(yes), says(yes), says("No."), says(yes), says(thanks), says(thanks, True)
    )
    heard = ("Delete hold 5?", "Delete hold 6?", "Hold 7 too?", "Delete hold 5?", "Done.", "You are welcome.")
    assert (await converse(simulated_user, *heard))[1:] == [yes, yes, "No.", yes, thanks, thanks]


async def test_what_was_said_in_an_earlier_task_may_be_said_again() -> None:
    simulated_user, _ = user(says(REQUEST), says("Thanks!", True), says(REQUEST))
    await converse(simulated_user, "Seven.")
    simulated_user.start_task(FURTHER, 4)
    assert await converse(simulated_user) == [REQUEST]
