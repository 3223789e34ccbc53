"""Requests, acknowledgements, corrections and questions in user messages: by hand, and against others' annotations."""

from __future__ import annotations

import json

import pytest

from generation.metrics.user_acts import user_acts
from tests.helpers.paths import SHARED_DATA

SGD = SHARED_DATA / "sgd" / "dialogues_001.json"


@pytest.mark.parametrize(
    ("text", "requests"),
    [
        ("Book a table for two.", 1),
        ("I want to change the date and cancel the hotel.", 2),
        ("I want to change the date and the hotel.", 1),
        ("Can you find me a restaurant? Also tell me its address.", 2),
        ("Great, what's their number, and is it expensive?", 2),
        ("Could you help me to change the age of Dr. Donna Johnson to 17?", 1),
        ("I'm looking for a room. I'd like one with a view.", 2),
        ("Friday?", 1),
        ("Yes, please go ahead.", 0),
        ("It costs 45.50 and is in Oakland.", 0),
        ("No thanks, I don't need anything else.", 0),
        ("My name is Ada Lovelace", 0),
        ("", 0),
        ("Könntest du mir helfen?", 1),
    ],
)
def test_requests(text: str, requests: int) -> None:
    assert user_acts(text).requests == requests


@pytest.mark.parametrize(
    ("text", "acknowledges"),
    [
        ("Thanks, that is all.", True),
        ("OK", True),
        ("Great! Book it.", True),
        ("Yes, perfect.", True),
        ("That's fine with me.", True),
        ("Sounds good.", True),
        ("Find me a good restaurant.", False),
        ("Great Barrier Tours, please.", False),
        ("Yes.", False),
        ("Cancel order 17.", False),
    ],
)
def test_acknowledgements(text: str, acknowledges: bool) -> None:
    assert user_acts(text).acknowledgement is acknowledges


@pytest.mark.parametrize(
    ("text", "corrects"),
    [
        ("No, I meant Friday.", True),
        ("Actually, make that three people.", True),
        ("Wait, what about Oakland?", True),
        ("Use the other card instead.", True),
        ("That\u2019s not the one.", True),
        ("Sorry, my mistake: it is 17.", True),
        ("No, I do not need more.", False),
        ("How long is the wait for a table?", False),
        ("I can't wait for the concert.", False),
        ("No, thank you.", False),
        ("Please make it so that I can pay later.", False),
    ],
)
def test_corrections(text: str, corrects: bool) -> None:
    assert user_acts(text).correction is corrects


@pytest.mark.parametrize(
    ("text", "asks"),
    [
        ("Is it open on Monday?", True),
        ("what is the address", True),
        ("Ok. Do they have wifi", True),
        ("Tell me the address.", False),
        ("I know what I want.", False),
    ],
)
def test_questions(text: str, asks: bool) -> None:
    assert user_acts(text).question is asks


def test_words_are_counted_however_they_are_typed() -> None:
    assert user_acts("Book it\u00a0for 19:30, \n please").words == 5


@pytest.mark.skipif(not SGD.is_file(), reason="no ../shared/data/sgd here")
def test_the_rules_find_what_the_schema_guided_dialogue_set_annotates() -> None:
    """Its annotations are narrower (a wish repeated with another date is not a new intent), so only recall is asked for
    requests and questions; for the others, what is marked must mostly be marked."""
    found = {"requests": [0, 0], "questions": [0, 0], "thanks": [0, 0], "nothing": [0, 0]}
    for dialogue in json.loads(SGD.read_text()):
        for turn in dialogue["turns"]:
            if turn["speaker"] != "USER":
                continue
            annotated = {action["act"] for frame in turn["frames"] for action in frame["actions"]}
            acts = user_acts(turn["utterance"])
            for name, applies, agrees in (
                ("requests", bool(annotated & {"REQUEST", "INFORM_INTENT", "REQUEST_ALTS"}), acts.requests > 0),
                ("questions", "REQUEST" in annotated, acts.question),
                ("thanks", "THANK_YOU" in annotated and "thank" in turn["utterance"].lower(), acts.acknowledgement),
                ("nothing", annotated <= {"AFFIRM", "GOODBYE", "THANK_YOU", "NEGATE"}, acts.requests == 0),
            ):
                found[name][0] += applies and agrees
                found[name][1] += applies
    shares = {name: agreed / annotated for name, (agreed, annotated) in found.items()}
    assert shares["requests"] > 0.95
    assert shares["questions"] > 0.95
    assert shares["thanks"] > 0.95
    assert shares["nothing"] > 0.9, "who only agrees or leaves requests nothing"
