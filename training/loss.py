"""The training loss: the negative log-likelihood of the trained tokens of token trees, with logits for those tokens
only.

Logits are computed in blocks and recomputed in the backward pass, so a row of 32k tokens never has all of them at once:
10,000 trained tokens of Qwen3's vocabulary would take 6 GB in fp32, and as much again for their gradient. The losses
that leave a block are fp32.
"""

from __future__ import annotations

from types import MethodType
from typing import Any

import torch
from torch.nn.functional import cross_entropy, linear
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

BLOCK = 1 << 27
"""Logits per block: half a GiB in fp32."""


def learn_trees(model: PreTrainedModel) -> PreTrainedModel:
    """Make a call of `model` return the loss of a row of trees instead of logits; weights and their names do not
    change.

    The loss is computed inside the output layer's call, because ZeRO-3 gathers a layer's weights only during its call.
    """
    model.lm_head.forward = MethodType(_token_losses, model.lm_head)
    model.forward = MethodType(_tree_loss, model)
    return model


def _tree_loss(
    self: PreTrainedModel,
    input_ids: torch.Tensor,
    sources: torch.Tensor,
    labels: torch.Tensor,
    shift_labels: torch.Tensor | None = None,
    num_items_in_batch: torch.Tensor | int | None = None,
    **tree: Any,
) -> dict[str, torch.Tensor]:
    """`input_ids` [1, T]; the K positions `sources` predict the tokens `labels` [1, K] (the Trainer counts
    `shift_labels`); `tree` is the row's layout. Returns `losses` [K] in nats, and `loss`: their sum divided by
    `num_items_in_batch`, by default K. A row with nothing to train has loss 0."""
    hidden = self.model(input_ids=input_ids, use_cache=False, **tree).last_hidden_state
    losses = self.lm_head(hidden[0, sources], labels[0])
    count = max(labels.numel(), 1) if num_items_in_batch is None else num_items_in_batch
    return {"loss": losses.sum() / count, "losses": losses}


def _token_losses(self: torch.nn.Linear, hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """hidden [K, H], targets [K] -> losses [K], fp32."""

    def block(hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        # The weight is not an argument: checkpoint saves its arguments, with activation offload once per block.
        return cross_entropy(linear(hidden, self.weight).float(), targets, reduction="none")

    rows = max(1, BLOCK // self.out_features)
    if len(hidden) <= rows:
        return block(hidden, targets)
    blocks = zip(torch.split(hidden, rows), torch.split(targets, rows), strict=True)
    return torch.cat([checkpoint(block, h, t, use_reentrant=False, preserve_rng_state=False) for h, t in blocks])
