"""The physical cores and the memory that this process may use, and the numbers that the cores multiply."""

from __future__ import annotations

import os
from pathlib import Path

TOPOLOGY = Path("/sys/devices/system/cpu")
CPUINFO = Path("/proc/cpuinfo")
MEMINFO = Path("/proc/meminfo")
CGROUP = Path("/sys/fs/cgroup")
BFLOAT16_FLAGS = frozenset({"avx512_bf16", "amx_bf16", "bf16"})  # Intel's and AMD's, Intel's AMX, Arm's


def physical_cores(topology: Path = TOPOLOGY) -> list[int]:
    """Return one logical CPU of each physical core in this process's affinity mask, ascending.

    Without `topology`, as in some containers, every logical CPU counts as a core.
    """
    cores: dict[str, int] = {}
    for cpu in sorted(os.sched_getaffinity(0)):
        siblings = topology / f"cpu{cpu}" / "topology" / "thread_siblings_list"
        cores.setdefault(siblings.read_text().strip() if siblings.is_file() else str(cpu), cpu)
    return list(cores.values())


def multiplies_bfloat16(cpuinfo: Path = CPUINFO) -> bool:
    """Return whether the CPU has instructions for bfloat16, as far as `cpuinfo` lists any at all."""
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    flags = {flag for line in lines if line.lower().startswith(("flags", "features")) for flag in line.split()}
    return not flags or bool(flags & BFLOAT16_FLAGS)


def available_memory(meminfo: Path = MEMINFO, cgroup: Path = CGROUP) -> int | None:
    """Return how many bytes further processes can take: what the machine has, or what this process's control group
    still allows, if that is less. None if the system does not say."""
    lines = meminfo.read_text().splitlines() if meminfo.is_file() else []
    limits = [1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")]
    limit, current, statistics = (cgroup / f"memory.{name}" for name in ("max", "current", "stat"))
    if all(file.is_file() for file in (limit, current, statistics)) and limit.read_text().strip().isdigit():
        counts = dict(line.split() for line in statistics.read_text().splitlines())
        used = int(current.read_text()) - int(counts.get("inactive_file", 0))  # that cache is given up when needed
        limits.append(int(limit.read_text()) - used)
    return min(limits, default=None)
