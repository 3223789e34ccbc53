"""What a resumed run finds in the memory of BFCL's memory categories. Runs in BFCL's own environment.

The official code keeps one memory for each scenario, which every prerequisite conversation reads and overwrites. A run killed
between that and the writing of the conversation's result would hold the conversation twice, from a memory that has it already.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def prerequisites(entries: Iterable[dict[str, Any]]) -> dict[str, list[str]]:
    """The ids of the prerequisite conversations by scenario, in the order in which they are held."""
    chains: dict[str, list[dict[str, Any]]] = {}
    for entry in entries:
        if "_prereq_" in entry["id"]:
            chains.setdefault(entry["scenario"], []).append(entry)
    return {
        scenario: [entry["id"] for entry in sorted(chain, key=lambda entry: len(entry["depends_on"]))]
        for scenario, chain in chains.items()
    }


def restore(snapshots: Path, chains: dict[str, list[str]], answered: set[str]) -> None:
    """Set each scenario's memory to what its last answered prerequisite left; `snapshots` is the category's memory_snapshot/.

    One that failed by the model's own fault left nothing; the one before it counts then, as officially.
    """
    for scenario, chain in chains.items():
        memory = snapshots / f"{scenario}_final.json"
        left = [snapshots / "prereq_checkpoints" / f"{name}.json" for name in chain if name in answered]
        if there := [path for path in left if path.is_file()]:
            fresh = memory.with_suffix(".fresh")
            shutil.copyfile(there[-1], fresh)
            fresh.replace(memory)
        else:
            memory.unlink(missing_ok=True)
