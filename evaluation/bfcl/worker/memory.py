"""Restores the memory of BFCL's memory categories when a run resumes. Runs in BFCL's own environment.

The official code keeps one memory per scenario, which every prerequisite conversation reads and overwrites. If a run is
killed after that but before the conversation's result is written, resuming would run the conversation again on a memory
that already includes it.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def prerequisites(entries: Iterable[dict[str, Any]]) -> dict[str, list[str]]:
    """The ids of the prerequisite conversations by scenario, in the order in which they run."""
    chains: dict[str, list[dict[str, Any]]] = {}
    for entry in entries:
        if "_prereq_" in entry["id"]:
            chains.setdefault(entry["scenario"], []).append(entry)
    return {
        scenario: [entry["id"] for entry in sorted(chain, key=lambda entry: len(entry["depends_on"]))]
        for scenario, chain in chains.items()
    }


def restore(snapshots: Path, chains: dict[str, list[str]], answered: set[str]) -> None:
    """Sets each scenario's memory to the checkpoint of its last answered prerequisite.

    `snapshots` is the category's memory_snapshot/. A prerequisite that the model failed has no checkpoint; then the
    previous one counts, as officially.
    """
    for scenario, chain in chains.items():
        memory = snapshots / f"{scenario}_final.json"
        checkpoints = [snapshots / "prereq_checkpoints" / f"{name}.json" for name in chain if name in answered]
        if written := [path for path in checkpoints if path.is_file()]:
            temporary = memory.with_suffix(".fresh")
            shutil.copyfile(written[-1], temporary)
            temporary.replace(memory)
        else:
            memory.unlink(missing_ok=True)
