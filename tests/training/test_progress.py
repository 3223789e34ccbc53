"""What a training says while it runs, in a log."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from training.progress import TrainingProgress


def line(step: int, seconds: float, **more: Any) -> dict[str, Any]:
    return {
        "step": step,
        "steps": 9,
        "epoch": step / 9,
        "loss": 0.5,
        "tokens_per_s": 1000.0,
        "seconds": seconds,
        **more,
    }


def test_a_log_gets_validations_and_a_line_a_minute() -> None:
    console = Console(file=io.StringIO(), width=200)
    with TrainingProgress(console) as progress:
        for metrics in (
            line(0, 10.0, eval_loss=1.25),
            line(1, 40.0),
            line(2, 70.0),
            line(3, 100.0),
            line(4, 125.0, eval_loss=0.75),
            line(5, 140.0),
        ):
            progress.update(metrics)
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue().splitlines() == [
        "step 0/9 · epoch 0.00 · loss 0.500 · validation 1.250 · 1,000 tokens/s · 10 s",
        "step 2/9 · epoch 0.22 · loss 0.500 · 1,000 tokens/s · 70 s",
        "step 4/9 · epoch 0.44 · loss 0.500 · validation 0.750 · 1,000 tokens/s · 125 s",
    ]
