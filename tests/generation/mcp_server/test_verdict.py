"""The verdict on a session's task."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.dialogue import Dialogue
from core.journal import write_jsonl
from core.messages import UserMessage
from generation.environments.sql import SqlEnvironmentFactory
from generation.mcp_server.session import TELL_USER
from generation.mcp_server.world import TaskFile, World
from generation.scripted.llm import ScriptedLLM
from tests.generation.helpers.pipeline_runs import task_of
from tests.generation.helpers.served_shops import shop_toolset


@pytest.mark.parametrize(("told", "accepted"), [("Sorry, I cannot do that.", True), ("One moment, please.", False)])
async def test_a_request_is_declined_even_if_a_call_follows(told: str, accepted: bool, tmp_path: Path) -> None:
    toolset, path = shop_toolset(tmp_path), tmp_path / "dialogues.jsonl"
    task = task_of("The user wants to repaint the shop.", ("repaint the shop",), kind="no_tool")
    given = Dialogue(
        dialogue_id="d",
        pipeline="user_oriented_exec",
        domain=toolset.domain,
        tools=toolset.tools,
        messages=(UserMessage(content="Please repaint the shop."),),
        tasks=(task,),
        task_starts=(0,),
    )
    write_jsonl(path, [given])
    world = World([toolset], SqlEnvironmentFactory(), ScriptedLLM(), TaskFile(path), 100)
    session = await world.open(1, task.task_id)
    await session.call(TELL_USER.name, {"message": told})
    assert not (await session.call("list_customers", {})).error
    (line,) = await session.close()
    world.close()
    assert line.verdict
    assert line.verdict.accepted is accepted, line.verdict.reasons
