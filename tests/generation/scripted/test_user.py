"""The stand-in's user follows every rule, whatever the agent, and in the end still wants what its goal says."""

from __future__ import annotations

import json
import re
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.messages import AssistantMessage, Message, SystemMessage, UserMessage
from generation.llm.contexts import UserContext, UserRules
from generation.metrics.user_quality import dialogue_quality
from generation.pipeline import DomainTools
from generation.scripted.agent_hears import UserIntent
from generation.scripted.llm import ScriptedLLM
from generation.scripted.user import answer
from generation.scripted.wishes import WANTS
from generation.tasks.facts import Knowledge, facts
from tests.generation.helpers.pipeline_runs import (
    FinishedRun,
    SpoiledRole,
    fixed_answer,
    run_to_end,
    task_of,
    user_settings,
)

PRESETS = ("incremental", "upfront", "terse", "adversarial")
NOUNS = ("hold", "visit", "locker", "invoice", "book")
SUBGOALS = st.lists(
    st.one_of(
        st.tuples(st.just("change the status of {} number {} to {}"), st.sampled_from(NOUNS), st.integers(1, 99)),
        st.tuples(st.just("delete {} number {}"), st.sampled_from(NOUNS), st.integers(1, 99)),
        st.tuples(st.just("find out the price of {} number {}"), st.sampled_from(NOUNS), st.integers(1, 99)),
    ).map(lambda parts: parts[0].format(parts[1], parts[2], "closed")),
    min_size=1,
    max_size=4,
    unique=True,
)
RULES = st.builds(
    UserRules,
    max_subtasks_per_turn=st.sampled_from([None, 1, 2, 3]),
    disclosure=st.sampled_from(["incremental", "upfront", "on_request"]),
    feedback=st.booleans(),
    clarification=st.booleans(),
    confirmation=st.booleans(),
    patience=st.integers(1, 3),
    manner=st.sampled_from(["cooperative", "adversarial"]),
)
PERSONAS = st.sampled_from([p for preset in PRESETS for p in user_settings(preset).personas] + ["", "odd"])
THANKS = ("Thanks.", "Great, thank you.", "Perfect.", "That helps.", "Good to know.")


def rules_of(preset: str = "incremental", **changes: Any) -> UserRules:
    return UserRules.model_validate(user_settings(preset).rules.model_dump() | changes)


class Clerk:
    """A simple agent: asks for missing values and before it deletes, and does the rest."""

    def __init__(self, subgoals: tuple[str, ...]) -> None:
        self.subgoals = subgoals
        self.done: list[str] = []

    def reply(self, messages: list[Message]) -> str:
        intent = UserIntent(self.subgoals, messages)
        for number, goal in enumerate(self.subgoals):
            if number in intent.requested and goal not in self.done:
                if goal.startswith("delete") and not intent.confirmed(goal):
                    return f"This will {goal}. Do you confirm?"
                self.done.append(goal)
            elif number in intent.missing:
                return f"Happy to {goal.rsplit(' to ', 1)[0]}. What should the new value be?"
        return f"Done so far: {len(self.done)}, and I have {len(messages)} notes."


def converse(subgoals: tuple[str, ...], rules: UserRules, persona: str, seed: int, clerk: Any) -> list[Message]:
    """One task from its first message to the user's closing words."""
    goal = " ".join(f"They want to {part}." for part in subgoals)
    messages: list[Message] = [SystemMessage(content="You serve.")]
    for turn in range(40):
        context = UserContext(task_of(goal, subgoals), persona, rules, tuple(messages), 1)
        turn_answer = json.loads(answer(context, Random(f"{seed}/{turn}")))
        messages.append(UserMessage(content=turn_answer["user_message"]))
        if turn_answer["is_task_complete"]:
            return messages
        messages.append(AssistantMessage(content=clerk.reply(messages)))
    raise AssertionError(f"it never ends: {messages}")


def user_texts(messages: list[Message]) -> list[str]:
    return [message.content for message in messages if isinstance(message, UserMessage)]


def names(goal: str, text: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(goal)}(?!\w)", text, re.I) is not None


@given(SUBGOALS, RULES, PERSONAS, st.integers(0, 10**6))
def test_whatever_the_rules_it_achieves_its_goal_and_leaves(
    subgoals: list[str], rules: UserRules, persona: str, seed: int
) -> None:
    clerk = Clerk(tuple(subgoals))
    messages = converse(tuple(subgoals), rules, persona, seed, clerk)
    assert sorted(clerk.done) == sorted(subgoals)
    intent = UserIntent(subgoals, messages)
    assert intent.requested == set(range(len(subgoals)))
    assert not intent.missing
    knowledge = Knowledge()
    for goal in subgoals:
        knowledge.learn(goal)
    assert all(knowledge.knows(fact) for text in user_texts(messages) for fact in facts(text)), "it invents nothing"
    assert not re.search(r"\b(goal|simulat|tool|no need to ask)", " ".join(user_texts(messages)))


@given(SUBGOALS, RULES, PERSONAS, st.integers(0, 10**6))
def test_it_follows_the_rules(subgoals: list[str], rules: UserRules, persona: str, seed: int) -> None:
    messages = converse(tuple(subgoals), rules, persona, seed, Clerk(tuple(subgoals)))
    texts = user_texts(messages)
    new: set[str] = set()
    for position, text in enumerate(texts):
        requests = {goal for goal in subgoals if names(goal, text)}
        if rules.max_subtasks_per_turn:
            assert len(requests - new) <= rules.max_subtasks_per_turn
        if rules.disclosure == "upfront" and not rules.max_subtasks_per_turn and rules.manner == "cooperative":
            assert (requests == set(subgoals)) == (position == 0)
        if rules.disclosure == "on_request" and any(goal.startswith("change") for goal in requests - new):
            assert messages[2 * position].content.endswith("What should the new value be?")
        new |= requests
    everything = " ".join(texts[:-1])
    if not rules.feedback:
        assert not any(text.startswith(THANKS) for text in texts[:-1])
    if not rules.clarification:
        assert "let me put that right" not in everything
    if rules.manner == "cooperative":
        assert not re.search(r"changed my mind|second thoughts|forget|never mind|excuses", everything, re.I)


@pytest.mark.parametrize("patience", [1, 2, 4])
@pytest.mark.parametrize("reply", ["I am sorry, that was not found.", "It is all done.", "Once more: It is all done."])
def test_its_patience_is_limited(patience: int, reply: str) -> None:
    class Useless:
        def reply(self, messages: list[Message]) -> str:
            return (
                reply if "sorry" in reply or len(messages) == 2 else f"Once more: {reply.removeprefix('Once more: ')}"
            )

    rules = rules_of(patience=patience, max_subtasks_per_turn=3, disclosure="upfront")
    texts = user_texts(converse(("delete hold number 3",), rules, "terse", 0, Useless()))
    if "sorry" in reply:
        assert len(texts) == patience + 1
        assert re.search("nowhere|disappointing|not helped", texts[-1])
        assert all("I want to delete hold number 3." in text for text in texts[1:-1])
        assert len(set(texts)) == len(texts)
    else:
        assert len(texts) == 2, "a single answer repeats nothing"


def test_one_helpful_answer_restores_its_patience() -> None:
    class Moody:
        def reply(self, messages: list[Message]) -> str:
            return "I am sorry." if len(messages) % 4 else f"Done, {len(messages)}."

    subgoals = tuple(f"delete hold number {i}" for i in range(1, 6))
    texts = user_texts(converse(subgoals, rules_of(patience=2, max_subtasks_per_turn=1), "warm", 0, Moody()))
    assert sum(any(names(goal, text) for text in texts) for goal in subgoals) == 5
    assert not re.search("nowhere|disappointing|not helped", texts[-1])


def test_a_status_called_failed_is_not_a_failure() -> None:
    class Honest:
        def reply(self, messages: list[Message]) -> str:
            return "Done: change the status of invoice number 3 to failed."

    subgoals = ("change the status of invoice number 3 to failed",)
    for seed in range(20):
        texts = user_texts(converse(subgoals, rules_of("upfront"), "formal", seed, Honest()))
        assert len(texts) == 2


def test_adversaries_waver_press_digress_and_withdraw() -> None:
    subgoals = ("delete hold number 3", "find out the price of book number 8")
    rules = rules_of("adversarial")
    seen: set[str] = set()
    for seed in range(60):
        for text in user_texts(converse(subgoals, rules, "demanding", seed, Clerk(subgoals)))[:-1]:
            seen |= {"waver"} if re.search("changed my mind|second thoughts|want it after all", text) else set()
            seen |= {"press"} if re.search("wait for it|make that quick|no excuses", text) else set()
            seen |= {"digress"} if re.search("slow here|telephone|weather", text) else set()
            seen |= {"take back"} if "forget that I wanted to delete hold number 3" in text else set()
    assert seen == {"waver", "press", "digress", "take back"}


@pytest.mark.parametrize("allowed", [True, False])
def test_slips_are_corrected_only_where_clarification_is_a_rule(allowed: bool) -> None:
    subgoals = ("find out the price of book number 8",)
    rules = rules_of(clarification=allowed)
    texts = [user_texts(converse(subgoals, rules, "warm", seed, Clerk(subgoals)))[0] for seed in range(100)]
    assert any("book number — wait, let me put that right" in text for text in texts) is allowed


@given(RULES, PERSONAS, st.integers(0, 10**6))
def test_a_wish_that_changes_is_said_first_whatever_the_rules(rules: UserRules, persona: str, seed: int) -> None:
    goal = "change the status of hold number 3 to closed"
    first = {"kind": "changed", "first_wish": f"{WANTS}{goal.replace('closed', 'open')}."}
    task = task_of(f"{WANTS}{goal}.", (goal,)).model_copy(update=first)
    text = json.loads(answer(UserContext(task, persona, rules), Random(seed)))["user_message"]
    assert names("open", text)
    assert not names("closed", text)


def test_voice_and_expertise_show_in_the_wording() -> None:
    def openings(persona: str) -> set[str]:
        context = UserContext(task_of("g", ("find a hall",)), persona, rules_of())
        return {json.loads(answer(context, Random(i)))["user_message"] for i in range(60)}

    voices = [
        openings(f"{voice}: x; expertise: intermediate") for voice in ("warm", "formal", "hurried", "demanding", "odd")
    ]
    assert all(not one & other for i, one in enumerate(voices) for other in voices[:i])
    novice, expert = openings("warm: x; expertise: novice"), openings("warm: x; expertise: expert")
    assert any("never done this before" in text for text in novice - expert)
    assert any("I know how this works" in text for text in expert - novice)


# In complete dialogues on real databases.


@pytest.fixture(scope="module")
def presets(domains: tuple[DomainTools, ...], tmp_path_factory: pytest.TempPathFactory) -> dict[str, FinishedRun]:
    """The same twelve dialogues with each kind of user and an agent that makes no mistakes."""
    return {
        preset: run_to_end(
            "user_oriented_exec",
            domains,
            tmp_path_factory.mktemp(preset),
            n=12,
            llm=ScriptedLLM(error_rate=0.0),
            user=user_settings(preset),
        )
        for preset in PRESETS
    }


@pytest.mark.parametrize("preset", PRESETS)
def test_execution_confirms_that_the_goals_own_requests_are_in_force(
    presets: dict[str, FinishedRun], preset: str
) -> None:
    played = presets[preset]
    assert len(played.accepted) >= 10, [rejection.reasons for rejection in played.rejected]
    assert not [r.reasons for r in played.rejected if not r.reasons[0].startswith("finished: task_writer")]


@pytest.mark.parametrize("preset", PRESETS)
def test_the_quality_gate_finds_no_fault(presets: dict[str, FinishedRun], preset: str) -> None:
    rules = rules_of(preset)
    qualities = [dialogue_quality(dialogue, rules) for dialogue in presets[preset].accepted]
    assert [(quality.dialogue_id, quality.faults) for quality in qualities if quality.faults] == []


def test_dropping_the_rule_of_one_or_two_subtasks_shortens_dialogues(presets: dict[str, FinishedRun]) -> None:
    turns = {preset: played.statistics.user_turns.mean for preset, played in presets.items()}
    assert turns["upfront"] < 0.8 * turns["incremental"]
    assert turns["incremental"] < turns["terse"]


def test_an_agent_that_never_helps_gets_a_complaint_and_the_dialogue_is_rejected(
    domains: tuple[DomainTools, ...], tmp_path: Path
) -> None:
    useless = SpoiledRole("agent", fixed_answer("I am sorry, I cannot do that."))
    played = run_to_end("user_oriented_exec", domains, tmp_path, n=4, llm=useless, user=user_settings("terse"))
    assert not played.accepted
    for rejection in played.rejected:
        assert rejection.dialogue
        mine = [message.content for message in rejection.dialogue.messages if isinstance(message, UserMessage)]
        assert re.search("nowhere|disappointing|not helped", mine[-1])
