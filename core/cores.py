"""The physical cores that this process may use."""

from __future__ import annotations

import os
from pathlib import Path

TOPOLOGY = Path("/sys/devices/system/cpu")


def physical_cores(topology: Path = TOPOLOGY) -> list[int]:
    """Return one logical CPU of each physical core in this process's affinity mask, ascending.

    Without `topology`, as in some containers, every logical CPU counts as a core.
    """
    cores: dict[str, int] = {}
    for cpu in sorted(os.sched_getaffinity(0)):
        siblings = topology / f"cpu{cpu}" / "topology" / "thread_siblings_list"
        cores.setdefault(siblings.read_text().strip() if siblings.is_file() else str(cpu), cpu)
    return list(cores.values())
