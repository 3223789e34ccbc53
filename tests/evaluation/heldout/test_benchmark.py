"""The held-out benchmark with models in this process: scores, the selected databases, and the tasks on them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.dialogue import Dialogue, Task
from core.journal import read_jsonl, write_jsonl
from core.messages import AssistantMessage, FunctionCall, ToolCall, ToolSpec
from core.settings import UserError
from evaluation.benchmark import EvaluationContext
from evaluation.heldout.databases import HeldoutDatabases
from evaluation.heldout.outcome import count_calls
from evaluation.known_answers.heldout_agents import KnownAgent
from evaluation.known_answers.heldout_check import KnownModel
from evaluation.known_answers.heldout_wrong_agents import Careless
from generation.scripted.llm import ScriptedLLM
from generation.seeds.bundled import HELD_OUT, BundledSeeds
from generation.seeds.spider import SpiderSeeds
from generation.seeds.sqlite import SqliteSeeds
from generation.tools.toolset import Toolset
from tests.evaluation.helpers.heldout import NOWHERE, MakeHeldout, dialogues, run_heldout
from tests.evaluation.helpers.replay import AnswerPolicy, ReplayServer

Serve = Callable[[AnswerPolicy], ReplayServer]


def test_gold_calls_score_one(settings: dict[str, Any], heldout: MakeHeldout, generation: Path, tmp_path: Path) -> None:
    benchmark = heldout(settings | {"dialogues": 24})
    records = run_heldout(ScriptedLLM(error_rate=0.0), benchmark, generation, tmp_path, trials=2)
    assert [r for r in records if r.success is not True] == []
    assert len(records) == 2 * 24 * 2
    assert all(r.calls == r.valid_calls > 0 and r.stop_reason == "complete" for r in records)
    assert benchmark.metrics(records) == {"trained_databases": 1.0, "unseen_databases": 1.0}
    by_trial = dialogues(tmp_path)
    for name, dialogue in by_trial.items():
        assert dialogue.tasks == by_trial[f"{name[:-1]}0"].tasks, "each trial has the same tasks"


def is_even(task_id: str) -> bool:
    return int(task_id.partition("/")[0][-1]) % 2 == 0


def careless_with_odd_dialogues(task: Task, *rest: Any) -> KnownAgent:
    return (KnownAgent if is_even(task.task_id) else Careless)(task, *rest)


def test_exactly_the_mistaken_dialogues_fail_and_their_transcripts_explain_why(
    settings: dict[str, Any], heldout: MakeHeldout, generation: Path, tmp_path: Path
) -> None:
    model = KnownModel("half", careless_with_odd_dialogues)
    records = run_heldout(model, heldout(settings | {"dialogues": 24}), generation, tmp_path)
    assert {record.success for record in records} == {True, False}
    assert [record.key for record in records if record.success is not is_even(record.task_id)] == []
    assert all(record.infrastructure_error is None for record in records)
    for record in records:
        text = (tmp_path / str(record.transcript)).read_text()
        assert record.task_id in text.splitlines()[0]
        assert ("FAILED " in text) == (not record.success)
        assert "gold: " in text
        assert "--- user" in text


def test_tasks_are_unseen_and_kinds_of_databases_disjoint(
    settings: dict[str, Any], heldout: MakeHeldout, generation: Path, tmp_path: Path
) -> None:
    run_heldout(ScriptedLLM(error_rate=0.0), heldout(settings | {"dialogues": 24}), generation, tmp_path)
    lines = (generation / "user_oriented_exec" / "dialogues.jsonl").read_text().splitlines()
    trained = {task["goal"] for line in lines for task in json.loads(json.loads(line)["tasks"])}
    by_trial = dialogues(tmp_path)
    on_trained = {t.goal for name, d in by_trial.items() if "trained_databases" in name for t in d.tasks}
    assert len(on_trained) > 10
    assert not on_trained & trained
    assert {d.domain for name, d in by_trial.items() if "unseen_databases" in name} == set(HELD_OUT)
    toolsets = {toolset.domain for toolset in read_jsonl(generation / "toolsets.jsonl", Toolset)}
    assert {d.domain for name, d in by_trial.items() if "trained_databases" in name} == toolsets
    assert not toolsets & set(HELD_OUT)


def databases(context: EvaluationContext, cache: Path, path: Path) -> HeldoutDatabases:
    unseen = BundledSeeds(cache, held_out=True)
    return HeldoutDatabases(unseen, ScriptedLLM(), context, path, max_tools=9, policy_rules=0, rows_per_table=5, seed=1)


def test_goals_of_all_training_data_are_excluded(generation: Path, cache: Path, tmp_path: Path) -> None:
    """The task writer rejects excluded goals (tests/generation/tasks/test_writer.py), of other models' training data,
    too."""
    other = tmp_path / "other"
    lines = list(read_jsonl(generation / "user_oriented_exec" / "dialogues.jsonl", Dialogue))
    goals = {task.goal for dialogue in lines for task in dialogue.tasks}
    task = lines[0].tasks[0].model_copy(update={"goal": "A goal of the other model's."})
    write_jsonl(other / "p" / "dialogues.jsonl", [lines[0].model_copy(update={"tasks": (task,)})])
    write_jsonl(other / "toolsets.jsonl", [])
    context = EvaluationContext(NOWHERE, 1, (generation,), all_generations=(other, generation))
    found = asyncio.run(databases(context, cache, tmp_path / "t.jsonl").find(["unseen_databases", "trained_databases"]))
    for domains in found.values():
        assert all(tools.domain.excluded_goals == {*goals, task.goal} for tools in domains)


def test_validation_domains_are_not_trained_databases(generation: Path, cache: Path, tmp_path: Path) -> None:
    context = EvaluationContext(NOWHERE, 1, (generation,), validation_domains=frozenset({"gym"}))
    found = asyncio.run(databases(context, cache, tmp_path / "t.jsonl").find(["trained_databases"]))
    assert [tools.domain.name for tools in found["trained_databases"]] == ["library"]


def test_databases_of_several_generation_runs_keep_the_tools_of_the_first(
    generation: Path, cache: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    toolsets = list(read_jsonl(generation / "toolsets.jsonl", Toolset))
    (other / "p").mkdir(parents=True)
    renamed = toolsets[0].model_copy(update={"domain": "renamed"})
    fewer = toolsets[0].model_copy(update={"tools": toolsets[0].tools[:3]})
    write_jsonl(other / "toolsets.jsonl", [fewer, renamed])
    for own, first in (((generation, other), toolsets[0]), ((other, generation), fewer)):
        context = EvaluationContext(NOWHERE, 1, own)
        found = asyncio.run(databases(context, cache, tmp_path / "t.jsonl").find(["trained_databases"]))
        by_name = {tools.domain.name: tools.toolset.tools for tools in found["trained_databases"]}
        assert set(by_name) == {"renamed", *(toolset.domain for toolset in toolsets)}
        assert by_name[toolsets[0].domain] == first.tools


def test_every_model_of_a_run_is_given_the_same_tasks(
    settings: dict[str, Any], heldout: MakeHeldout, generation: Path, tmp_path: Path
) -> None:
    """Even if the task writer would write other ones the second time, as a real model may."""
    tasks = []
    for name, seed in (("first", 0), ("second", 5)):
        benchmark, shared = heldout(settings, ScriptedLLM(seed=seed)), tmp_path / "shared"
        run_heldout(ScriptedLLM(error_rate=0.0), benchmark, generation, tmp_path / name, shared=shared)
        tasks.append({key: dialogue.tasks for key, dialogue in dialogues(tmp_path / name).items()})
    assert tasks[0] == tasks[1]


def test_any_database_can_be_the_unseen_one(
    settings: dict[str, Any], heldout: MakeHeldout, cache: Path, tmp_path: Path
) -> None:
    (seed,) = BundledSeeds(cache, ["museum"]).load()
    assert seed.database
    folder = tmp_path / "spider" / "database" / "mine"
    folder.mkdir(parents=True)
    (folder / "mine.sqlite").write_bytes(seed.database.read_bytes())
    (tmp_path / "spider" / "tables.json").write_text(json.dumps([{"db_id": "mine", "table_names": ["works"]}]))
    only = settings | {"categories": ["unseen_databases"], "dialogues": 3}
    for name, seeds in {
        "sqlite": SqliteSeeds([folder / "mine.sqlite"]),
        "spider": SpiderSeeds(tmp_path / "spider"),
    }.items():
        records = run_heldout(ScriptedLLM(error_rate=0.0), heldout(only, databases=seeds), None, tmp_path / name)
        assert [(r.axes["database"], r.success) for r in records] == [("mine", True)] * 3


def test_a_trained_database_is_refused_as_unseen(
    settings: dict[str, Any], heldout: MakeHeldout, generation: Path, cache: Path, tmp_path: Path
) -> None:
    benchmark = heldout(settings, databases=BundledSeeds(cache, ["library"]))
    with pytest.raises(UserError, match="the database library was trained on"):
        run_heldout(ScriptedLLM(), benchmark, generation, tmp_path)


def test_a_misspelt_key_is_named(settings: dict[str, Any], heldout: MakeHeldout) -> None:
    with pytest.raises(UserError, match=r"benchmarks.heldout.dialoges.*did you mean 'dialogues'"):
        heldout(settings | {"dialoges": 3})


def test_valid_calls_are_declared_and_fit_their_schema() -> None:
    schema = {"type": "object", "properties": {"id": {"type": "integer"}}, "required": ["id"]}
    tools = (ToolSpec(name="get", description="get", parameters=schema),)
    arguments = ['{"id": 3}', '{"id": "3"}', "{}", "[]", "{", '{"id": 3, "more": 1}']
    calls = [ToolCall(id=str(i), function=FunctionCall(name="get", arguments=a)) for i, a in enumerate(arguments)]
    calls.append(ToolCall.make("x", "put", {"id": 3}))
    messages = [AssistantMessage(content="hm"), AssistantMessage(tool_calls=tuple(calls))]
    dialogue = Dialogue(dialogue_id="d", pipeline="p", domain="x", tools=tools, messages=tuple(messages))
    assert count_calls(dialogue) == (2, 7)
