"""Physical cores and instructions, from files as Linux writes them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from core.cpu import available_memory, multiplies_bfloat16, physical_cores


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


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("flags\t\t: fpu sse2 avx2 avx512f avx512_bf16 avx512_vnni", True),
        ("flags\t\t: fpu sse2 avx2 amx_bf16 amx_tile", True),
        ("Features\t: fp asimd i8mm bf16 sve", True),
        ("flags\t\t: fpu sse2 avx2 fma", False),
        ("Features\t: fp asimd", False),
        ("model name\t: a CPU without a list of flags, bf16 or not", True),
    ],
)
def test_bfloat16_is_read_from_the_list_of_instructions(line: str, expected: bool, tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"processor\t: 0\n{line}\nbogomips\t: 4890.80\n")
    assert multiplies_bfloat16(cpuinfo) is expected


def test_without_cpuinfo_bfloat16_is_left_to_the_server(tmp_path: Path) -> None:
    assert multiplies_bfloat16(tmp_path / "none")


def test_available_memory_is_the_machines_or_what_the_control_group_still_allows(tmp_path: Path) -> None:
    meminfo, group = tmp_path / "meminfo", tmp_path / "group"
    meminfo.write_text("MemTotal:       24000 kB\nMemFree:         1000 kB\nMemAvailable:   20000 kB\n")
    group.mkdir()
    assert available_memory(meminfo, group) == 20000 * 1024
    (group / "memory.current").write_text("5000000\n")
    (group / "memory.stat").write_text("anon 4000000\ninactive_file 750000\n")
    for limit, expected in (("max", 20000 * 1024), ("8000000", 8000000 - 5000000 + 750000)):
        (group / "memory.max").write_text(f"{limit}\n")
        assert available_memory(meminfo, group) == expected
    assert available_memory(tmp_path / "none", tmp_path / "none") is None
