"""Users: thousands of persons, on two sides of the counter, with rules and a language of their own."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from core.settings import UserError, typed
from generation.dialogue.personas import User, UserSettings, drawn_user
from generation.prompts import render
from tests.generation.helpers.pipeline_runs import SCENE, user_settings

MIX = user_settings("mix")
DRAWN = [drawn_user(MIX, f"0/dialogue {number}/rollout") for number in range(3000)]


def prompt(user: User) -> str:
    return render("user", scene=SCENE, user=user, rules=user.rules, tools=())


def test_almost_every_dialogue_has_a_user_of_its_own() -> None:
    assert len({user.persona for user in DRAWN}) > 2900
    assert [drawn_user(MIX, f"0/dialogue {number}/rollout") for number in range(3000)] == DRAWN


def test_the_first_word_is_the_voice_and_the_last_one_the_expertise() -> None:
    voices = {text.split(":")[0] for text in (*MIX.personas, *MIX.rule_sets["adversarial"].personas)}
    assert {user.persona.split(":")[0] for user in DRAWN} == voices
    assert {user.persona.split()[-1] for user in DRAWN} == {"novice", "intermediate", "expert"}
    assert all(user.expertise == user.persona.split()[-1] for user in DRAWN)


def test_every_person_occasion_and_mood_comes_up() -> None:
    text = "\n".join(user.persona for user in DRAWN)
    for side in MIX.sides.values():
        assert all(part in text for part in (*side.people, *side.occasions))
    assert all(f"mood: {mood}" in text for mood in MIX.moods)


def test_sides_and_rule_sets_are_drawn_by_their_weights() -> None:
    assert 0.17 < sum(user.is_staff for user in DRAWN) / 3000 < 0.23  # 0.2 ± 4 standard deviations
    shares = {name: count / 3000 for name, count in Counter(user.rule_set for user in DRAWN).items()}
    assert shares.keys() == MIX.rule_sets.keys()
    assert all(abs(share - MIX.rule_sets[str(name)].weight) < 0.04 for name, share in shares.items())


def test_a_rule_set_changes_only_what_it_names() -> None:
    base = user_settings("incremental").rules
    assert MIX.rules_named("incremental") == MIX.rules_named(None) == MIX.rules_named("none such") == base
    for name in ("terse", "upfront", "adversarial"):  # the same as the preset of this name
        assert MIX.rules_named(name) == user_settings(name).rules


def test_those_with_their_own_voices_use_them() -> None:
    voices = MIX.rule_sets["adversarial"].personas
    assert all(user.description.split("; ")[0] in voices for user in DRAWN if user.rule_set == "adversarial")


def test_staff_play_staff_and_speak_of_third_persons() -> None:
    staff, customer = (next(user for user in DRAWN if user.is_staff is is_staff) for is_staff in (True, False))
    assert "third\npersons" in prompt(staff)
    assert "You play a customer" in prompt(customer)
    assert "You play a customer" not in prompt(staff)


def test_a_plain_user_is_as_before() -> None:
    plain = drawn_user(user_settings("incremental"), "0")
    assert plain.rule_set is None
    assert plain.language == "en"
    assert plain.persona.count("; ") == 1
    assert "Let that show" not in prompt(plain)


def test_the_language_is_drawn_and_told() -> None:
    settings = user_settings("incremental", languages={"en": 0.5, "de": 0.5, "fr": 0})
    drawn = [drawn_user(settings, str(number)) for number in range(400)]
    assert 140 < sum(user.language == "de" for user in drawn) < 260
    assert {user.language for user in drawn} == {"en", "de"}
    german, english = (next(user for user in drawn if user.language == code) for code in ("de", "en"))
    assert "You write German" in prompt(german)
    assert "You write" not in prompt(english)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"languages": {"xx": 1.0}}, "unknown language 'xx'; expected one of ar, "),
        ({"languages": {"de": 0.0}}, "languages needs a weight above 0"),
        ({"sides": {"staff": {"weight": 1.0}}}, "sides.staff.people is empty"),
        ({"sides": {"guest": {"weight": 1.0}}}, "user.sides.guest"),
        ({"rule_sets": {"a": {"weight": 1, "rules": {"patience": 0}}}}, "rule_sets.a.rules.patience"),
        ({"rule_sets": {"a": {"weight": 1, "rules": {"patients": 3}}}}, "rule_sets.a.rules.patients"),
        ({"rule_sets": {"a": {"weight": 0}}}, "rule_sets needs a weight above 0"),
    ],
)
def test_impossible_users_are_refused(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(UserError, match=why):
        typed(user_settings().model_dump() | changes, UserSettings, "user")
