"""transformers' Trainer over rows of token trees: balanced ranks, and validation by source and difficulty."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Container
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from transformers import Trainer, TrainerControl

from training.attention.choice import layout_for
from training.dataset import Rows
from training.model import copy_generation_config
from training.sampler import BalancedSampler
from training.settings import Attention
from training.token_tree import TokenTree, side_by_side


def collate(rows: list[list[TokenTree]], attention: Attention = "sdpa") -> dict[str, Any]:
    """One row as a batch: `input_ids` [1, T], the K positions `sources` that predict the `labels` [1, K], and the row's
    layout for `attention`."""
    (members,) = rows
    row = side_by_side(members)
    labels = torch.from_numpy(row.input_ids[row.trained])[None]
    return {
        "input_ids": torch.from_numpy(row.input_ids)[None],
        "sources": torch.from_numpy(row.sources()),
        "labels": labels,
        "shift_labels": labels,
        **layout_for(attention)(row),
    }


class TreeTrainer(Trainer):
    """Trains on rows in the sampler's order, and reports the mean loss over all trained validation tokens, also by
    group.

    With `offload`, activations saved by the forward pass wait in host memory for the backward pass. `trained_tokens`
    counts tokens since the process started, over all ranks; `validation_s` counts seconds spent on validation.
    """

    control: TrainerControl

    def __init__(
        self,
        rows: Rows,
        validation: Rows,
        sampler: BalancedSampler,
        attention: Attention,
        offload: bool,
        **options: Any,
    ) -> None:
        collator = partial(collate, attention=attention)
        super().__init__(train_dataset=rows, eval_dataset=validation, data_collator=collator, **options)
        self.sampler, self.offload = sampler, offload
        self.trained_tokens = 0
        self.validation_s = 0.0

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        super()._save(output_dir, state_dict)
        copy_generation_config(Path(self.model.name_or_path), Path(output_dir or self.args.output_dir))

    def _get_train_sampler(self, train_dataset: Rows | None = None) -> BalancedSampler:
        return self.sampler

    def get_batch_samples(self, *arguments: Any, **options: Any) -> tuple[list[dict[str, Any]], torch.Tensor]:
        batches, trained = super().get_batch_samples(*arguments, **options)
        self.trained_tokens += int(trained)
        return batches, trained

    def compute_loss_context_manager(self) -> contextlib.ExitStack:
        stack: contextlib.ExitStack = super().compute_loss_context_manager()
        if self.offload and torch.is_grad_enabled():
            stack.enter_context(torch.autograd.graph.save_on_cpu(pin_memory=torch.cuda.is_available()))
        return stack

    def evaluate(
        self, eval_dataset: None = None, ignore_keys: None = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """The validation loss in nats per trained token: overall, for each source and difficulty, and for databases of
        the training data and unseen ones."""
        started = time.monotonic()
        rows: Rows = self.eval_dataset
        trained: frozenset[str] = self.train_dataset.domains
        of_row = [[loss_groups(*label, trained) for label in rows.labels(row)] for row in range(len(rows))]
        groups = ["loss", *sorted({group for labels in of_row for label in labels for group in label})]
        sums = torch.zeros(len(groups), 2, dtype=torch.float64, device=self.args.device)
        self.model_wrapped.eval()
        ranks, rank = self.args.world_size, self.args.process_index
        for first in range(0, len(rows), ranks):
            # Under ZeRO-3 every rank must join every forward pass.
            row = first + rank if first + rank < len(rows) else None
            labels = [[]] if row is None else of_row[row]
            for label, losses in zip(labels, self._losses(rows[row]), strict=True):
                for group in ("loss", *label):
                    sums[groups.index(group)] += torch.stack([losses.sum(), losses.new_tensor(len(losses))])
        if dist.is_initialized():
            dist.all_reduce(sums)
        metrics = {f"{metric_key_prefix}_{name}": float(s / n) for name, (s, n) in zip(groups, sums, strict=True)}
        self.validation_s += time.monotonic() - started
        self.log(dict(metrics))
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def _losses(self, members: list[TokenTree]) -> tuple[torch.Tensor, ...]:
        """The losses of the trained tokens of each tree of a row, in fp64."""
        inputs = self._prepare_inputs(self.data_collator([members]))
        with torch.no_grad(), self.compute_loss_context_manager():
            losses: torch.Tensor = self.model_wrapped(**inputs)["losses"].double()
        return torch.split(losses, [len(tree.trained) for tree in members])


def loss_groups(source: str, difficulty: str, domain: str, trained: Container[str]) -> list[str]:
    """The names of the losses that a tree counts for, besides the overall one."""
    names = {
        "source": source,
        "difficulty": difficulty,
        "databases": domain and ("trained" if domain in trained else "unseen"),
    }
    return [f"loss/{kind}/{name}" for kind, name in names.items() if name]
