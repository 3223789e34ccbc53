"""SQL tools for a database: invalid proposals are refused with the reason, and the best answer counts."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from core.runs import sha256
from core.settings import UserError
from generation.database.image import Image
from generation.database.sql_tools import verify_tool
from generation.llm.base import LLM
from generation.llm.meter import Meter
from generation.scripted.llm import ScriptedLLM
from generation.seeds.base import Seed
from generation.seeds.bundled import BundledSeeds
from generation.tools.from_database import make_sql_toolset
from generation.tools.from_questions import MIN_TOOLS, ToolmakingSettings, make_tools
from generation.tools.toolset import Toolset
from tests.generation.helpers.pipeline_runs import ListedAnswers

ROWS = {"type": "array", "items": {"type": "object", "properties": {"member_id": {"type": "integer"}}}}


def tool(name: str, sql: str, returns: dict[str, Any] | None = None, **parameters: str) -> dict[str, Any]:
    properties = {key: {"type": kind} for key, kind in parameters.items()}
    schema = {"type": "object", "properties": properties, "required": list(properties)}
    return {"name": name, "description": name, "parameters": schema, "returns": returns or ROWS, "sql": sql}


GOOD = [
    tool(
        f"get_{n}", f"SELECT member_id FROM members WHERE member_id > :low ORDER BY member_id LIMIT {n}", low="integer"
    )
    for n in ("1", "2", "3")
]
BAD = {
    "no_such_table": (tool("no_such_table", "SELECT member_id FROM people"), "no such table"),
    "drop": (tool("drop", "DROP TABLE members"), "SELECT, INSERT, UPDATE or DELETE is expected"),
    "two": (tool("two", "SELECT member_id FROM members; DELETE FROM members"), "one statement is expected"),
    "everybody": (tool("everybody", "DELETE FROM members", {"type": "object"}), "needs a WHERE"),
    "undeclared": (tool("undeclared", "SELECT member_id FROM members WHERE member_id = :id"), ":id is not declared"),
    "shape": (tool("shape", "SELECT member_id, email FROM members LIMIT 1"), "does not declare email"),
    "bad name": (tool("bad name", "SELECT member_id FROM members LIMIT 1"), "name: "),
    "no_sql": ({key: value for key, value in tool("no_sql", "").items() if key != "sql"}, "sql: "),
}


@pytest.fixture(scope="module")
def gym(tmp_path_factory: pytest.TempPathFactory) -> Seed:
    return BundledSeeds(tmp_path_factory.mktemp("gym"), ["gym"]).load()[0]


async def toolset_of(llm: LLM, seed: Seed, max_tools: int, attempts: int) -> Toolset:
    """The toolset as stage 1 makes it."""
    settings = ToolmakingSettings(max_tools=max_tools, attempts=attempts, questions=20, expansion=10)
    return await make_tools(seed, Meter(llm), settings)


async def test_invalid_tools_are_refused_with_the_reason_and_the_others_kept(gym: Seed) -> None:
    answer = "Here they are:\n" + json.dumps([*GOOD, *(bad for bad, _ in BAD.values())])
    toolset = await toolset_of(ListedAnswers([answer]), gym, 6, 1)
    assert [t.name for t in toolset.tools] == ["get_1", "get_2", "get_3"]
    assert [t.sql for t in toolset.sql_tools] == [good["sql"] for good in GOOD]
    assert len(toolset.refused) == len(BAD)
    for name, (_, why) in BAD.items():
        assert [r for r in toolset.refused if name in r and re.search(why, r)], (name, toolset.refused)
    assert gym.database is not None
    assert toolset.database_sha256 == sha256(gym.database)
    assert (toolset.engine, toolset.database) == ("sql", gym.database)
    assert toolset.counts["kept"] == 3


async def test_requests_repeat_until_enough_tools_are_valid_and_the_best_answer_counts(gym: Seed) -> None:
    llm = ListedAnswers(["no tools", json.dumps(GOOD), json.dumps(GOOD[:2])])
    toolset = await toolset_of(llm, gym, 10, 3)
    assert len(llm.requests) == 3
    assert len(toolset.tools) == 3
    assert toolset.counts == {"proposed": 5, "kept": 3}
    assert len({request.key for request in llm.requests}) == 3
    llm = ListedAnswers([json.dumps(GOOD)])
    assert len((await toolset_of(llm, gym, 6, 3)).tools) == 3
    assert len(llm.requests) == 1


async def test_a_retry_shows_what_was_wrong_with_the_last_answer(gym: Seed) -> None:
    llm = ListedAnswers(["no tools", json.dumps([*GOOD, BAD["drop"][0]]), "[]"])
    meter = Meter(llm)
    assert gym.database is not None
    await make_sql_toolset(gym, gym.database, meter, 10, 3, enough=5)
    first, second, third = (request.messages for request in llm.requests)
    assert second[: len(first)] == first
    assert [message.role for message in second] == ["user", "assistant", "user"]
    assert "the answer has no JSON array of tools" in second[-1].content
    assert third[: len(second)] == second
    assert "3 tools are valid, 5 are needed: drop: SELECT, INSERT, UPDATE or DELETE is expected" in third[-1].content


async def test_with_too_few_valid_tools_the_toolset_is_empty_and_says_why(gym: Seed) -> None:
    toolset = await toolset_of(ListedAnswers([json.dumps(GOOD[:2]), "", "[]"]), gym, 10, 3)
    assert toolset.tools == ()
    assert toolset.statements == {}
    assert toolset.refused[-1] == "2 tools are valid, at least 3 are needed"


async def test_the_stand_in_makes_valid_tools_and_no_more_than_requested(gym: Seed) -> None:
    assert gym.database is not None
    for max_tools in (MIN_TOOLS, 5, 12):
        toolset = await toolset_of(ScriptedLLM(), gym, max_tools, 1)
        assert len(toolset.tools) == max_tools
        assert toolset.refused == ()
        image = Image.read(gym.database)
        assert [problem for tool in toolset.sql_tools for problem in verify_tool(tool, image)] == []
    assert toolset == await toolset_of(ScriptedLLM(), gym, 12, 1)
    verbs = Counter(tool.name.partition("_")[0] for tool in toolset.tools)
    assert {"search", "list", "update", "get", "create"} <= verbs.keys()


async def test_surplus_tools_are_cut_in_order(gym: Seed) -> None:
    more = [tool(f"more_{n}", GOOD[0]["sql"], low="integer") for n in range(3)]
    toolset = await toolset_of(ListedAnswers([json.dumps([*more, *GOOD])]), gym, 4, 1)
    assert [t.name for t in toolset.tools] == ["more_0", "more_1", "more_2", "get_1"]
    assert toolset.counts == {"proposed": 6, "kept": 4}


async def test_provenance_names_model_prompt_source_and_licence(gym: Seed) -> None:
    provenance = (await toolset_of(ScriptedLLM(), gym, 5, 1)).provenance
    assert provenance.llm == "scripted"
    assert provenance.prompts.keys() == {"sql_tools"}
    assert (provenance.source, provenance.licence) == (gym.source, gym.licence)


async def test_a_file_that_is_not_a_database_is_a_user_error(gym: Seed, tmp_path: Path) -> None:
    broken = tmp_path / "broken.sqlite"
    broken.write_text("not a database, whatever its name says; " * 20)
    with pytest.raises(UserError, match="cannot be read as an SQLite database"):
        await toolset_of(ListedAnswers([]), gym.model_copy(update={"database": broken}), 5, 1)
