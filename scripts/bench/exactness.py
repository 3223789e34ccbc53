"""How far the gradients of rows of trees are from those of training every user turn by itself with transformers alone."""

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


def one_by_one(model: PreTrainedModel, samples: Sequence[Sample], count: int) -> tuple[float, Gradients]:
    """The N-sample way with nothing of ours: the model's own attention, whole logits, sums over `count` tokens."""
    model.zero_grad()
    total = 0.0
    for sample in samples:
        ids = torch.tensor([sample.input_ids])
        logits = model(ids).logits[0, [position - 1 for position in sample.trained]]
        loss = cross_entropy(logits, ids[0, sample.trained], reduction="sum") / count
        torch.autograd.backward(loss)
        total += loss.item()
    return total, _gradients(model)


def by_rows(model: PreTrainedModel, rows: Sequence[Sequence[TokenTree]], count: int) -> tuple[float, Gradients]:
    """The same by our rows of trees."""
    learn_trees(model).zero_grad()
    losses = [model(**collate([list(row)]), num_items_in_batch=count)["loss"] for row in rows]
    torch.autograd.backward(torch.stack(losses).sum())
    return sum(loss.item() for loss in losses), _gradients(model)


def furthest(ours: Gradients, theirs: Gradients) -> float:
    """The largest relative distance of any parameter's gradient."""
    assert ours.keys() == theirs.keys()
    return max(float((ours[name] - theirs[name]).norm() / theirs[name].norm()) for name in theirs)


def _gradients(model: PreTrainedModel) -> Gradients:
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
