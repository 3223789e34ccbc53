"""What this machine has for a training, and what it lacks."""

from __future__ import annotations

from pathlib import Path

import torch
from huggingface_hub import try_to_load_from_cache

from core.settings import UserError
from training.attention import check_attention
from training.nodes import Nodes
from training.settings import ModelSettings, TrainSettings


def check_machine(settings: TrainSettings, nodes: Nodes) -> int:
    """The number of processes to train with on each node. Raises UserError that names all that this one lacks for what is
    asked."""
    if lacks := lacking(settings, nodes):
        raise UserError(
            "this machine cannot train as asked (plan=true says what the training would take):\n- " + "\n- ".join(lacks)
        )
    return _processes(settings, nodes)


def _processes(settings: TrainSettings, nodes: Nodes) -> int:
    return settings.processes or nodes.slots or torch.cuda.device_count()


def lacking(settings: TrainSettings, nodes: Nodes) -> tuple[str, ...]:
    """What stands in the way of training here, one sentence each."""
    found = []
    devices, processes = torch.cuda.device_count(), _processes(settings, nodes)
    ranks = processes * len(nodes.hosts)
    if not processes:
        found.append(
            "processes=null means one per GPU, and there is none here: take a machine that has some, or say processes=2"
        )
    elif devices and processes > devices:
        found.append(f"processes={processes} was given, but there are {devices} GPUs")
    elif settings.batch_size % ranks:
        found.append(f"batch_size={settings.batch_size} is not a multiple of the {ranks} processes")
    if devices and not settings.deepspeed:
        found.append("deepspeed=none keeps no fp32 weights beside those in bf16 on a GPU: say deepspeed=zero3")
    try:
        check_attention(settings.attention)
    except UserError as error:
        found.append(str(error))
    return tuple(found)


def weights_elsewhere(model: ModelSettings) -> str | None:
    """What is to be said where a published model's weights do not lie on this machine."""
    if model.tiny or not model.path or (Path(model.path) / "config.json").is_file():
        return None
    if isinstance(try_to_load_from_cache(model.path, "config.json"), str):
        return None
    size = f"{2 * model.shape.parameters / 1e9:.0f} GB" if model.shape else "size not known"
    return f"the weights of {model.path} ({size} in bf16) are not here: the first run loads them from the hub"
