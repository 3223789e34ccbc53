"""Folders of worlds that cannot be opened, and what a world passes on to an agent."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from core.dialogue import Dialogue
from core.journal import write_jsonl
from core.messages import AssistantMessage, Message, SystemMessage, ToolSpec, UserMessage
from core.settings import UserError
from generation.environments.faulty import FaultyEnvironmentFactory
from generation.environments.sql import SqlEnvironmentFactory
from generation.llm.base import Request
from generation.llm.contexts import AgentContext
from generation.tools.toolset import Toolset
from generation.worlds.task_line import TaskLine, task_hash
from generation.worlds.worlds import OutsideModel, Worlds, construct
from tests.generation.helpers.pipeline_runs import TASK, rollout_settings, task_of, user_settings

SQL = "generation.environments.sql.SqlEnvironmentFactory"
FAULTY = "generation.environments.faulty.FaultyEnvironmentFactory"
MCP = "generation.environments.service.McpEnvironmentFactory"


def test_a_folder_without_worlds_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"settings.json is missing; expected: a folder of worlds"):
        Worlds.open(tmp_path)
    (tmp_path / "settings.json").write_text(json.dumps({"pipelines": {}}))
    with pytest.raises(UserError, match=r"settings.json is not the settings of worlds: user"):
        Worlds.open(tmp_path)


TASKS = (TASK, task_of("The user wants to know the price of the pen.", ("know the price",)))
START = Dialogue(
    dialogue_id="d",
    pipeline="exec",
    domain="shop",
    tools=(),
    messages=(SystemMessage(content="Help."), UserMessage(content="A hall?"), AssistantMessage(content="Here.")),
    tasks=TASKS,
    task_starts=(1,),
)


def open_worlds(folder: Path, lines: Sequence[TaskLine], domains: Sequence[str] = ("shop",)) -> Worlds:
    pipeline = {"environment": {"_target_": SQL}, "rollout": rollout_settings("user_oriented_exec").model_dump()}
    settings = {"pipelines": {"exec": pipeline}, "user": user_settings().model_dump()}
    (folder / "settings.json").write_text(json.dumps(settings))
    write_jsonl(folder / "toolsets.jsonl", [Toolset(domain=domain, description="", tools=()) for domain in domains])
    write_jsonl(folder / "tasks.jsonl", lines)
    return Worlds.open(folder)


def line(task_id: str = "d/1", digest: str = task_hash(TASKS[-1]), **changes: Any) -> TaskLine:
    return TaskLine(task_id=task_id, task_hash=digest, start=START.model_copy(update=changes))


def test_a_complete_folder_is_opened(tmp_path: Path) -> None:
    first = line("d/0", task_hash(TASK), tasks=TASKS[:1], task_starts=(), messages=())
    with open_worlds(tmp_path, [first, line()]) as worlds:
        assert list(worlds.tasks) == ["d/0", "d/1"]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"tasks": ()}, r"its start has tasks=\[\]; expected: the task to play"),
        ({"task_starts": ()}, r"task_starts=\[\]; expected: .* 1 ascending numbers below 3"),
        ({"task_starts": (3,)}, r"task_starts=\[3\]; expected"),
        ({"task_starts": (-1,)}, r"task_starts=\[-1\]; expected"),
        (
            {"tasks": (*TASKS, TASKS[-1]), "task_starts": (2, 1)},
            r"task_starts=\[2, 1\]; expected: .* 2 ascending numbers",
        ),
        ({"domain": "gym"}, r"its start has domain=gym; expected: the domain of a line of toolsets.jsonl"),
        ({"pipeline": "other"}, r"its start has pipeline=other; expected one of settings.json: \['exec'\]"),
        ({"tasks": (TASK, TASK)}, f"task_hash={task_hash(TASKS[-1])} was given, but its task has the hash"),
    ],
)
def test_a_task_that_cannot_be_played_is_named_on_opening(
    changes: dict[str, Any], problem: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=rf"tasks.jsonl: task d/2: .*{problem}"):
        open_worlds(tmp_path, [line(), line("d/2", **changes)])


def test_worlds_without_toolsets_and_repeated_tasks_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"task d/1: its start has domain=shop; expected"):
        open_worlds(tmp_path, [line()], domains=())
    with pytest.raises(UserError, match=r"task d/1: two lines have this task_id; expected: one line for each task"):
        open_worlds(tmp_path, [line(), line()])


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
