"""An invented experiment, and entries of its registry."""

from __future__ import annotations

from typing import Any

import numpy

from core.sampling import Sampling
from core.settings import typed
from evaluation.ablation.registry import Counts, Entry, Measured, StageRun, content_hash
from evaluation.ablation.settings import AblationSettings

TASKS = 60
SETTINGS: dict[str, Any] = {
    "profile": "cpu",
    "outputs": "outputs",
    "experiment": "invented",
    "title": "An invented experiment",
    "cells": {"good": {"name": "good data"}, "poor": {"name": "poor data"}, "equal": {"name": "equal data"}},
    "outcomes": {
        "mt": {"name": "BFCL multi-turn", "benchmark": "bfcl", "categories": ["multi_turn_*"], "tasks": 800},
        "telecom": {"name": "τ² telecom", "benchmark": "tau2", "categories": ["telecom"], "tasks": 114},
    },
    "claims": [
        {"cell": "good", "against": "poor", "outcome": "mt", "paper": {"Qwen3-4B": 30}},
        {"cell": "equal", "against": "poor", "outcome": "mt", "paper": {"Qwen3-4B": 50}},
        {"cell": "equal", "against": "poor", "outcome": "telecom", "paper": {"Qwen3-4B": 6.2}},
    ],
    "of_profile": {},
    "common": {},
    "budget": 1000,
    "benchmarks": ["bfcl", "tau2"],
    "seeds": [0, 1, 2],
    "seeded": ["generate", "train"],
    "paper_model": "Qwen3-4B",
    "alpha": 0.05,
    "plan": False,
    "report": None,
    "planning": {
        "assume": {"between_tasks": 0.2, "between_seeds": 0.02, "within_trials": 0.4},
        "difference": 5,
        "generate_s": 100,
        "train_s": 200,
        "evaluate_s": 400,
        "cost_per_hour": 2,
    },
}

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


def settings(**changes: Any) -> AblationSettings:
    return typed(SETTINGS | changes, AblationSettings)


def entries(cell: str, chance: float) -> list[Entry]:
    """Three seeds of a cell that solves each task with this chance in four trials."""
    random = numpy.random.default_rng([round(100 * chance), len(cell)])
    return [
        entry(cell, seed, {f"t{task}": (4, int(random.binomial(4, chance))) for task in range(TASKS)})
        for seed in range(3)
    ]
