"""What lies where in a training's run directory."""

from __future__ import annotations

from pathlib import Path

CONFIG = "config.json"
"""The resolved settings, as TrainSettings."""

UNTRAINED, CHECKPOINT = "untrained", "checkpoint"
"""The model before, and the best one of the training: both with tokenizer, ready to be loaded and served."""

SAMPLES, FIGURES = "samples", "data.json"
"""The tokenised trees, a link into the cache, and their figures."""

CACHE = Path("cache") / "samples"
"""Under outputs/: tokenised trees by what they were made of, shared by the runs."""

METRICS, LOG, RESULTS = "metrics.jsonl", "train.log", "results.json"
"""Losses as they come, what the workers print, and the final figures."""

CHECKPOINTS, COMPLETE = "checkpoints", "complete"
"""Where training can be resumed from; a checkpoint without the marker was being written when the process died."""


def newest_checkpoint(directory: Path) -> Path | None:
    """The newest complete checkpoint of the run, if there is one."""
    found = [marker.parent for marker in (directory / CHECKPOINTS).glob(f"checkpoint-*/{COMPLETE}")]
    return max(found, key=step_of, default=None)


def step_of(checkpoint: Path) -> int:
    return int(checkpoint.name.rpartition("-")[2])
