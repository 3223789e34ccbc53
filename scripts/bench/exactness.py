"""Compare the gradients of rows of trees with those of separate user turns, computed with transformers alone."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel

from training.loss import learn_trees
from training.render import Sample
from training.token_tree import TokenTree
from training.trainer import collate

Gradients = dict[str, torch.Tensor]


def reference_gradients(model: PreTrainedModel, samples: Sequence[Sample], count: int) -> tuple[float, Gradients]:
    """Loss and gradients without our code: one sample at a time, the model's own attention, complete logits; losses are
    summed and divided by `count` tokens."""
    model.zero_grad()
    total = 0.0
    for sample in samples:
        ids = torch.tensor([sample.input_ids])
        logits = model(ids).logits[0, [position - 1 for position in sample.trained]]
        loss = cross_entropy(logits, ids[0, sample.trained], reduction="sum") / count
        torch.autograd.backward(loss)
        total += loss.item()
    return total, _gradients(model)


def tree_gradients(model: PreTrainedModel, rows: Sequence[Sequence[TokenTree]], count: int) -> tuple[float, Gradients]:
    """Loss and gradients of rows of token trees."""
    learn_trees(model).zero_grad()
    losses = [model(**collate([list(row)]), num_items_in_batch=count)["loss"] for row in rows]
    torch.autograd.backward(torch.stack(losses).sum())
    return sum(loss.item() for loss in losses), _gradients(model)


def largest_relative_error(actual: Gradients, expected: Gradients) -> float:
    """The largest relative error of any parameter's gradient."""
    assert actual.keys() == expected.keys()
    return max(float((actual[name] - expected[name]).norm() / expected[name].norm()) for name in expected)


def _gradients(model: PreTrainedModel) -> Gradients:
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
