"""The held-out benchmark: gold calls score everything, silence nothing, and what the model was never asked is no score."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.dialogue import Dialogue
from core.journal import read_jsonl, write_jsonl
from core.messages import AssistantMessage, FunctionCall, ToolCall, ToolSpec
from core.settings import UserError
from evaluation.benchmark import EvaluationContext
from evaluation.heldout.benchmark import count_calls
from evaluation.heldout.databases import Domains, DomainSettings
from generation.scripted.llm import ScriptedLLM
from generation.seeds.bundled import HELD_OUT, BundledSeeds
from generation.seeds.spider import SpiderSeeds
from generation.seeds.sqlite import SqliteSeeds
from generation.tools.toolset import Toolset
from tests.evaluation.helpers.heldout import NOWHERE, Local, Make, dialogues, hold
from tests.evaluation.helpers.replay import AnswerPolicy, ReplayServer

Serve = Callable[[AnswerPolicy], ReplayServer]


def test_gold_calls_score_everything(settings: dict[str, Any], heldout: Make, generation: Path, tmp_path: Path) -> None:
    benchmark = heldout(settings | {"dialogues": 24})
    records = hold(ScriptedLLM(error_rate=0.0), benchmark, generation, tmp_path, trials=2)
    assert [r for r in records if r.success is not True] == []
    assert len(records) == 2 * 24 * 2
    assert all(r.calls == r.valid_calls > 0 and r.stop_reason == "complete" for r in records)
    assert benchmark.metrics(records) == {"trained_databases": 1.0, "unseen_databases": 1.0}
    held = dialogues(tmp_path)
    for name, dialogue in held.items():
        assert dialogue.tasks == held[f"{name[:-1]}0"].tasks, "each trial poses the same task"


def test_a_model_that_slips_scores_between_and_its_transcripts_say_why(
    settings: dict[str, Any], heldout: Make, generation: Path, tmp_path: Path
) -> None:
    records = hold(ScriptedLLM(error_rate=1.0), heldout(settings | {"dialogues": 24}), generation, tmp_path)
    passed = sum(bool(record.success) for record in records)
    assert 0 < passed < len(records)
    assert all(record.infrastructure_error is None for record in records)
    for record in records:
        text = (tmp_path / str(record.transcript)).read_text()
        assert record.task_id in text.splitlines()[0]
        assert ("FAILED " in text) == (not record.success)
        assert "gold: " in text
        assert "--- user" in text


def test_tasks_are_unseen_and_databases_kept_apart(
    settings: dict[str, Any], heldout: Make, generation: Path, tmp_path: Path
) -> None:
    hold(ScriptedLLM(error_rate=0.0), heldout(settings | {"dialogues": 24}), generation, tmp_path)
    lines = (generation / "user_oriented_exec" / "dialogues.jsonl").read_text().splitlines()
    trained = {task["goal"] for line in lines for task in json.loads(line)["tasks"]}
    held = dialogues(tmp_path)
    on_trained = {t.goal for name, d in held.items() if "trained_databases" in name for t in d.tasks}
    assert len(on_trained) > 10
    assert not on_trained & trained
    assert {d.domain for name, d in held.items() if "unseen_databases" in name} == set(HELD_OUT)
    toolsets = {toolset.domain for toolset in read_jsonl(generation / "toolsets.jsonl", Toolset)}
    assert {d.domain for name, d in held.items() if "trained_databases" in name} == toolsets
    assert not toolsets & set(HELD_OUT)


def domains(context: EvaluationContext, cache: Path, path: Path) -> Domains:
    reading = DomainSettings(max_tools=9, rows_per_table=5, seed=1)
    return Domains(BundledSeeds(cache, held_out=True), ScriptedLLM(), context, reading, path)


def test_every_goal_of_all_training_data_is_known_to_the_task_writer(
    generation: Path, cache: Path, tmp_path: Path
) -> None:
    """It refuses those it knows (tests/generation/tasks/test_writer.py). Another model's training data count too."""
    other = tmp_path / "other"
    lines = list(read_jsonl(generation / "user_oriented_exec" / "dialogues.jsonl", Dialogue))
    goals = {task.goal for dialogue in lines for task in dialogue.tasks}
    task = lines[0].tasks[0].model_copy(update={"goal": "A goal of the other model's."})
    write_jsonl(other / "p" / "dialogues.jsonl", [lines[0].model_copy(update={"tasks": (task,)})])
    write_jsonl(other / "toolsets.jsonl", [])
    context = EvaluationContext(NOWHERE, 1, generation, all_generations=(other, generation))
    found = asyncio.run(domains(context, cache, tmp_path / "t.jsonl").find(["unseen_databases", "trained_databases"]))
    for own in found.values():
        assert all(subject.domain.excluded_goals == {*goals, task.goal} for subject in own)


def test_what_was_held_back_is_not_called_trained(generation: Path, cache: Path, tmp_path: Path) -> None:
    context = EvaluationContext(NOWHERE, 1, generation, validation_domains=frozenset({"gym"}))
    found = asyncio.run(domains(context, cache, tmp_path / "t.jsonl").find(["trained_databases"]))
    assert [subject.domain.name for subject in found["trained_databases"]] == ["library"]


def test_every_model_of_a_run_is_given_the_same_tasks(
    settings: dict[str, Any], heldout: Make, generation: Path, tmp_path: Path
) -> None:
    """Also where the writer would write others by now, as a real model may."""
    held = []
    for name, seed in (("first", 0), ("second", 5)):
        context = EvaluationContext(NOWHERE, 1, generation, shared=tmp_path / "shared")
        session = Local(heldout(settings, ScriptedLLM(seed=seed)), context, tmp_path / name)
        session.llm = ScriptedLLM(error_rate=0.0)
        asyncio.run(session.run())
        held.append({key: dialogue.tasks for key, dialogue in dialogues(tmp_path / name).items()})
    assert held[0] == held[1]


def test_any_database_can_be_the_unseen_one(
    settings: dict[str, Any], heldout: Make, cache: Path, tmp_path: Path
) -> None:
    (seed,) = BundledSeeds(cache, ["museum"]).load()
    assert seed.database
    folder = tmp_path / "spider" / "database" / "mine"
    folder.mkdir(parents=True)
    (folder / "mine.sqlite").write_bytes(seed.database.read_bytes())
    (tmp_path / "spider" / "tables.json").write_text(json.dumps([{"db_id": "mine", "table_names": ["works"]}]))
    only = settings | {"categories": ["unseen_databases"], "dialogues": 3}
    for name, databases in {
        "sqlite": SqliteSeeds([folder / "mine.sqlite"]),
        "spider": SpiderSeeds(tmp_path / "spider"),
    }.items():
        records = hold(ScriptedLLM(error_rate=0.0), heldout(only, databases=databases), None, tmp_path / name)
        assert [(r.axes["database"], r.success) for r in records] == [("mine", True)] * 3


def test_a_database_that_was_trained_on_is_not_unseen(
    settings: dict[str, Any], heldout: Make, generation: Path, cache: Path, tmp_path: Path
) -> None:
    benchmark = heldout(settings, databases=BundledSeeds(cache, ["library"]))
    with pytest.raises(UserError, match="the database library was trained on"):
        hold(ScriptedLLM(), benchmark, generation, tmp_path)


def test_a_misspelt_setting_names_itself(settings: dict[str, Any], heldout: Make) -> None:
    with pytest.raises(UserError, match=r"benchmarks.heldout.dialoges.*did you mean 'dialogues'"):
        heldout(settings | {"dialoges": 3})


def test_valid_calls_are_declared_and_fit() -> None:
    schema = {"type": "object", "properties": {"id": {"type": "integer"}}, "required": ["id"]}
    tools = (ToolSpec(name="get", description="get", parameters=schema),)
    arguments = ['{"id": 3}', '{"id": "3"}', "{}", "[]", "{", '{"id": 3, "more": 1}']
    calls = [ToolCall(id=str(i), function=FunctionCall(name="get", arguments=a)) for i, a in enumerate(arguments)]
    calls.append(ToolCall.make("x", "put", {"id": 3}))
    messages = [AssistantMessage(content="hm"), AssistantMessage(tool_calls=tuple(calls))]
    dialogue = Dialogue(dialogue_id="d", pipeline="p", domain="x", tools=tools, messages=tuple(messages))
    assert count_calls(dialogue) == (2, 7)
