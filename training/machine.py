"""Check whether this machine can run a training."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch
from huggingface_hub import try_to_load_from_cache

from core.settings import UserError
from training.attention.choice import check_attention
from training.base_model import packaged
from training.fused import check_fused
from training.nodes import Nodes
from training.settings import ModelSettings, TrainSettings


def check_machine(settings: TrainSettings, nodes: Nodes) -> int:
    """The number of processes to train with on each node. Raises UserError that lists everything this machine lacks."""
    if missing := missing_requirements(settings, nodes):
        raise UserError(
            "this machine cannot run the requested training (plan=true prints what it would take):\n- "
            + "\n- ".join(missing)
        )
    return _processes(settings, nodes)


def _processes(settings: TrainSettings, nodes: Nodes) -> int:
    return settings.processes or nodes.slots or torch.cuda.device_count()


def missing_requirements(settings: TrainSettings, nodes: Nodes) -> tuple[str, ...]:
    """What prevents this training on this machine, one sentence each."""
    missing = []
    devices, processes = torch.cuda.device_count(), _processes(settings, nodes)
    ranks = processes * len(nodes.hosts)
    if not processes:
        missing.append(
            "processes=null means one per GPU, and this machine has no GPU: use one that has, or processes=2"
        )
    elif devices and processes > devices:
        missing.append(f"processes={processes} was given, but this machine has {devices} GPUs")
    elif settings.batch_size % ranks:
        missing.append(f"batch_size={settings.batch_size} is not a multiple of the {ranks} processes")
    if devices and not settings.deepspeed:
        missing.append("deepspeed=none keeps no fp32 copy of the bf16 weights on a GPU: use deepspeed=zero3")
    for check in (partial(check_attention, settings.attention), partial(check_fused, settings.fused_kernels)):
        try:
            check()
        except UserError as error:
            missing.append(str(error))
    return tuple(missing)


def missing_weights(model: ModelSettings) -> str | None:
    """A note if a published model's weights are not on this machine; None if they are."""
    if model.tiny or not model.path or (Path(model.path) / "config.json").is_file():
        return None
    if isinstance(try_to_load_from_cache(model.path, "config.json"), str) or (
        model.package and packaged(model.package)
    ):
        return None
    size = f"{2 * model.shape.parameters / 1e9:.0f} GB" if model.shape else "size unknown"
    return f"the weights of {model.path} ({size} in bf16) are not on this machine: the first run downloads them"
