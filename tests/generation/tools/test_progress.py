"""What the console says while tools are made and about domains that were lost."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

from rich.console import Console

from generation.llm.base import Completion, Request
from generation.progress import GenerationProgress
from generation.scripted.llm import ScriptedLLM
from generation.seeds.bundled import BundledSeeds
from generation.seeds.sqlite import SqliteSeeds
from generation.stages import Schemas, Tools
from generation.summary import summarise
from generation.tools.progress import ToolCounts, lost_domains, unserved_parts
from generation.tools.toolset import Toolset
from generation.toolset_runner import run_toolset_stages, source_from_seed
from tests.generation.helpers.question_tools import SEED

TOOLS = Tools(max_tools=6, batch=3, attempts=2, questions=2, expansion=0)
SQL = {"name": "drop_members", "description": "D.", "sql": "DROP TABLE members", "parameters": {}, "returns": {}}


@dataclass
class Failing:
    """The stand-in, except that it answers for `domain` as told, cut off by the token limit or not."""

    domain: str
    text: str
    cut: bool = False
    inner: ScriptedLLM = field(default_factory=ScriptedLLM)
    name: str = "failing"

    async def complete(self, request: Request) -> Completion:
        completion = await self.inner.complete(request)
        if f"/{self.domain}/" not in request.key:
            return completion
        message = completion.message.model_copy(update={"content": self.text})
        return replace(completion, message=message, finish_reason="length" if self.cut else "stop")

    async def close(self) -> None: ...


def generated(llm: Failing, tmp_path: Path) -> tuple[str, ToolCounts, list[Toolset]]:
    """What the console says in the end, the bar's counts, and the toolsets."""
    console = Console(width=160)
    seeds = (*BundledSeeds(tmp_path, ["gym", "museum"]).load(), SEED)
    counts = ToolCounts()
    with console.capture() as capture:
        with GenerationProgress(console) as progress:
            _, on_toolset = progress.toolsets(len(seeds))
            sources = [source_from_seed(seed) for seed in seeds]
            stages = [TOOLS, Schemas(attempts=2)]
            run = run_toolset_stages(sources, stages, llm, tmp_path / "toolsets.jsonl", 1, on_toolset, counts.begin)
            toolsets = asyncio.run(run)
        summarise(console, [], tmp_path)
    return " ".join(capture.get().split()), counts, toolsets


def test_a_lost_domain_is_named_with_the_reason_at_once_and_in_the_summary(tmp_path: Path) -> None:
    dropped = json.dumps([SQL | {"name": f"drop_{n}"} for n in "ab"])
    text, _, (gym, *others) = generated(Failing("gym", dropped), tmp_path)
    assert gym.tools == ()
    assert all(toolset.tools for toolset in others)
    reason = "0 tools are valid, at least 3 are needed"
    assert f"gym is left out: {reason}" in text
    problem = "SELECT, INSERT, UPDATE or DELETE is expected, but DROP is given (4 of 4)"
    assert f"gym {reason} {problem}" in text.partition("Domains left out")[2]
    assert "museum 0" not in text


def test_a_domain_lost_to_cut_answers_says_so(tmp_path: Path) -> None:
    text, _, _ = generated(Failing("gym", '[{"name": "get_mem', cut=True), tmp_path)
    assert "nothing usable in 2 attempts: the answer was cut off by the token limit" in text.partition("left out")[2]


def test_without_lost_domains_there_is_no_table_of_them(tmp_path: Path) -> None:
    assert "left out" not in generated(Failing("none", ""), tmp_path)[0]


def test_many_lost_domains_are_not_all_listed() -> None:
    lost = [Toolset(domain=f"domain{n}", description="", refused=("no",)) for n in range(5)]
    console = Console(width=100)
    with console.capture() as capture:
        console.print(lost_domains(lost, 3))
    assert "domain2" in capture.get()
    assert "domain3" not in capture.get()
    assert "and 2 more" in capture.get()


def test_what_of_a_database_does_not_serve_is_named_in_the_summary(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "farm.sqlite")) as connection:
        connection.executescript(
            "CREATE TABLE cows (cow_id INTEGER PRIMARY KEY, name TEXT, stall INTEGER);"
            "INSERT INTO cows (name, stall) VALUES ('Alma', 1), ('Berta', 2), ('Zenzi', 2);"
            "CREATE VIRTUAL TABLE cows_fts USING fts5 (name);"
        )
    sources = [source_from_seed(seed) for seed in SqliteSeeds([tmp_path / "farm.sqlite"]).load()]
    path = tmp_path / "toolsets.jsonl"
    (farm,) = asyncio.run(run_toolset_stages(sources, [TOOLS], ScriptedLLM(), path, 1, lambda toolset: None))
    assert farm.tools
    assert farm.left_out == ("virtual table cows_fts",)
    console = Console(width=100)
    with console.capture() as capture:
        summarise(console, [], tmp_path)
    assert "virtual table cows_fts" in capture.get()


def test_many_parts_of_databases_are_not_all_listed() -> None:
    console = Console(width=100)
    with console.capture() as capture:
        console.print(
            unserved_parts([Toolset(domain="d", description="", left_out=tuple(f"part {n}" for n in range(5)))], 3)
        )
    assert "part 2" in capture.get()
    assert "part 3" not in capture.get()
    assert "and 2 more" in capture.get()


def test_the_bar_counts_each_roles_requests_and_bad_answers(tmp_path: Path) -> None:
    text, counts, toolsets = generated(Failing("gym", "I cannot do that."), tmp_path)
    counts.tools = 12
    usages = [toolset.provenance.usage for toolset in toolsets if toolset.provenance.usage]
    makers, writers = (
        sum(usage.roles[role].requests for usage in usages if role in usage.roles)
        for role in ("tool_maker", "schema_writer")
    )
    # Two answers for gym, the second of which repeats the first; the museum and SEED take the stand-in's.
    expected = f"12 tools · tool_maker {makers} requests, 2 unreadable · schema_writer {writers} requests"
    assert str(counts).startswith(expected)
    assert "tool_maker" in text, "the ledger has a line for each role"
    cut, _, _ = generated(Failing("museum", "[", cut=True), tmp_path / "again")
    assert "2 cut" in cut


def test_toolsets_carry_the_flaws_of_their_answers(tmp_path: Path) -> None:
    _, _, (gym, *_) = generated(Failing("gym", '[{"name": "get_mem', cut=True), tmp_path)
    assert gym.provenance.usage
    assert gym.provenance.usage.flaws == {"tool_maker/truncated": 2}


def test_a_bar_says_what_it_counts_when_it_is_drawn(tmp_path: Path) -> None:
    console = Console(width=160)
    with console.capture() as capture, GenerationProgress(console) as progress:
        on_meter, on_toolset = progress.toolsets(1)
        (source,) = [source_from_seed(seed) for seed in BundledSeeds(tmp_path, ["gym"]).load()]
        run = run_toolset_stages([source], [TOOLS], ScriptedLLM(), tmp_path / "toolsets.jsonl", 1, on_toolset, on_meter)
        asyncio.run(run)
    assert "6 tools · tool_maker 2 requests" in capture.get()
