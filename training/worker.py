"""One worker process of a full fine-tuning with transformers' Trainer under DeepSpeed ZeRO-3.

    python -m torch.distributed.run --standalone --nproc_per_node N -m training.worker RUN_DIRECTORY

reads config.json, untrained/ and samples/ from the run directory and writes checkpoint/ and results.json there. A
micro-step is one row of token trees (training.token_tree): nothing is padded, and attention keeps trees and branches
apart. The loss is the mean over all trained tokens of an optimizer step, on whichever process and in whichever
micro-step they are.
"""

from __future__ import annotations

import json
import math
import os
import sys
from pathlib import Path

import deepspeed
import torch
import torch.distributed as dist
from accelerate import PartialState
from accelerate.utils import DistributedType
from transformers import AutoTokenizer, EarlyStoppingCallback, PrinterCallback, TrainingArguments, set_seed

from core.files import write_json
from training.attention.choice import kernel_for
from training.attention.kept import checkpointing
from training.callbacks import EpochCost, MetricsCallback, ResumeEpochCallback, results, row_costs
from training.dataset import Rows, load_samples
from training.model import load
from training.model_shape import ModelShape
from training.run_layout import CHECKPOINT, CHECKPOINTS, CONFIG, RESULTS, SAMPLES, UNTRAINED, newest_checkpoint
from training.sampler import BalancedSampler
from training.settings import TrainSettings
from training.trainer import TreeTrainer


def train(directory: Path, settings: TrainSettings) -> None:
    """Train together with the other processes of the group, resuming from the newest complete checkpoint."""
    join_processes(settings)
    splits = load_samples(directory / SAMPLES)
    rows, validation = (Rows(splits[name], settings.row_tokens) for name in ("train", "validation"))
    shape = ModelShape.from_config(json.loads((directory / UNTRAINED / "config.json").read_text()))
    ranks = int(os.environ.get("WORLD_SIZE", "1"))
    targets, budget = rows.sums("targets"), settings.train_tokens
    sampler = BalancedSampler(row_costs(rows, shape), settings.batch_size, ranks, settings.seed, targets, budget)
    steps = sampler.budget_steps or settings.max_steps or math.ceil(settings.epochs * sampler.steps)
    arguments = training_arguments(directory, settings, ranks, steps)
    set_seed(settings.seed)
    # After the arguments: while they exist with ZeRO-3, from_pretrained partitions the weights as it loads them.
    dtype = torch.bfloat16 if arguments.bf16 else torch.float32
    attention = kernel_for(settings.attention)
    model = load(directory / UNTRAINED, attention, settings.fused_kernels, settings.model.experts, dtype)
    if settings.gradient_checkpointing:
        # The Trainer's own arguments must be plain data, which a function is not.
        model.gradient_checkpointing_enable(checkpointing(settings.keep_attention))
    peak = settings.peak_tflops * 1e12 * ranks if settings.peak_tflops else None
    stopping = [EarlyStoppingCallback(early_stopping_patience=settings.patience)] if settings.patience else []
    trainer = TreeTrainer(
        rows,
        validation,
        sampler,
        attention,
        offload=settings.activation_offload,
        model=model,
        args=arguments,
        processing_class=AutoTokenizer.from_pretrained(directory / UNTRAINED),
        callbacks=[ResumeEpochCallback(sampler), *stopping],
    )
    metrics = MetricsCallback(directory, EpochCost.of(rows, shape, peak), trainer)
    trainer.add_callback(metrics)
    trainer.remove_callback(PrinterCallback)
    checkpoint = newest_checkpoint(directory)
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    run_results = results(trainer.state, metrics, rows, sampler)
    trainer.save_model(str(directory / CHECKPOINT))
    if trainer.is_world_process_zero():
        write_json(directory / RESULTS, run_results)
    if dist.is_initialized():
        dist.barrier()
        dist.destroy_process_group()


def training_arguments(directory: Path, settings: TrainSettings, ranks: int, steps: int) -> TrainingArguments:
    """The Trainer's arguments for our settings. Create them before loading the model (ZeRO-3)."""
    cuda = torch.cuda.is_available()
    optimizer = settings.optimizer
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
        gradient_accumulation_steps=settings.batch_size // ranks,
        max_steps=steps,
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
        # A resumed run has already validated its checkpoint, and keeps its count towards early stopping.
        eval_on_start=newest_checkpoint(directory) is None,
        restore_callback_states_from_checkpoint=True,
        eval_steps=interval,
        save_strategy="steps",
        save_steps=interval,
        save_total_limit=2,
        load_best_model_at_end=True,
        metric_for_best_model="loss",
        greater_is_better=False,
        include_num_input_tokens_seen="all",
        disable_tqdm=True,
        report_to="none",
    )


def join_processes(settings: TrainSettings) -> None:
    """On a machine without CUDA, start DeepSpeed on gloo, which Accelerate would not do. With CUDA the Trainer needs no
    help."""
    if not settings.deepspeed or torch.cuda.is_available():
        return
    # DeepSpeed would compile it at first use, which takes longer than a small training.
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    deepspeed.init_distributed(dist_backend="gloo", auto_mpi_discovery=False, verbose=False)
    PartialState(cpu=True).distributed_type = DistributedType.DEEPSPEED


def main(directory: Path) -> None:
    train(directory, TrainSettings.model_validate_json((directory / CONFIG).read_text()))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
    # Everything is on disk and the process group is closed. Threads left behind by libraries sometimes abort a slowly
    # exiting interpreter, and torchrun would report a failed training.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
