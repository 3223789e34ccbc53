"""Load the untrained model for training on token trees."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, GenerationConfig, PreTrainedModel
from transformers.utils import GENERATION_CONFIG_NAME

from training.attention.choice import implementation
from training.fused import fuse
from training.loss import learn_trees
from training.settings import Attention, FusedKernels


def copy_generation_config(base: Path, directory: Path) -> None:
    """Copy the sampling defaults of the untrained model in `base` to the trained one in `directory`, if it has any."""
    if (base / GENERATION_CONFIG_NAME).is_file():
        shutil.copyfile(base / GENERATION_CONFIG_NAME, directory / GENERATION_CONFIG_NAME)


def load(
    directory: Path, attention: Attention, fused: FusedKernels, experts: str | None, dtype: torch.dtype
) -> PreTrainedModel:
    """Load the model in `directory`, ready to train on token trees. Under ZeRO-3 each process keeps only its
    partition."""
    options = {"experts_implementation": experts} if experts else {}
    name = implementation(attention)
    model = AutoModelForCausalLM.from_pretrained(directory, attn_implementation=name, dtype=dtype, **options)
    # While loading, ZeRO-3 creates every tensor in the weights' dtype, the rotary frequencies included: in bf16 a token
    # at position 32,000 would be rotated several radians differently than where the model is served.
    model.model.rotary_emb = type(model.model.rotary_emb)(model.config)
    if (directory / GENERATION_CONFIG_NAME).is_file():
        # Many published ones contradict themselves, and saving them fails: `copy_generation_config` takes the file.
        model.generation_config = GenerationConfig()
    return learn_trees(fuse(model, fused))
