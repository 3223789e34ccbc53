"""Cards: which tools and which difficulty each task of a block gets."""

from __future__ import annotations

from collections import Counter

from core.dialogue import Difficulty
from generation.specs.naming import changes
from generation.specs.tool_graph import tool_graph
from generation.tasks.cards import Card, deal_cards
from generation.tools.choice import OfferedTools, ToolChoice, ToolChoiceSettings
from tests.generation.tools.test_choice import POOL

LEVELS: dict[Difficulty, float] = {"easy": 0.3, "medium": 0.4, "hard": 0.3}
OFFERED = ToolChoice(POOL, ToolChoiceSettings(count=12, distractors=3), "0").offered(0)


def cards(dialogues: range = range(16), tasks: int = 4, offered: OfferedTools = OFFERED) -> list[tuple[Card, ...]]:
    return deal_cards(offered, dialogues, tasks, LEVELS, "0/gym")


def test_every_dialogue_gets_a_card_for_each_task() -> None:
    assert [len(of_one) for of_one in cards()] == [4] * 16
    assert cards() == cards()
    assert cards(range(16, 32)) != cards()


def test_targets_are_a_walk_among_the_tools_that_belong_together() -> None:
    graph = tool_graph(OFFERED.tools)
    for card in (card for of_one in cards() for card in of_one):
        assert 1 <= len(card.targets) == len(set(card.targets)) <= {"easy": 1, "medium": 2, "hard": 3}[card.difficulty]
        assert set(card.targets) <= set(OFFERED.core)
        assert all(b in graph.neighbours[a] for a, b in zip(card.targets, card.targets[1:], strict=False))


def test_all_tools_that_belong_together_are_targets_about_equally_often() -> None:
    uses = Counter(name for of_one in cards() for card in of_one for name in card.targets)
    assert set(uses) == set(OFFERED.core)
    assert max(uses.values()) < 2.5 * min(uses.values())


def test_the_first_tasks_alone_use_almost_all_tools() -> None:
    first = {name for of_one in cards(tasks=1) for card in of_one for name in card.targets}
    assert len(first) >= len(OFFERED.core) - 1


def test_the_target_of_an_easy_task_needs_no_look_up_before_a_change() -> None:
    graph = tool_graph(OFFERED.tools)
    easy = [card for of_one in cards(tasks=20) for card in of_one if card.difficulty == "easy"]
    assert len(easy) > 50
    assert not any(changes(name) and graph.look_ups[name] for card in easy for name in card.targets)


def test_difficulties_come_up_in_proportion() -> None:
    dealt = Counter(card.difficulty for of_one in cards(range(100)) for card in of_one)
    assert {level: count / 400 for level, count in dealt.items()} == LEVELS
