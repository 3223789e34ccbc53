"""Run by torchrun on two processes: writes the gathered gradients of rows of trees under ZeRO-3 to
DIRECTORY/<model>.pt."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from pathlib import Path

import deepspeed
import torch
import torch.distributed as dist
from deepspeed.utils import safe_get_full_grad

import training.loss
from tests.training.helpers.random_trees import VOCABULARY, dense, moe, served
from training.attention.choice import implementation
from training.attention.kept import checkpointing
from training.loss import learn_trees
from training.token_tree import merge
from training.trainer import collate

CONFIG = {
    "zero_optimization": {"stage": 3, "stage3_param_persistence_threshold": 0},
    "zero_allow_untested_optimizer": True,
    "train_micro_batch_size_per_gpu": 1,
    "gradient_accumulation_steps": 2,
}


def main(directory: Path) -> None:
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    deepspeed.init_distributed(dist_backend="gloo", auto_mpi_discovery=False, verbose=False)
    rank, ranks = dist.get_rank(), dist.get_world_size()
    trees = [merge(served(3 + seed, seed)) for seed in range(4)]
    count = sum(len(tree.trained) for tree in trees)
    training.loss.BLOCK = 7 * VOCABULARY  # several blocks of logits, as in real rows
    for build in (dense, moe):
        model = learn_trees(build(implementation("sdpa"))).train()
        model.gradient_checkpointing_enable(checkpointing(keep_attention=build is moe))
        engine, *_ = deepspeed.initialize(
            model=model, optimizer=torch.optim.SGD(model.parameters(), lr=0.0), config=CONFIG
        )
        total = torch.zeros(1)
        for step in range(2):
            # DeepSpeed averages over ranks and micro-steps, but the loss is already divided by the number of all
            # tokens.
            with torch.autograd.graph.save_on_cpu() if step else nullcontext():
                loss = engine(**collate([[trees[2 * step + rank]]]), num_items_in_batch=count)["loss"]
            engine.backward(loss * ranks * 2)
            total += loss.detach()
            if step == 1:
                gradients = {name: safe_get_full_grad(p).clone() for name, p in engine.module.named_parameters()}
            engine.step()
        dist.all_reduce(total)
        if rank == 0:
            torch.save({"loss": total.item(), "gradients": gradients}, directory / f"{build.__name__}.pt")
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
