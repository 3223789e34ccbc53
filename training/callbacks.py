"""What a training run records: metrics.jsonl, complete checkpoints, and the final results."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from training.dataset import Rows
from training.model_shape import ModelShape
from training.run_layout import COMPLETE, METRICS
from training.sampler import BalancedSampler
from training.trainer import TreeTrainer

LOGGED = ("loss", "learning_rate", "grad_norm")


@dataclass(frozen=True)
class EpochCost:
    """The cost of one pass over the data."""

    tokens: int
    """Tokens forwarded."""

    flops: float
    """FLOPs of forward and backward passes, without recomputation."""

    peak_flops: float | None
    """Peak FLOP/s of all GPUs together; None if unknown."""

    @classmethod
    def of(cls, rows: Rows, shape: ModelShape, peak_flops: float | None) -> EpochCost:
        return cls(sum(rows.sums("size")), sum(row_costs(rows, shape)), peak_flops)

    def utilisation(self, tokens_per_s: float) -> float | None:
        """Model FLOPs utilisation (MFU): achieved FLOP/s as a share of the hardware's peak; None if that is unknown."""
        return tokens_per_s * self.flops / self.tokens / self.peak_flops if self.peak_flops else None


def row_costs(rows: Rows, shape: ModelShape) -> list[float]:
    """FLOPs of each row's forward and backward pass."""
    columns = (rows.sums("size"), rows.sums("pairs"), rows.sums("targets"))
    return [3.0 * shape.flops(*row) for row in zip(*columns, strict=True)]


class MetricsCallback(TrainerCallback):
    """Appends every log of rank 0 to metrics.jsonl, with the speed since training started, and marks a checkpoint
    complete once all processes have written their part of it."""

    def __init__(self, directory: Path, epoch_cost: EpochCost, trainer: TreeTrainer) -> None:
        self.directory, self.epoch_cost, self.trainer = directory, epoch_cost, trainer
        self.started = time.monotonic()
        self.tokens_before = 0

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.started = time.monotonic()
        self.tokens_before = int(state.num_input_tokens_seen)

    def speed(self, state: TrainerState) -> dict[str, float]:
        """Forwarded and trained tokens per second over all ranks, validation excluded, and MFU if the peak is known."""
        seconds = time.monotonic() - self.started - self.trainer.validation_s
        tokens = (int(state.num_input_tokens_seen) - self.tokens_before) / seconds
        speed = {"tokens_per_s": tokens, "trained_tokens_per_s": self.trainer.trained_tokens / seconds}
        utilisation = self.epoch_cost.utilisation(tokens)
        return speed if utilisation is None else {**speed, "mfu": utilisation}

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        if not state.is_world_process_zero or not logs or "train_loss" in logs:
            return
        line: dict[str, Any] = {
            "step": state.global_step,
            "steps": state.max_steps,
            "epoch": state.epoch,
            **{name: value for name, value in logs.items() if name in LOGGED or name.startswith("eval_")},
            "seconds": time.monotonic() - self.started,
            **self.speed(state),
        }
        with (self.directory / METRICS).open("a") as file:
            file.write(json.dumps(line) + "\n")

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if dist.is_initialized():
            dist.barrier()
        if state.is_world_process_zero:
            (Path(str(args.output_dir)) / f"checkpoint-{state.global_step}" / COMPLETE).touch()


class ResumeEpochCallback(TrainerCallback):
    """Sets the sampler's epoch when a run resumes within an epoch.

    The Trainer calls `set_epoch` too, but the call does not pass the wrapper that skips the batches already trained:
    without this callback the rest of the epoch would follow the first epoch's order.
    """

    def __init__(self, sampler: BalancedSampler) -> None:
        self.sampler = sampler

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.sampler.set_epoch(int(state.epoch or 0))


def results(state: TrainerState, metrics: MetricsCallback, rows: Rows, sampler: BalancedSampler) -> dict[str, Any]:
    """The final results. Losses are nats per trained token; `tokens` counts every forwarded token, in all epochs."""
    validations = [entry for entry in state.log_history if "eval_loss" in entry]
    losses = [entry["loss"] for entry in state.log_history if "loss" in entry]
    best = min(validations, key=lambda entry: float(entry["eval_loss"]))
    return {
        "untrained_validation_loss": validations[0]["eval_loss"],
        "final_validation_loss": validations[-1]["eval_loss"],
        "best_validation_loss": state.best_metric,
        "best_validation": {name.removeprefix("eval_"): v for name, v in best.items() if name.startswith("eval_")},
        "best_step": state.best_global_step,
        "final_train_loss": losses[-1],
        "steps": state.global_step,
        "epochs": state.epoch,
        "tokens": int(state.num_input_tokens_seen),
        "trained_tokens": sampler.trained_tokens(state.global_step),
        "fill": rows.fill,
        "seconds": round(time.monotonic() - metrics.started, 1),
        **{name: round(value, 4) for name, value in metrics.speed(state).items()},
        **({"peak_gpu_bytes": torch.cuda.max_memory_allocated()} if torch.cuda.is_available() else {}),
    }
