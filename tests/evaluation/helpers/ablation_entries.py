"""Invented entries of the registry of experiments."""

from __future__ import annotations

from typing import Any

from core.sampling import Sampling
from evaluation.ablation.registry import Counts, Entry, Measured, StageRun, content_hash

FINISHED = "2026-01-01T00:00:00+00:00"


def entry(
    cell: str,
    seed: int,
    outcomes: Counts,
    category: str = "bfcl/multi_turn_base",
    finished: str = FINISHED,
    **measured: Any,
) -> Entry:
    """The result of a cell of the experiment `invented` whose trials are all of one category."""
    fields = {
        "experiment": "invented",
        "profile": "cpu",
        "words": {"train": (f"mixture={cell}", f"seed={seed}")},
        "engine": {"vllm": "0.32.0"},
        "parsers": {"reasoning": "auto", "tool_call": "auto"},
        "harnesses": {"bfcl": ("bfcl 1",)},
        "simulators": {},
        "judges": {},
        "sampling": Sampling(),
        "dialogues": 10,
        "trained_tokens": 1000,
        "measures": {"turns": 12.5},
    }
    content = Measured(cell=cell, seed=seed, outcomes={category: outcomes}, **(fields | measured))
    return Entry(
        hash=content_hash(content),
        measured=content,
        runs={
            "train": StageRun(run=f"train-{cell}-{seed}", seconds=60.0, commit="c" * 40, dirty=False),
            "evaluate": StageRun(run=f"evaluate-{cell}-{seed}", seconds=120.0, commit="c" * 40, dirty=True),
        },
        records=f"outputs/ablations/runs/evaluate/evaluate-{cell}-{seed}/records.jsonl",
        records_sha256="0" * 64,
        machine={"platform": "Linux"},
        finished=finished,
    )
