"""The registry: append-only, each result once, mergeable, and unchanged by interruptions."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from core.journal import RecordError
from evaluation.ablation.registry import append, newest, read_registry
from tests.evaluation.helpers.ablation_entries import entry


def test_a_result_is_one_line_however_often_it_is_appended(tmp_path: Path) -> None:
    path = tmp_path / "registry.jsonl"
    first, second = entry("a", 0, {"t1": (2, 1)}), entry("a", 1, {"t1": (2, 2)})
    assert [append(path, each) for each in (first, second, first)] == [True, True, False]
    # A later run of the same cell with the same outcome is the same result.
    assert not append(path, first.model_copy(update={"finished": "2030-01-01T00:00:00+00:00"}))
    assert read_registry(path) == [first, second]
    assert len(path.read_text().splitlines()) == 2


def test_a_torn_line_is_written_again(tmp_path: Path) -> None:
    """As after kill -9 during a write."""
    path = tmp_path / "registry.jsonl"
    first, second = entry("a", 0, {"t1": (1, 1)}), entry("b", 0, {"t1": (1, 0)})
    append(path, first)
    undisturbed = path.read_bytes()
    append(path, second)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(undisturbed) + 40])
    assert read_registry(path) == [first]
    append(path, second)
    assert path.read_bytes() == whole


def test_registries_are_merged_by_concatenation(tmp_path: Path) -> None:
    entries = [entry("a", seed, {"t1": (1, seed % 2)}) for seed in range(4)]
    for name, part in (("one", entries[:3]), ("two", entries[2:])):
        for each in part:
            append(tmp_path / name, each)
    merged = tmp_path / "merged"
    merged.write_bytes((tmp_path / "one").read_bytes() + (tmp_path / "two").read_bytes())
    assert read_registry(merged) == entries


def test_several_jobs_append_at_once(tmp_path: Path) -> None:
    path = tmp_path / "registry.jsonl"
    entries = [entry("a", seed, {f"t{task}": (1, 1) for task in range(50)}) for seed in range(24)]
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(lambda each: append(path, each), entries))
    assert {each.hash for each in read_registry(path)} == {each.hash for each in entries}


def test_a_changed_line_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "registry.jsonl"
    append(path, entry("a", 0, {"t1": (1, 0)}))
    line = json.loads(path.read_text())
    line["measured"]["outcomes"]["bfcl/multi_turn_base"]["t1"] = [1, 1]
    path.write_text(json.dumps(line) + "\n")
    with pytest.raises(RecordError, match="does not have its hash"):
        read_registry(path)


def test_the_newest_result_of_a_cell_and_seed_counts() -> None:
    old = entry("a", 0, {"t1": (1, 0)}, finished="2026-01-01T00:00:00+00:00")
    new = entry("a", 0, {"t1": (1, 1)}, finished="2026-01-02T00:00:00+00:00")
    other = entry("b", 0, {"t1": (1, 1)})
    assert old.measured.key == new.measured.key != other.measured.key
    assert newest([new, old, other], [old.measured.key, "unknown"]) == [new]
