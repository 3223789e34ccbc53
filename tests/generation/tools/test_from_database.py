"""SQL tools for a database: invalid proposals are refused with the reason, and the best answer counts."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.runs import sha256
from core.settings import UserError
from generation.database.image import Image
from generation.database.sql_tools import verify_tool
from generation.llm.base import LLM, Completion, Request
from generation.llm.meter import Meter
from generation.scripted.llm import ScriptedLLM
from generation.seeds.base import Seed
from generation.seeds.bundled import BundledSeeds
from generation.tools.from_questions import ToolmakingSettings, make_tools
from generation.tools.toolset import MIN_TOOLS, Toolset
from tests.generation.helpers.pipeline_runs import ListedAnswers

ROWS = {"type": "array", "items": {"type": "object", "properties": {"member_id": {"type": "integer"}}}}


def tool(name: str, sql: str, returns: dict[str, Any] | None = None, **parameters: str) -> dict[str, Any]:
    properties = {key: {"type": kind} for key, kind in parameters.items()}
    schema = {"type": "object", "properties": properties, "required": list(properties)}
    return {"name": name, "description": name, "parameters": schema, "returns": returns or ROWS, "sql": sql}


CHANGED = {"type": "object", "properties": {"rows_affected": {"type": "integer"}}}
TRAINERS = {"type": "array", "items": {"type": "object", "properties": {"trainer_id": {"type": "integer"}}}}
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
    "bad name": (tool("bad name", "SELECT member_id FROM members LIMIT 1"), '"name" is not snake_case'),
    "no_sql": ({key: value for key, value in tool("no_sql", "").items() if key != "sql"}, '"sql" is missing'),
    "same": (tool("same", GOOD[0]["sql"] + ";", low="integer"), "it does the same as get_1"),
}


@pytest.fixture(scope="module")
def gym(tmp_path_factory: pytest.TempPathFactory) -> Seed:
    return BundledSeeds(tmp_path_factory.mktemp("gym"), ["gym"]).load()[0]


async def toolset_of(llm: LLM, seed: Seed, max_tools: int, attempts: int, batch: int = 5) -> Toolset:
    """The toolset as stage 1 makes it."""
    settings = ToolmakingSettings(max_tools=max_tools, batch=batch, attempts=attempts, questions=20, expansion=10)
    return await make_tools(seed, Meter(llm), settings)


class Cut(ListedAnswers):
    """Answers, each cut off by the token limit."""

    async def complete(self, request: Request) -> Completion:
        return replace(await super().complete(request), finish_reason="length")


async def test_invalid_tools_are_refused_with_the_reason_and_the_others_kept(gym: Seed) -> None:
    answer = "Here they are:\n" + json.dumps([*GOOD, *(bad for bad, _ in BAD.values())])
    toolset = await toolset_of(ListedAnswers([answer, "[]"]), gym, 6, 1)
    assert [t.name for t in toolset.tools] == ["get_1", "get_2", "get_3"]
    assert [t.sql for t in toolset.sql_tools] == [good["sql"] for good in GOOD]
    assert len(toolset.refused) == len(BAD)
    for name, (_, why) in BAD.items():
        assert [r for r in toolset.refused if name in r and re.search(why, r)], (name, toolset.refused)
    assert gym.database is not None
    assert toolset.database_sha256 == sha256(gym.database)
    assert (toolset.engine, toolset.database) == ("sql", gym.database)
    assert toolset.counts["kept"] == 3


async def test_batches_add_up_to_the_wanted_number_and_see_what_is_there(gym: Seed) -> None:
    more = [
        tool(
            "update_email",
            "UPDATE members SET email = :email WHERE member_id = :id",
            CHANGED,
            id="integer",
            email="string",
        ),
        tool("list_trainers", "SELECT trainer_id FROM trainers LIMIT 9", TRAINERS),
        tool("list_more", "SELECT trainer_id FROM trainers LIMIT 5", TRAINERS),
    ]
    llm = ListedAnswers([json.dumps(GOOD[:2]), json.dumps([GOOD[2], BAD["drop"][0]]), json.dumps(more)])
    toolset = await toolset_of(llm, gym, 5, 3, batch=2)
    assert [t.name for t in toolset.tools] == ["get_1", "get_2", "get_3", "update_email", "list_trainers"]
    assert toolset.counts == {"batches": 3, "proposed": 7, "kept": 5}
    assert len({request.key for request in llm.requests}) == 3
    first, second, third = (request.messages[0].content for request in llm.requests)
    assert "Write the 2 tools" in first
    assert "already" not in first
    assert "- get_1: get_1\n- get_2: get_2\n" in second
    assert "No tool reads: bookings, classes, payments, plans, trainers." in second
    assert (
        "No tool changes: bookings, classes, members, payments, plans, trainers.\nNo tool uses: INSERT, UPDATE, DELETE."
        in second
    )
    assert "Write at most 2 further tools" in second
    assert "drop: SELECT, INSERT, UPDATE or DELETE is expected" in third
    rules, schema, _ = first.rpartition(");")
    assert second.startswith(rules + schema), "rules, example and schema come first, so that batches share them"


async def test_a_batch_without_news_ends_the_requests(gym: Seed) -> None:
    llm = ListedAnswers([json.dumps(GOOD), "[]"])
    toolset = await toolset_of(llm, gym, 20, 3)
    assert len(toolset.tools) == len(GOOD)
    assert len(llm.requests) == 2
    assert [request.json_schema["minItems"] for request in llm.requests if request.json_schema] == [1, 0]


async def test_answers_that_add_nothing_are_sent_back_and_end_the_requests_after_some_attempts(gym: Seed) -> None:
    llm = ListedAnswers([json.dumps(GOOD), "no tools", json.dumps([BAD["drop"][0]]), json.dumps(GOOD[:1])])
    toolset = await toolset_of(llm, gym, 20, 3)
    assert [t.name for t in toolset.tools] == ["get_1", "get_2", "get_3"], "the valid tools of the first answer stay"
    _, second, third, fourth = (request.messages for request in llm.requests)
    assert [message.role for message in third] == ["user", "assistant", "user"]
    assert third[: len(second)] == second
    assert "expected a JSON array" in third[-1].content
    assert fourth[: len(third)] == third
    assert "drop: SELECT, INSERT, UPDATE or DELETE is expected" in fourth[-1].content
    assert toolset.refused[-1] == "get_1: there is a tool of that name already"


async def test_the_whole_tools_of_a_cut_answer_are_kept(gym: Seed) -> None:
    cut = json.dumps(GOOD, indent=1)[:-40]
    toolset = await toolset_of(Cut([cut, json.dumps(GOOD[2:])]), gym, 3, 1)
    assert [t.name for t in toolset.tools] == ["get_1", "get_2", "get_3"]
    assert toolset.counts == {"batches": 2, "proposed": 3, "kept": 3}


async def test_only_cut_answers_without_a_whole_tool_say_so(gym: Seed) -> None:
    cut = json.dumps(GOOD)[:60]
    toolset = await toolset_of(Cut([cut, cut]), gym, 3, 3)
    assert toolset.tools == ()
    assert toolset.refused == (
        "batch 1: nothing usable in 2 attempts: the answer was cut off by the token limit; the model repeats its answer",
        "0 tools are valid, at least 3 are needed",
    )


async def test_an_empty_first_answer_is_sent_back(gym: Seed) -> None:
    llm = ListedAnswers(["[]", json.dumps(GOOD)])
    assert len((await toolset_of(llm, gym, 3, 2)).tools) == 3
    assert "the array is empty, but at least 3 tools are needed" in llm.requests[1].messages[-1].content


async def test_with_too_few_valid_tools_the_toolset_is_empty_and_says_why(gym: Seed) -> None:
    toolset = await toolset_of(ListedAnswers([json.dumps(GOOD[:2]), "", "", ""]), gym, 10, 3)
    assert toolset.tools == ()
    assert toolset.statements == {}
    assert toolset.refused[-1] == "2 tools are valid, at least 3 are needed"
    assert toolset.refused[0].startswith("batch 2: nothing usable in 3 attempts: ")


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
    more = [tool(f"more_{n}", f"SELECT member_id FROM members LIMIT {n}") for n in (4, 5, 6)]
    toolset = await toolset_of(ListedAnswers([json.dumps([*more, *GOOD])]), gym, 4, 1)
    assert [t.name for t in toolset.tools] == ["more_4", "more_5", "more_6", "get_1"]
    assert toolset.counts == {"batches": 1, "proposed": 6, "kept": 4}


async def test_provenance_names_model_prompt_source_and_licence(gym: Seed) -> None:
    provenance = (await toolset_of(ScriptedLLM(), gym, 5, 1)).provenance
    assert provenance.llm == "scripted"
    assert provenance.prompts.keys() == {"sql_tools"}
    assert (provenance.source, provenance.licence) == (gym.source, gym.licence)


async def test_a_file_that_is_not_a_database_is_a_user_error(gym: Seed, tmp_path: Path) -> None:
    broken = tmp_path / "broken.sqlite"
    broken.write_text("not a database, whatever its name says; " * 20)
    with pytest.raises(UserError, match="it is not an SQLite database"):
        await toolset_of(ListedAnswers([]), gym.model_copy(update={"database": broken}), 5, 1)
