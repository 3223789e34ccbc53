"""Physical cores, from a directory as Linux lays it out."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from core.cores import physical_cores


def topology(folder: Path, siblings: dict[int, str]) -> Path:
    for cpu, text in siblings.items():
        file = folder / f"cpu{cpu}" / "topology" / "thread_siblings_list"
        file.parent.mkdir(parents=True)
        file.write_text(f"{text}\n")
    return folder


def test_threads_of_a_core_count_once_and_only_cpus_of_this_process_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = topology(tmp_path, {0: "0,4", 4: "0,4", 1: "1,5", 5: "1,5", 2: "2,6", 6: "2,6", 3: "3,7", 7: "3,7"})
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 4, 5, 6})
    assert physical_cores(machine) == [0, 1, 6]


def test_without_a_topology_every_cpu_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 1})
    assert physical_cores(tmp_path) == [1, 3]
