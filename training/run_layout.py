"""File names in a training run's directory."""

from __future__ import annotations

from pathlib import Path

CONFIG = "config.json"
"""The resolved settings, as TrainSettings."""

UNTRAINED, CHECKPOINT = "untrained", "checkpoint"
"""The model before training, and the best one: both with their tokenizer, ready to load and serve."""

SAMPLES, PREPARED = "samples", "prepared.json"
"""The tokenised trees (a link into the cache), and what was prepared (`training.prepare.Prepared`)."""

CACHE = Path("cache") / "samples"
"""Under outputs/: tokenised trees, shared by all runs with the same inputs."""

MODELS = Path("cache") / "models"
"""Under outputs/: published models in the form in which they are trained, shared by all runs."""

METRICS, LOG, RESULTS = "metrics.jsonl", "train.log", "results.json"
"""Metrics of each step, the workers' output, and the final results."""

CHECKPOINTS, COMPLETE = "checkpoints", "complete"
"""Checkpoints to resume from; one without the marker is incomplete: the process died while writing it."""


def newest_checkpoint(directory: Path) -> Path | None:
    """The newest complete checkpoint of the run, if any."""
    complete = [marker.parent for marker in (directory / CHECKPOINTS).glob(f"checkpoint-*/{COMPLETE}")]
    return max(complete, key=step_of, default=None)


def step_of(checkpoint: Path) -> int:
    """The optimizer step of a checkpoint directory `checkpoint-<step>`."""
    return int(checkpoint.name.rpartition("-")[2])
