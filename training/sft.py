"""Full fine-tuning with transformers' Trainer under DeepSpeed ZeRO-3: what one worker process does.

    python -m torch.distributed.run --standalone --nproc_per_node N -m training.sft RUN_DIRECTORY

reads config.json, untrained/ and samples/ from the run directory and leaves checkpoint/ and results.json there.
Each process takes one sample at a time: nothing is padded and nothing can leak between samples, on any attention. The
loss is the mean over all trained tokens of an optimizer step, whatever process or micro-step they fall on.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
from pathlib import Path
from typing import Any

import deepspeed
import torch
import torch.distributed as dist
from accelerate import PartialState
from accelerate.utils import DistributedType
from datasets import Dataset
from transformers import (
    AutoTokenizer,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
    set_seed,
)

from core.records import write_json
from training.layout import CHECKPOINT, CHECKPOINTS, COMPLETE, CONFIG, METRICS, RESULTS, UNTRAINED, newest_checkpoint
from training.model import load
from training.prepare import load_samples
from training.settings import TrainSettings


class SampleTrainer(Trainer):  # type: ignore[misc]  # transformers has no types
    """Trainer whose validation loss is the mean over all trained tokens: its own is a mean of the samples' means."""

    def prediction_step(
        self,
        model: torch.nn.Module,
        inputs: dict[str, torch.Tensor],
        prediction_loss_only: bool,
        ignore_keys: list[str] | None = None,
    ) -> tuple[torch.Tensor, None, None]:
        inputs = self._prepare_inputs(inputs)
        with torch.no_grad(), self.compute_loss_context_manager():
            loss = model(**inputs).loss
        lengths = self.eval_dataset["trained"]
        mean = sum(map(len, lengths)) / len(lengths)
        return loss.detach() * (inputs["labels"].numel() / mean), None, None


class Journal(TrainerCallback):  # type: ignore[misc]  # transformers has no types
    """Appends every log of rank 0 to metrics.jsonl, with the tokens seen and seconds passed since training began, and
    marks a checkpoint complete once all processes have written their part of it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.began = time.monotonic()
        self.tokens_before = 0

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.began = time.monotonic()
        self.tokens_before = int(state.num_input_tokens_seen)

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
        seconds = time.monotonic() - self.began
        line: dict[str, Any] = {
            "step": state.global_step,
            "steps": state.max_steps,
            "epoch": state.epoch,
            **{name: logs[name] for name in ("loss", "eval_loss", "learning_rate", "grad_norm") if name in logs},
            "seconds": seconds,
            "tokens_per_s": (state.num_input_tokens_seen - self.tokens_before) / seconds,
        }
        with (self.directory / METRICS).open("a") as file:
            file.write(json.dumps(line) + "\n")

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if dist.is_initialized():
            dist.barrier()
        if state.is_world_process_zero:
            (Path(str(args.output_dir)) / f"checkpoint-{state.global_step}" / COMPLETE).touch()


class ResumedOrder(TrainerCallback):  # type: ignore[misc]  # transformers has no types
    """Lets a run that resumes within an epoch draw the rest of that epoch's order: the Trainer tells a sampler its epoch,
    but not through the wrapper that skips what was already trained, and the order would be that of the first epoch."""

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        sampler = kwargs["train_dataloader"].batch_sampler
        while not hasattr(sampler, "set_epoch"):
            sampler = sampler.batch_sampler
        sampler.set_epoch(int(state.epoch or 0))


def collate(rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    """One sample as a batch: input_ids [1, T]; the K positions whose next token is trained; those tokens [1, K].
    Only K of T positions reach the output layer, whose fp32 logits would else take most of the memory."""
    assert len(rows) == 1, "one sample at a time"
    ids = torch.tensor([rows[0]["input_ids"]])
    trained = torch.tensor(rows[0]["trained"])
    targets = ids[:, trained]
    return {"input_ids": ids, "logits_to_keep": trained - 1, "labels": targets, "shift_labels": targets}


def train(directory: Path, settings: TrainSettings) -> None:
    """Train in this process together with the others of its group, resuming from the newest complete checkpoint."""
    join_processes(settings)
    samples = load_samples(directory)
    arguments = training_arguments(directory, settings, len(samples["train"]))
    set_seed(settings.seed)
    # After the arguments: while they exist with ZeRO-3, from_pretrained shares the weights out as it loads them.
    dtype = torch.bfloat16 if arguments.bf16 else torch.float32
    model = load(directory / UNTRAINED, settings.attention, settings.model.experts, dtype)
    journal = Journal(directory)
    trainer = SampleTrainer(
        model=model,
        args=arguments,
        train_dataset=samples["train"],
        eval_dataset=samples["validation"],
        data_collator=collate,
        processing_class=AutoTokenizer.from_pretrained(directory / UNTRAINED),
        callbacks=[journal, ResumedOrder()],
    )
    trainer.remove_callback(PrinterCallback)
    checkpoint = newest_checkpoint(directory)
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    seconds = time.monotonic() - journal.began
    trainer.save_model(str(directory / CHECKPOINT))
    if trainer.is_world_process_zero():
        write_json(directory / RESULTS, results(trainer.state, samples["train"], journal.tokens_before, seconds))
    if dist.is_initialized():
        dist.barrier()
        dist.destroy_process_group()


def results(state: TrainerState, samples: Dataset, tokens_before: int, seconds: float) -> dict[str, Any]:
    """The run in figures. Losses are nats per trained token; tokens count every pass over a sample."""
    validation = [entry["eval_loss"] for entry in state.log_history if "eval_loss" in entry]
    losses = [entry["loss"] for entry in state.log_history if "loss" in entry]
    tokens = int(state.num_input_tokens_seen)
    return {
        "untrained_validation_loss": validation[0],
        "final_validation_loss": validation[-1],
        "best_validation_loss": state.best_metric,
        "best_step": state.best_global_step,
        "final_train_loss": losses[-1],
        "steps": state.global_step,
        "epochs": state.epoch,
        "tokens": tokens,
        "trained_tokens": round(sum(map(len, samples["trained"])) * (state.epoch or 0)),
        "seconds": round(seconds, 1),
        "tokens_per_s": round((tokens - tokens_before) / seconds, 1),
    }


def training_arguments(directory: Path, settings: TrainSettings, samples: int) -> TrainingArguments:
    """The Trainer's view of our settings. Must be made before the model is loaded (ZeRO-3)."""
    cuda = torch.cuda.is_available()
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    optimizer = settings.optimizer
    steps = settings.max_steps or math.ceil(settings.epochs * math.ceil(samples / settings.batch_size))
    interval = math.ceil(steps / settings.evaluations)
    return TrainingArguments(
        output_dir=str(directory / CHECKPOINTS),
        seed=settings.seed,
        use_cpu=not cuda,
        bf16=cuda,
        deepspeed=settings.deepspeed or None,
        accelerator_config={"use_configured_state": bool(settings.deepspeed) and not cuda},
        per_device_train_batch_size=1,
        per_device_eval_batch_size=1,
        gradient_accumulation_steps=settings.batch_size // processes,
        gradient_checkpointing=settings.gradient_checkpointing,
        max_steps=steps,
        # Draws the samples of a step at random and hands those of like length to the processes at the same time.
        train_sampling_strategy="batch_rebalance",
        remove_unused_columns=False,
        optim="adamw_torch",
        learning_rate=optimizer.learning_rate,
        weight_decay=optimizer.weight_decay,
        adam_beta2=optimizer.beta2,
        max_grad_norm=optimizer.max_grad_norm,
        lr_scheduler_type=optimizer.schedule,
        warmup_steps=optimizer.warmup,
        logging_steps=1,
        eval_strategy="steps",
        eval_on_start=True,
        eval_steps=interval,
        save_strategy="steps",
        save_steps=interval,
        save_total_limit=2,
        load_best_model_at_end=True,
        metric_for_best_model="loss",
        greater_is_better=False,
        prediction_loss_only=True,
        include_num_input_tokens_seen="all",
        disable_tqdm=True,
        report_to="none",
    )


def join_processes(settings: TrainSettings) -> None:
    """On a machine without CUDA, put DeepSpeed on gloo; Accelerate would else leave it out there. Elsewhere the Trainer
    does all that is needed."""
    if not settings.deepspeed or torch.cuda.is_available():
        return
    # It would be compiled at first use, which takes longer than a small training.
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    deepspeed.init_distributed(dist_backend="gloo", auto_mpi_discovery=False, verbose=False)
    PartialState(cpu=True).distributed_type = DistributedType.DEEPSPEED


def main(directory: Path) -> None:
    train(directory, TrainSettings.model_validate_json((directory / CONFIG).read_text()))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
