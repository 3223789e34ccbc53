"""The stand-in's user where execution tells it what is done: no wording of the assistant changes that."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import pytest

from core.messages import AssistantMessage, Message, SystemMessage, UserMessage
from generation.llm.contexts import Achieved, UserContext, UserRules
from generation.scripted.user import answer
from generation.scripted.user_phrases import CLOSING, DECLINING, GIVE_UP
from tests.generation.helpers.pipeline_runs import task_of, user_settings
from tests.generation.utterances.test_answers import CONFIRMATIONS, FAILURES, OFFERS, QUESTIONS, SUCCESSES

ADD, FIND = "add a new loan with book id 3", "find out the city of member number 8"
OPEN, DONE = Achieved(in_state=False, told=True), Achieved(in_state=True, told=True)
UNTOLD, TOLD = Achieved(in_state=None, told=False), Achieved(in_state=None, told=True)
ODD_QUESTIONS = (
    "A word from you would be nice.",
    "Got it — and the quantity",
    "Hmm, two members come to mind.",
    "Let me look into that for you.",
    "I would rather have your blessing first.",
    "Over to you.",
    "This one or the other one.",
    "Noted. The exact entry, for my records…",
    "Your word is enough for me.",
    "Let me repeat: book 3, a new loan.",
)
"""No rule knows these."""


def rules(**changes: Any) -> UserRules:
    shipped = user_settings("incremental").rules.model_dump()
    return UserRules.model_validate(shipped | {"max_subtasks_per_turn": 1, "disclosure": "upfront"} | changes)


def reply(
    said: Sequence[str],
    achieved: Sequence[Achieved],
    goals: tuple[str, ...] = (ADD,),
    patience: int = 1,
    seed: int = 0,
    **more: Any,
) -> tuple[str, bool]:
    """The user's next message after user and assistant have alternated, and whether the user leaves."""
    messages: list[Message] = [SystemMessage(content="You serve.")]
    messages += [(AssistantMessage if i % 2 else UserMessage)(content=text) for i, text in enumerate(said)]
    context = UserContext(
        task_of("g", goals), "terse", rules(patience=patience, **more), tuple(messages), 1, True, tuple(achieved)
    )
    turn = json.loads(answer(context, Random(seed)))
    return turn["user_message"], turn["is_task_complete"]


@pytest.mark.parametrize("words", [*SUCCESSES, *FAILURES, *OFFERS, *QUESTIONS, *ODD_QUESTIONS, "12; Oslo", "Done"])
def test_what_is_done_is_done_in_any_words(words: str) -> None:
    """Also if the words sound like a failure: the user leaves, or goes on with the next request."""
    text, leaves = reply([f"Please {ADD}.", words], [DONE])
    assert leaves
    assert text in (*CLOSING, *DECLINING)
    assert (text in DECLINING) >= ("?" in words), "a question gets a no"
    text, leaves = reply([f"Please {ADD}.", words], [DONE, UNTOLD], goals=(ADD, FIND))
    assert not leaves
    assert FIND in text
    assert text.startswith("No, thank you.") is (words in QUESTIONS)


@pytest.mark.parametrize("words", [*CONFIRMATIONS, *QUESTIONS, *ODD_QUESTIONS])
def test_any_question_about_what_is_not_done_is_answered_with_all_details(words: str) -> None:
    for seed in range(3):
        text, leaves = reply([f"Please {ADD}.", words], [OPEN], seed=seed)
        assert not leaves
        assert ADD in text.lower()
        assert text.startswith("Yes") is (words in CONFIRMATIONS)


def test_questions_cost_no_patience() -> None:
    said = [f"Please {ADD}."]
    for words in (*CONFIRMATIONS, *QUESTIONS, *ODD_QUESTIONS[:4]):
        said.append(words)
        text, leaves = reply(said, [OPEN])
        assert not leaves, words
        said.append(text)


@pytest.mark.parametrize("words", [*FAILURES, "Done!", "The loan has been added.", "It is all done. Anything else?"])
def test_failures_and_false_claims_cost_patience(words: str) -> None:
    said, texts = [f"Please {ADD}."], []
    for turn in range(3):
        said.append(words)
        text, leaves = reply(said, [OPEN], patience=3)
        assert leaves is (turn == 2)
        assert text in GIVE_UP if leaves else f"I want to {ADD}." in text
        texts.append(text)
        said.append(text)
    assert len(set(texts)) == 3


def turns_until_goodbye(answer: Callable[[int], str]) -> tuple[int, str]:
    """(the user's turns, its last message) while the assistant says `answer(messages so far)` and does nothing."""
    said = [f"Please {ADD}."]
    for turn in range(1, 13):
        said.append(answer(len(said)))
        text, leaves = reply(said, [OPEN], patience=2)
        said.append(text)
        if leaves:
            return turn, text
    return 12, ""


def test_chatter_ends_the_patience() -> None:
    assert turns_until_goodbye(lambda count: f"I see {count} messages.")[0] == 6


def test_one_question_for_ever_ends_the_patience_too() -> None:
    turns, text = turns_until_goodbye(lambda _: "Which one do you mean?")
    assert turns == 4
    assert text in GIVE_UP


def test_a_change_is_not_asked_for_again_when_only_its_values_are_missing() -> None:
    """Or it might be made twice."""
    half = Achieved(in_state=True, told=False)
    for words in ("Done.", "Would you like to see the loan?", "Added.", "Sorry, something went wrong."):
        text, leaves = reply([f"Please {ADD}.", words], [half], patience=2)
        assert not leaves
        assert f"I asked you to {ADD}." in text
        assert f"want to {ADD}" not in text


def test_without_its_values_a_look_up_is_not_done() -> None:
    text, leaves = reply([f"Please {FIND}.", "It is done."], [UNTOLD], goals=(FIND,), patience=2)
    assert not leaves
    assert f"I want to {FIND}." in text
    assert reply([f"Please {FIND}.", "Oslo"], [TOLD], goals=(FIND,))[1]


def test_the_first_request_that_is_not_done_is_insisted_on() -> None:
    said = [f"Please {FIND}.", "Oslo", f"Next, {ADD}.", "Done!"]
    text, _ = reply(said, [TOLD, OPEN], goals=(FIND, ADD), patience=2)
    assert ADD in text
    assert FIND not in text


def test_a_request_is_taken_back_only_if_no_other_one_waits_behind_it() -> None:
    """Made in another order, changes may lead to another state than the gold calls, which no agent could help."""

    def retreats(goals: tuple[str, ...]) -> int:
        said = [f"Please {' and '.join(goals)}.", f"This will {ADD}. Do you confirm?"]
        verdicts = [OPEN] * len(goals)
        replies = [reply(said, verdicts, goals=goals, seed=seed, manner="adversarial")[0] for seed in range(40)]
        return sum(f"forget that I wanted to {ADD}" in text for text in replies)

    assert retreats((ADD,)) > 3
    assert retreats((ADD, "add a new loan with book id 9")) == 0
