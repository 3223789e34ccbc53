"""Run by torchrun: loads the model in DIRECTORY as training does under ZeRO-3 in bf16; writes its rotary frequencies to
frequencies.pt."""

from __future__ import annotations

import sys
from pathlib import Path

import deepspeed
import torch
from transformers.integrations import HfDeepSpeedConfig

from training.model import load

CONFIG = {"zero_optimization": {"stage": 3}, "bf16": {"enabled": True}, "train_micro_batch_size_per_gpu": 1}

if __name__ == "__main__":
    directory = Path(sys.argv[1])
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    deepspeed.init_distributed(dist_backend="gloo", auto_mpi_discovery=False, verbose=False)
    zero3_config = HfDeepSpeedConfig(CONFIG)  # while it exists, from_pretrained partitions the weights
    model = load(directory, "sdpa", "none", None, torch.bfloat16)
    assert hasattr(model.lm_head.weight, "ds_id"), "loaded under ZeRO-3"
    torch.save(model.model.rotary_emb.inv_freq, directory / "frequencies.pt")
    torch.distributed.destroy_process_group()
