"""The physical cores that this process may use, and the numbers that they multiply."""

from __future__ import annotations

import os
from pathlib import Path

TOPOLOGY = Path("/sys/devices/system/cpu")
CPUINFO = Path("/proc/cpuinfo")
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
