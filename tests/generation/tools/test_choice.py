"""The tools of a block of dialogues: a connected part of the pool, in turn all of it."""

from __future__ import annotations

from collections import Counter

import pytest

from core.messages import ToolSpec
from core.settings import UserError, typed
from generation.specs.naming import changes
from generation.specs.tool_graph import tool_graph
from generation.tools.choice import OfferedTools, ToolChoice, ToolChoiceSettings
from tests.generation.specs.test_tool_graph import tool

ENTITIES = ("member", "trainer", "course", "booking", "room", "payment")
LINKS = {"course": "trainer", "booking": "member", "payment": "booking", "room": "course"}


def of_entity(entity: str) -> tuple[ToolSpec, ...]:
    key, fields = f"{entity}_id", (f"{entity}_id", f"{entity}_name")
    own = (
        tool(f"search_{entity}s", f"{entity}_name", returns=fields),
        tool(f"get_{entity}", key, returns=(*fields, "note")),
        tool(f"update_{entity}_note", key, "note", returns=("rows_affected",)),
        tool(f"delete_{entity}", key, returns=("rows_affected",)),
        tool(f"count_{entity}s", "note", returns=("count",)),
    )
    if parent := LINKS.get(entity):
        return (*own, tool(f"list_{entity}s_by_{parent}", f"{parent}_id", returns=fields))
    return own


POOL = tuple(spec for entity in ENTITIES for spec in of_entity(entity))
SETTINGS = ToolChoiceSettings(count=9, block=4, distractors=2, shuffle=True)


def blocks(count: int, settings: ToolChoiceSettings = SETTINGS, seed: str = "0") -> list[OfferedTools]:
    choice = ToolChoice(POOL, settings, seed)
    return [choice.offered(block) for block in range(count)]


def names(offered: OfferedTools) -> list[str]:
    return [spec.name for spec in offered.tools]


def test_a_block_has_the_wanted_number_of_different_tools_of_the_pool() -> None:
    for offered in blocks(100):
        assert len(set(names(offered))) == 9
        assert all(spec in POOL for spec in offered.tools)
        assert len(offered.core) == 7


def test_the_core_is_connected_and_can_change_something() -> None:
    graph = tool_graph(POOL)
    for offered in blocks(100):
        core, reached = set(offered.core), {offered.core[0]}
        for _ in core:
            about = {graph.subjects[name] for name in reached}
            reached |= {name for name in core if graph.neighbours[name] & reached or graph.subjects[name] in about}
        assert reached == core
        assert any(map(changes, core))


def test_every_required_identifier_can_be_looked_up() -> None:
    graph = tool_graph(POOL)
    for offered in blocks(100):
        offered_names = set(names(offered))
        for name in offered_names:
            assert all(offered_names & set(tools) for tools in graph.look_ups[name]), name


def test_over_a_cycle_all_tools_and_subjects_are_used_about_equally() -> None:
    uses = Counter(name for offered in blocks(len(POOL)) for name in offered.core)
    mean = sum(uses.values()) / len(POOL)
    others = [uses[spec.name] for spec in POOL if not spec.name.startswith("search_")]
    assert mean / 2 <= min(others)
    assert max(others) <= mean * 1.5  # searches are look-ups of the others, so they come more often
    subjects = Counter[tuple[str, ...]]()
    for name, count in uses.items():
        subjects[tool_graph(POOL).subjects[name]] += count
    assert max(subjects.values()) < 2 * min(subjects.values())


def test_a_few_blocks_reach_most_of_the_pool() -> None:
    assert len({name for offered in blocks(6) for name in names(offered)}) > 0.8 * len(POOL)


def test_blocks_follow_from_the_seed_and_their_number_alone() -> None:
    assert blocks(80) == blocks(80)
    assert blocks(80) != blocks(80, seed="1")
    choice = ToolChoice(POOL, SETTINGS, "0")
    in_order = blocks(80)
    assert [choice.offered(block) for block in reversed(range(80))] == in_order[::-1]


def test_without_shuffling_the_tools_keep_the_order_of_the_pool() -> None:
    order = [spec.name for spec in POOL]
    for offered in blocks(20, SETTINGS.model_copy(update={"shuffle": False})):
        assert names(offered) == sorted(names(offered), key=order.index)
    assert len({tuple(sorted(names(o), key=order.index)) == tuple(names(o)) for o in blocks(20)}) == 1


def test_without_a_number_all_tools_are_offered_in_their_order() -> None:
    (offered,) = blocks(1, ToolChoiceSettings())
    assert offered.tools == POOL


def test_a_small_pool_is_offered_completely() -> None:
    offered = ToolChoice(POOL[:5], SETTINGS, "0").offered(3)
    assert {spec.name for spec in offered.tools} == {spec.name for spec in POOL[:5]}
    assert len(offered.core) == 5


def test_distractors_may_not_leave_too_few_tools() -> None:
    with pytest.raises(UserError, match="count 5 with 3 distractors leaves fewer than 3 tools"):
        typed({"count": 5, "distractors": 3}, ToolChoiceSettings, "variety.tools")
