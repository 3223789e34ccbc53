"""What this machine has for a training, and what it lacks."""

from __future__ import annotations

from pathlib import Path

import torch
from huggingface_hub import try_to_load_from_cache

from core.settings import UserError
from training.attention import check_attention
from training.settings import ModelSettings, TrainSettings


def check_machine(settings: TrainSettings) -> int:
    """The number of processes to train with on this machine. Raises UserError that names all it lacks for what is asked."""
    if lacks := lacking(settings):
        raise UserError(
            "this machine cannot train as asked (plan=true says what the training would take):\n- " + "\n- ".join(lacks)
        )
    return settings.processes or torch.cuda.device_count()


def lacking(settings: TrainSettings) -> tuple[str, ...]:
    """What stands in the way of training here, one sentence each."""
    found = []
    devices = torch.cuda.device_count()
    processes = settings.processes or devices
    if not processes:
        found.append(
            "processes=null means one per GPU, and there is none here: take a machine that has some, or say processes=2"
        )
    elif devices and processes > devices:
        found.append(f"processes={processes} was given, but there are {devices} GPUs")
    elif settings.batch_size % processes:
        found.append(f"batch_size={settings.batch_size} is not a multiple of the {processes} processes")
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
