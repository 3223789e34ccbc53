"""Folders of worlds that cannot be opened, and what a world passes on to an agent."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.messages import AssistantMessage, Message, ToolSpec, UserMessage
from core.settings import UserError
from generation.environments.faulty import FaultyEnvironmentFactory
from generation.environments.sql import SqlEnvironmentFactory
from generation.llm.base import Request
from generation.llm.contexts import AgentContext
from generation.worlds.worlds import OutsideModel, Worlds, construct
from tests.generation.helpers.pipeline_runs import TASK

SQL = "generation.environments.sql.SqlEnvironmentFactory"


def test_a_folder_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"settings.json is missing; expected: a folder of worlds"):
        Worlds.open(tmp_path)
    (tmp_path / "settings.json").write_text(json.dumps({"pipelines": {}}))
    with pytest.raises(UserError, match=r"settings.json is not the settings of worlds: user"):
        Worlds.open(tmp_path)


def test_environments_are_constructed_with_those_that_they_wrap() -> None:
    node = {
        "_target_": "generation.environments.faulty.FaultyEnvironmentFactory",
        "inner": {"_target_": SQL, "row_cap": 7},
        "shares": {"tool_error": 0.5},
        "seed": 3,
    }
    factory = construct(node)
    assert isinstance(factory, FaultyEnvironmentFactory)
    assert isinstance(factory.inner, SqlEnvironmentFactory)
    assert (factory.inner.settings.row_cap, factory.shares.tool_error, factory.seed) == (7, 0.5, 3)


@pytest.mark.parametrize("name", ["os.system", "subprocess.Popen", "nowhere.Factory", "generation.environments.sql"])
def test_nothing_but_environments_is_constructed(name: str) -> None:
    with pytest.raises(UserError, match=r"cannot be imported|expected: an EnvironmentFactory"):
        construct({"_target_": name})


async def test_an_agent_from_elsewhere_gets_messages_and_tools_alone() -> None:
    seen: list[tuple[tuple[Message, ...], tuple[ToolSpec, ...]]] = []

    async def answer(messages: tuple[Message, ...], tools: tuple[ToolSpec, ...]) -> AssistantMessage:
        seen.append((messages, tools))
        return AssistantMessage(content="Hello.")

    tool = ToolSpec(name="find", description="Find.", parameters={"type": "object", "properties": {}})
    context = AgentContext(task=TASK, task_start=0)
    request = Request("agent", (UserMessage(content="Hi"),), "d/agent/0", "d", context, (tool,))
    completion = await OutsideModel("mine", answer).complete(request)
    assert (completion.message.content, completion.model) == ("Hello.", "mine")
    assert seen == [(request.messages, (tool,))]
