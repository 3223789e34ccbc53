"""The identity of exported tasks: one hash for all uses, and tasks that are left out by it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.journal import read_jsonl
from core.manifest import read_manifest
from core.settings import UserError
from generation.export.report import Report
from generation.export.task_hash import HASHES, TaskHash, set_hash
from generation.worlds.task_line import TaskLine
from tests.scripts.helpers.export_runs import export


def test_one_hash_stands_for_the_tasks_of_all_uses(exported: Path, task_lines: list[TaskLine]) -> None:
    report = Report.model_validate_json((exported / "report.json").read_text())
    listed = list(read_jsonl(exported / HASHES, TaskHash))
    assert report.tasks.hash == set_hash(line.task_hash for line in listed)
    assert report.tasks.hash in (exported / "README.md").read_text()
    assert read_manifest(exported).results["tasks"]["hash"] == report.tasks.hash
    by_task = {f"{line.dialogue_id}/{line.task}": line.task_hash for line in listed}
    assert all(by_task[line.task_id] == line.task_hash for line in task_lines)
    assert report.uses == {
        "sft": report.pipelines["user_oriented_exec"].kept,
        "rl": len(task_lines),
        "inspect": len(task_lines),
    }
    in_package = read_jsonl(exported / "rl/user_oriented_tasks/worlds/tasks.jsonl", TaskLine)
    assert list(in_package) == task_lines


def test_tasks_of_an_earlier_export_are_left_out(executed_outputs: Path, exported: Path, tmp_path: Path) -> None:
    hashes = list(read_jsonl(exported / HASHES, TaskHash))
    first = hashes[0]
    hashes_file = tmp_path / HASHES
    hashes_file.write_text(first.model_dump_json() + "\n")
    held_out = export(executed_outputs, f"held_out=[{hashes_file}]")
    removed = [json.loads(line) for line in (held_out / "removed.jsonl").read_text().splitlines()]
    assert {line["why"] for line in removed} == {"tasks"}
    assert first.dialogue_id in {line["dialogue_id"] for line in removed}
    left = {line.task_hash for line in read_jsonl(held_out / HASHES, TaskHash)}
    assert first.task_hash not in left
    assert left | {first.task_hash} <= {line.task_hash for line in hashes}
    with pytest.raises(UserError, match=r"none of .* remains"):
        export(executed_outputs, f"held_out={exported}")
    with pytest.raises(UserError, match="held_out=/nowhere was given"):
        export(executed_outputs, "held_out=/nowhere")
