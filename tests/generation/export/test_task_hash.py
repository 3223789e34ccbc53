"""The identity of tasks: what changes it, and what does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from core.dialogue import PlannedCall, Rubric, Task
from core.journal import RecordError
from generation.export.task_hash import HASHES, TaskHash, read_held_out, set_hash
from generation.worlds.task_line import task_hash

CALL = PlannedCall(tool="update_city", arguments={"id": 14, "city": "Oslo"})
TASK = Task(
    task_id="a/t0",
    goal="The user wants to move adopter 14 to Oslo.",
    subgoals=("move adopter 14 to Oslo",),
    difficulty="easy",
    rubric=Rubric(criteria=("It moved.",)),
    gold_calls=(CALL,),
    told_values=("Oslo",),
)


@pytest.mark.parametrize(
    "same",
    [
        {"task_id": "b/t7", "rubric": Rubric(criteria=()), "difficulty": "hard"},
        {"goal": "the user wants to move adopter 14 to OSLO"},
        {"gold_calls": (CALL.model_copy(update={"arguments": {"city": " Oslo ", "id": 14.0}}),)},
        {"follows_from": "a/t1", "late_tools": ("update_city",)},
    ],
)
def test_the_same_task_has_the_same_hash(same: dict[str, Any]) -> None:
    assert task_hash(TASK.model_copy(update=same)) == task_hash(TASK)


@pytest.mark.parametrize(
    "other",
    [
        {"goal": "The user wants to move adopter 15 to Oslo."},
        {"kind": "forbidden"},
        {"gold_calls": (CALL.model_copy(update={"arguments": {"city": "Rome", "id": 14}}),)},
        {"gold_calls": (CALL.model_copy(update={"tool": "set_city"}),)},
        {"gold_calls": (CALL, CALL)},
        {"told_values": ()},
    ],
)
def test_another_task_has_another_hash(other: dict[str, Any]) -> None:
    assert task_hash(TASK.model_copy(update=other)) != task_hash(TASK)


def test_a_set_has_one_hash_in_any_order() -> None:
    assert set_hash(["b", "a", "b"]) == set_hash(["a", "b"]) != set_hash(["a"])


def test_hashes_of_a_folder_and_of_a_file_are_read(tmp_path: Path) -> None:
    line = TaskHash(task_hash=task_hash(TASK), dialogue_id="d-1", task=2)
    (tmp_path / HASHES).write_text(line.model_dump_json() + "\n")
    assert read_held_out([tmp_path]) == read_held_out([tmp_path / HASHES])
    assert read_held_out([tmp_path]) == {line.task_hash: f"{tmp_path.name}: d-1/2"}
    (tmp_path / HASHES).write_text('{"task_hash": "short"}\n')
    with pytest.raises(RecordError, match="line 1"):
        read_held_out([tmp_path])
