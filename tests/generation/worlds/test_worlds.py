"""Folders of worlds that cannot be opened, and what a world passes on to an agent."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

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
FAULTY = "generation.environments.faulty.FaultyEnvironmentFactory"
MCP = "generation.environments.service.McpEnvironmentFactory"


def test_a_folder_without_worlds_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"settings.json is missing; expected: a folder of worlds"):
        Worlds.open(tmp_path)
    (tmp_path / "settings.json").write_text(json.dumps({"pipelines": {}}))
    with pytest.raises(UserError, match=r"settings.json is not the settings of worlds: user"):
        Worlds.open(tmp_path)


def test_environments_are_constructed_with_those_that_they_wrap() -> None:
    node = {
        "_target_": FAULTY,
        "inner": {"_target_": SQL, "row_cap": 7},
        "shares": {"tool_error": 0.5},
        "seed": 3,
    }
    factory = construct(node)
    assert isinstance(factory, FaultyEnvironmentFactory)
    assert isinstance(factory.inner, SqlEnvironmentFactory)
    assert (factory.inner.settings.row_cap, factory.shares.tool_error, factory.seed) == (7, 0.5, 3)


class OwnFactory(SqlEnvironmentFactory):
    """An environment in a package that lies next to the project's and belongs to no distribution."""


def test_an_environment_of_ones_own_lies_next_to_the_projects_packages() -> None:
    factory = construct({"_target_": f"{__name__}.OwnFactory", "row_cap": 7})
    assert type(factory).__qualname__ == "OwnFactory"


def test_a_module_from_elsewhere_is_not_even_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It lies next to the worlds, on the import path, as in the folder in which a program is started."""
    (tmp_path / "not_installed.py").write_text("class Factory:\n    executable = True\n    def for_domain(self): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match=r"not_installed.Factory was given; expected: .* of an installed package"):
        construct({"_target_": "not_installed.Factory"})
    assert "not_installed" not in sys.modules


@pytest.mark.parametrize(
    ("node", "problem"),
    [
        ({"_target_": "os.system"}, "of an installed package"),
        ({"_target_": "subprocess.Popen", "args": ["true"]}, "of an installed package"),
        ({}, "_target_=None was given"),
        ({"_target_": ""}, "_target_= was given"),
        ({"_target_": "nowhere.Factory"}, "of an installed package"),
        ({"_target_": "generation.environments.sql"}, "expected: an EnvironmentFactory"),
        ({"_target_": "generation.environments.sql.Nothing"}, "cannot be imported"),
        ({"_target_": "pydantic.BaseModel"}, "expected: an EnvironmentFactory"),
        ({"_target_": MCP, "command": "true"}, "expected: an environment that executes its tools"),
        ({"_target_": FAULTY, "inner": {"_target_": MCP, "command": "true"}, "shares": {}}, "executes its tools"),
    ],
)
def test_nothing_but_executing_environments_is_constructed(node: dict[str, Any], problem: str) -> None:
    with pytest.raises(UserError, match=problem):
        construct(node)


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
