"""The toolset stages on many domains: interrupted, failing for one of them, started from files."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.journal import read_jsonl, write_jsonl
from core.messages import UserMessage
from core.runs import sha256
from core.settings import UserError
from generation.llm.base import LLMError, Request, UnusableAnswerError
from generation.llm.contexts import DomainContext
from generation.llm.meter import Meter
from generation.scripted.llm import ScriptedLLM
from generation.seeds.base import Seed
from generation.stages import ToolsetStage
from generation.tools.toolset import Toolset
from generation.toolset_runner import ToolsetSource, failed_domains, run_toolset_stages, sources_from_file
from tests.generation.helpers.pipeline_runs import ListedAnswers
from tests.generation.helpers.shop_database import STRING, build, tool

GET = tool("get_customer", "SELECT * FROM customers WHERE name = :name", name=STRING)
NAMES = ["b", "a", "d", "c"]


def toolset(domain: str, **more: Any) -> Toolset:
    return Toolset(domain=domain, description="", tools=(GET.spec,), **more)


class Marking:
    """A stage that records the domains it gets and fails for some."""

    def __init__(self, problems: dict[str, Exception]) -> None:
        self.problems = problems
        self.seen: list[str] = []

    async def toolset(self, toolset: Toolset, seed: Seed | None, meter: Meter) -> Toolset:
        self.seen.append(toolset.domain)
        await asyncio.sleep(0)
        if toolset.domain in self.problems:
            raise self.problems[toolset.domain]
        return toolset.model_copy(update={"description": "seen"})


def run(stage: ToolsetStage, path: Path, on_toolset: Callable[[Toolset], None] = lambda _: None) -> list[Toolset]:
    toolset_sources = [ToolsetSource(toolset(name), None) for name in NAMES]
    return asyncio.run(run_toolset_stages(toolset_sources, [stage], ScriptedLLM(), path, 2, on_toolset))


def test_a_domain_that_fails_is_left_without_tools_and_reported(tmp_path: Path) -> None:
    problems = {"a": UnusableAnswerError("tool_maker", "no JSON"), "d": KeyError("columns \ud83d")}
    reported: list[str] = []
    toolsets = run(Marking(problems), tmp_path / "toolsets.jsonl", lambda toolset: reported.append(toolset.domain))
    assert [(t.domain, len(t.tools)) for t in toolsets] == [("b", 1), ("a", 0), ("d", 0), ("c", 1)]
    assert [t.refused for t in toolsets] == [
        (),
        ("tool_maker: no JSON",),
        (f"internal: KeyError: {str(problems['d']).encode(errors='replace').decode()}",),
        (),
    ]
    assert sorted(reported) == sorted(NAMES)
    assert list(read_jsonl(tmp_path / "toolsets.jsonl", Toolset)) == toolsets
    assert failed_domains(tmp_path / "toolsets.jsonl") == ["d"]


@pytest.mark.parametrize("problem", [LLMError("gone"), UserError("the key is wrong")])
def test_an_error_that_hits_every_domain_ends_the_run_and_finished_toolsets_are_kept(
    problem: Exception, tmp_path: Path
) -> None:
    path = tmp_path / "toolsets.jsonl"
    with pytest.raises(UserError, match=r"gone|wrong"):
        run(Marking({"c": problem}), path)
    assert not path.exists()
    done = [t.domain for t in read_jsonl(tmp_path / "toolsets.journal.jsonl", Toolset)]
    assert done
    again = Marking({})
    assert [t.domain for t in run(again, path)] == NAMES
    assert sorted([*done, *again.seen]) == sorted(NAMES)


def test_the_recorded_usage_of_an_existing_toolset_is_kept(tmp_path: Path) -> None:
    spent = toolset("x", provenance={"source": "theirs", "usage": {"requests": 7}})
    path = tmp_path / "toolsets.jsonl"
    assert asyncio.run(
        run_toolset_stages([ToolsetSource(spent, None)], [], ScriptedLLM(), path, 1, lambda _: None)
    ) == [spent]


class Asking:
    """A stage whose request another model answers."""

    async def toolset(self, toolset: Toolset, seed: Seed | None, meter: Meter) -> Toolset:
        context = DomainContext("x", toolset.tools, None)
        request = Request(
            role="tool_maker", messages=(UserMessage(content="?"),), key="x", affinity="x", context=context
        )
        await meter.complete(request)
        return toolset


def test_a_model_that_added_to_a_toolset_is_named_by_its_role(tmp_path: Path) -> None:
    made = toolset("x", provenance={"llm": "first"})
    for name, others in (("second", {"tool_maker": "second"}), ("first", {})):
        llm = ListedAnswers(["answer"], name)
        path = tmp_path / name / "toolsets.jsonl"
        path.parent.mkdir()
        (done,) = asyncio.run(run_toolset_stages([ToolsetSource(made, None)], [Asking()], llm, path, 1, lambda _: None))
        assert done.provenance.llm == "first"
        assert done.provenance.llms == others


def test_toolsets_that_cannot_be_executed_are_refused(tmp_path: Path) -> None:
    database, path = build(tmp_path / "shop.sqlite"), tmp_path / "toolsets.jsonl"
    valid = toolset("shop", engine="sql", database=database, statements={"get_customer": GET.sql})

    def read(**changes: Any) -> list[ToolsetSource]:
        write_jsonl(path, [valid.model_copy(update=changes)])
        return sources_from_file(path)

    assert [source.toolset for source in read(database_sha256=sha256(database))] == [
        valid.model_copy(update={"database_sha256": sha256(database)})
    ]
    (found,) = read(database=Path(database.name))
    assert found.toolset.database == database
    with pytest.raises(UserError, match=r"shop has engine sql, but no statements for its tools \['get_customer'\]"):
        read(statements={})
    with pytest.raises(UserError, match=r"nowhere\.sqlite is not the database of this toolset: no such file"):
        read(database=tmp_path / "nowhere.sqlite")
    with pytest.raises(UserError, match=r"is not the database of this toolset \(SHA-256 differs\)"):
        read(database_sha256="0" * 64)
    write_jsonl(path, [valid, valid])
    with pytest.raises(UserError, match="two toolsets have the same domain"):
        sources_from_file(path)


def test_the_database_next_to_the_toolsets_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not a file of the same name in the current directory, which is used only if there is no other."""
    folder, current = tmp_path / "worlds", tmp_path / "current"
    path, name = folder / "toolsets.jsonl", Path("databases/shop.sqlite")
    for place in (folder, current):
        (place / "databases").mkdir(parents=True)
    database = build(folder / name)
    (current / name).write_bytes(b"another")
    write_jsonl(path, [toolset("shop", database=name, database_sha256=sha256(database))])
    monkeypatch.chdir(current)
    (found,) = sources_from_file(path)
    assert found.toolset.database == database
    database.rename(current / name)
    (found,) = sources_from_file(path)
    assert found.toolset.database == name
