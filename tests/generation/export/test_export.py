"""Exports: what is written, that `datasets` reads it, the card, the report, and that order changes nothing."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import datasets
from pydantic import TypeAdapter

from core.dialogue import Dialogue
from core.journal import read_jsonl, write_jsonl
from core.messages import Message
from generation.export.dedup import Removal
from generation.export.export import export
from generation.export.index import find_dialogues
from generation.export.report import Report
from tests.generation.helpers.export_dialogues import FIND, export_settings
from tests.generation.helpers.exports import (
    DIALOGUES,
    SECRET,
    StepCounter,
    contents,
    exported,
)
from tests.generation.helpers.pipeline_runs import FinishedRun


def test_kept_dialogues_are_written_unchanged(run: tuple[Path, Report]) -> None:
    directory, report = run
    kept = [DIALOGUES[0], DIALOGUES[1]], [DIALOGUES[4], DIALOGUES[5]]
    assert tuple(read_jsonl(directory / "data" / "user_oriented.jsonl", Dialogue)) == tuple(kept[0])
    original = (directory.parent / "run" / "exec" / "dialogues.jsonl").read_bytes()
    assert (directory / "data" / "exec.jsonl").read_bytes() == original
    assert list(read_jsonl(directory / "removed.jsonl", Removal)) == [
        Removal(dialogue_id="user_oriented-3", pipeline="user_oriented", why="calls", of="user_oriented-1"),
        Removal(
            dialogue_id="user_oriented-4",
            pipeline="user_oriented",
            why="entities",
            of="exam: task 3",
            detail="agent_99",
        ),
    ]
    assert Report.model_validate_json((directory / "report.json").read_text()) == report
    counts = {name: (of.read, of.kept, of.removed) for name, of in report.pipelines.items()}
    assert counts == {"exec": (2, 2, {}), "user_oriented": (4, 2, {"calls": 1, "entities": 1})}
    assert report.unvalidated == 1


def load(what: str, cache: Path, **more: Any) -> Any:
    return datasets.load_dataset(what, cache_dir=str(cache), **more)


def test_datasets_reads_all_forms(run: tuple[Path, Report], tmp_path: Path) -> None:
    directory, _ = run
    messages = load(str(directory), tmp_path / "cache")
    assert set(messages) == {"user_oriented", "exec"}
    lines, full = (
        {
            name: load("json", tmp_path / "cache", data_files=str(directory / folder / f"{name}.jsonl"), split="train")
            for name in messages
        }
        for folder in ("messages", "data")
    )
    by_id = {line.dialogue_id: line for line in DIALOGUES}
    for form in (messages, lines):
        for row in [row for split in form.values() for row in split]:
            line = by_id[row["id"]]
            tools = json.loads(row["tools"])
            assert json.loads(row["late_tools"]) == line.late_tools
            assert tools == [FIND.openai()]
            assert (
                TypeAdapter(tuple[Message, ...]).validate_python(
                    [_without_none(message) for message in row["messages"]]
                )
                == line.messages
            )
            names = (row["pipeline"], row["domain"], row["source"], row["licence"])
            assert names == (line.pipeline, line.domain, line.provenance.source, line.provenance.licence)
    for row in full["exec"]:
        assert row["provenance"] == by_id[row["dialogue_id"]].provenance.model_dump()


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    return [_without_none(item) for item in value] if isinstance(value, list) else value


def test_neither_order_nor_files_nor_repetition_change_a_byte(run: tuple[Path, Report], tmp_path: Path) -> None:
    directory, _ = run
    expected = contents(directory)
    assert set(expected) == {
        "README.md", "report.json", "removed.jsonl", "task_hashes.jsonl",
        *(f"data/{name}.jsonl" for name in ("exec", "user_oriented")),
        *(f"messages/{name}.{kind}" for name in ("exec", "user_oriented") for kind in ("jsonl", "parquet")),
    }  # fmt: skip
    for seed in range(3):
        rng = Random(seed)
        lines = rng.sample(DIALOGUES, len(DIALOGUES))
        cut = rng.randrange(1, len(lines))
        files = [tmp_path / f"{seed}a.jsonl", tmp_path / f"{seed}b.jsonl"]
        write_jsonl(files[0], lines[:cut])
        write_jsonl(files[1], lines[cut:])
        exported(files, tmp_path / f"out{seed}")
        assert contents(tmp_path / f"out{seed}") == expected
    # Again into the same folder, as after an interruption: no leftovers, no differences.
    (directory / "README.md").unlink()
    (directory / "data" / "exec.jsonl").write_text("half a li")
    export(
        find_dialogues(tmp_path / "run"),
        directory,
        export_settings(tmp_path),
        [SECRET],
        "run-1",
        {"vllm": "0.32.0"},
        StepCounter(),
    )
    assert contents(directory) == expected


def test_table_1_by_hand(run: tuple[Path, Report]) -> None:
    rows = {(row.pipeline, row.source): row for row in run[1].statistics}
    assert set(rows) == {("exec", "bundled"), ("user_oriented", "bundled"), ("user_oriented", "spider")}
    both = rows["exec", "bundled"]
    # One dialogue with two rounds of tools in one request: 6 turns; one without: 2 turns, and no request that counts.
    assert (both.samples, both.step.mean, both.step.max) == (2, 2.0, 2)
    assert (both.turn.mean, both.turn.max, both.task.mean) == (4.0, 6, 0.0)
    assert rows["user_oriented", "spider"].step.mean == 0.0


def test_table_1_equals_that_of_the_generation(executed: FinishedRun, tmp_path: Path) -> None:
    report = exported([executed.directory / "dialogues.jsonl"], tmp_path / "out")
    (row,) = report.statistics
    assert report.pipelines["user_oriented_exec"].removed == {}
    generated = executed.statistics
    assert (row.step, row.turn, row.task, row.samples) == (
        generated.step,
        generated.turn,
        generated.task,
        generated.accepted,
    )
    # These dialogues have no toolset provenance, and a model with unrecorded sampling.
    assert set(report.provenance.missing) <= {"sampling", "source", "licence"}
    assert all(count == generated.accepted for count in report.provenance.missing.values())
