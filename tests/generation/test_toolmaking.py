"""Toolsets: bad tools of a model are refused with the reason, good ones kept; held-out databases never come in."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from rollouts import Sayer

from core.records import RecordError
from core.runs import sha256
from core.settings import UserError
from generation.llm.scripted import ScriptedLLM
from generation.seeds.base import Seed
from generation.seeds.bundled import HELD_OUT, TRAINING, BundledSeeds
from generation.toolmaking import make_toolset, make_toolsets
from generation.toolset import Toolset

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


@pytest.fixture
def gym(seeds: Sequence[Seed]) -> Seed:
    return next(seed for seed in seeds if seed.name == "gym")


async def test_tools_that_do_not_hold_are_refused_with_the_reason_and_the_others_kept(gym: Seed) -> None:
    answer = "Here they are:\n" + json.dumps([*GOOD, *(bad for bad, _ in BAD.values())])
    made = await make_toolset(Sayer([answer]), gym, 6, 1)
    assert [t.spec.name for t in made.tools] == ["get_1", "get_2", "get_3"]
    assert len(made.refused) == len(BAD)
    for name, (_, why) in BAD.items():
        assert [r for r in made.refused if name in r and re.search(why, r)], (name, made.refused)
    assert made.database_sha256 == sha256(gym.database)


async def test_it_asks_again_until_enough_hold_and_keeps_the_best_answer(gym: Seed) -> None:
    llm = Sayer(["no tools", json.dumps(GOOD), json.dumps(GOOD[:2])])
    made = await make_toolset(llm, gym, 10, 3)
    assert len(llm.requests) == 3
    assert len(made.tools) == 3
    assert len({request.key for request in llm.requests}) == 3
    llm = Sayer([json.dumps(GOOD)])
    assert len((await make_toolset(llm, gym, 6, 3)).tools) == 3
    assert len(llm.requests) == 1


async def test_too_few_tools_are_none(gym: Seed) -> None:
    made = await make_toolset(Sayer([json.dumps(GOOD[:2]), "", "[]"]), gym, 10, 3)
    assert made.tools == ()


async def test_no_more_tools_than_asked_for(gym: Seed) -> None:
    assert len((await make_toolset(ScriptedLLM(), gym, 5, 1)).tools) == 5


async def test_finished_toolsets_are_not_made_again(seeds: Sequence[Seed], tmp_path: Path) -> None:
    path = tmp_path / "toolsets.jsonl"
    await make_toolsets(ScriptedLLM(), seeds[:1], path, 10, 3, lambda toolset: None)
    first = path.read_bytes()
    told: list[Toolset] = []
    made = await make_toolsets(ScriptedLLM(seed=9), seeds, path, 10, 3, told.append)
    assert path.read_bytes().startswith(first)
    assert [toolset.domain for toolset in made] == [seed.name for seed in seeds]
    assert told == made
    path.write_bytes(b"{}\n" + first)
    with pytest.raises(RecordError, match=f"{path}, line 1"):
        await make_toolsets(ScriptedLLM(), seeds, path, 10, 3, told.append)


async def test_a_domain_without_enough_tools_is_left_out(seeds: Sequence[Seed], tmp_path: Path) -> None:
    class Partial(ScriptedLLM):
        async def complete(self, request: Any) -> Any:
            return await (Sayer([""]) if "gym" in request.key else super()).complete(request)

    told: list[Toolset] = []
    made = await make_toolsets(Partial(), seeds, tmp_path / "toolsets.jsonl", 10, 2, told.append)
    assert [toolset.domain for toolset in made] == ["clinic", "library"]
    assert [toolset.domain for toolset in told] == ["clinic", "gym", "library"]


async def test_held_out_databases_are_refused_and_never_among_the_default_ones(tmp_path: Path) -> None:
    held_out = BundledSeeds(tmp_path, held_out=True).load()
    assert {seed.name for seed in held_out} == set(HELD_OUT)
    assert len(HELD_OUT) == 3
    with pytest.raises(UserError, match=r"held-out databases are for evaluation.*film_festival, freight, repair_shop"):
        await make_toolsets(ScriptedLLM(), held_out, tmp_path / "toolsets.jsonl", 10, 1, lambda toolset: None)
    assert not (tmp_path / "toolsets.jsonl").exists()
    assert not set(HELD_OUT) & {seed.name for seed in BundledSeeds(tmp_path).load()}
    assert not set(HELD_OUT) & set(TRAINING)
