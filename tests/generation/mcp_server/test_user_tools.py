"""Sessions in domains whose users have tools of their own, and in dialogues in which they used them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from core.dialogue import Dialogue
from core.settings import UserError
from generation.environments.sql import SqlEnvironmentFactory
from generation.llm.meter import Meter
from generation.mcp_server.session import TELL_USER
from generation.mcp_server.world import TaskFile, World
from generation.run import domains as domains_of
from generation.scripted.llm import ScriptedLLM
from generation.seeds.support_desk import SupportDeskSeeds
from generation.tools.toolset import Toolset
from generation.toolset_runner import source_from_seed
from generation.validation.validate import replay
from tests.generation.helpers.pipeline_runs import FinishedRun, run_to_end


@pytest.fixture(scope="module")
def toolsets(tmp_path_factory: pytest.TempPathFactory) -> list[Toolset]:
    return [source_from_seed(seed).toolset for seed in SupportDeskSeeds(tmp_path_factory.mktemp("desks")).load()]


@pytest.fixture(scope="module")
def played(toolsets: list[Toolset], tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    return run_to_end(
        "user_oriented_dual",
        domains_of(toolsets, 40, seed=0),
        tmp_path_factory.mktemp("played"),
        12,
        ScriptedLLM(error_rate=0.0),
        kinds={"guided": 0.5, "plain": 0.5},
        count={2: 1.0},
    )


@pytest.fixture
def world(toolsets: list[Toolset], played: FinishedRun) -> Iterator[World]:
    factory = SqlEnvironmentFactory()
    yield World(toolsets, factory, ScriptedLLM(), TaskFile(played.directory / "dialogues.jsonl"), 100)
    factory.close()


def dialogue_of(played: FinishedRun, *kinds: str) -> Dialogue:
    """A dialogue with tasks of exactly these kinds."""
    return next(dialogue for dialogue in played.accepted if tuple(task.kind for task in dialogue.tasks) == kinds)


async def test_an_agent_has_no_tool_of_the_user(world: World, toolsets: list[Toolset]) -> None:
    session = await world.open(1)
    try:
        assert session.tools.keys() == {
            f"{toolset.domain}__{tool.name}" for toolset in toolsets for tool in toolset.tools
        }
        users = [f"{toolset.domain}__{tool.name}" for toolset in toolsets for tool in toolset.user_tools]
        assert users
        for name in users:
            assert "there is no tool" in (await session.call(name, {})).content
    finally:
        await session.close()


async def test_a_task_begins_after_what_the_user_did_before(
    world: World, toolsets: list[Toolset], played: FinishedRun
) -> None:
    given = dialogue_of(played, "guided", "plain")
    task = given.tasks[-1]
    session = await world.open(1, task.task_id)
    assert not session.tools.keys() & {tool.name for tool in given.user_tools}
    for call in task.gold_calls:
        assert not (await session.call(call.tool, call.arguments)).error
    await session.call(TELL_USER.name, {"message": ", ".join(task.told_values)})
    (line,) = await session.close()
    assert line.verdict
    assert line.verdict.accepted, line.verdict.reasons
    assert line.user_actions == given.user_actions
    toolset = next(toolset for toolset in toolsets if toolset.domain == given.domain)
    factory = SqlEnvironmentFactory()
    replayed = await replay(line, factory.for_domain(toolset, Meter(ScriptedLLM()), line.dialogue_id))
    factory.close()
    assert (replayed.faithful, replayed.proof) == (True, line.state)


async def test_what_the_user_did_later_is_not_in_the_session(world: World, played: FinishedRun) -> None:
    given = dialogue_of(played, "plain", "guided")
    assert given.user_actions
    session = await world.open(1, given.tasks[0].task_id)
    (line,) = await session.close()
    assert not line.user_actions


def test_a_task_in_which_the_user_must_act_is_refused(world: World, played: FinishedRun) -> None:
    task = dialogue_of(played, "plain", "guided").tasks[-1]
    with pytest.raises(UserError, match="needs a user who acts"):
        world.find_task(task.task_id)


def test_a_task_of_a_domain_that_is_not_served_is_refused(toolsets: list[Toolset], played: FinishedRun) -> None:
    given = dialogue_of(played, "guided", "plain")
    others = [toolset for toolset in toolsets if toolset.domain != given.domain]
    world = World(others, SqlEnvironmentFactory(), ScriptedLLM(), TaskFile(played.directory / "dialogues.jsonl"), 100)
    with pytest.raises(UserError, match=f"is of {given.domain}; served are {others[0].domain}"):
        world.find_task(given.tasks[-1].task_id)
