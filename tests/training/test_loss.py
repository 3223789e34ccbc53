"""The training loss: what it is divided by, and the blocks in which it computes logits."""

from __future__ import annotations

from collections import Counter
from types import MethodType

import pytest
import torch
from torch.nn.functional import cross_entropy, linear

import training.loss
from tests.training.helpers.random_trees import dense
from training.attention.choice import implementation
from training.loss import learn_trees
from training.render import Sample
from training.token_tree import single_chain
from training.trainer import collate

VOCABULARY, HIDDEN = 32, 4


def watch_blocks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The rows of each block of logits, as they are computed."""
    computed: list[int] = []

    def watched(hidden: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        computed.append(len(hidden))
        return linear(hidden, weight)

    monkeypatch.setattr(training.loss, "linear", watched)
    return computed


@pytest.mark.parametrize(("rows", "blocks"), [(1, [1]), (7, [7]), (8, [7, 1]), (15, [7, 7, 1])], ids=str)
def test_no_block_has_more_logits_than_allowed(rows: int, blocks: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    computed = watch_blocks(monkeypatch)
    monkeypatch.setattr(training.loss, "BLOCK", 7 * VOCABULARY + VOCABULARY - 1)
    torch.manual_seed(0)
    head = torch.nn.Linear(HIDDEN, VOCABULARY, bias=False)
    hidden, targets = torch.randn(rows, HIDDEN), torch.randint(VOCABULARY, (rows,))
    losses = MethodType(training.loss._token_losses, head)(hidden, targets)
    assert computed == blocks
    losses.sum().backward()
    recomputed = blocks if len(blocks) > 1 else []
    assert Counter(computed) == Counter(blocks + recomputed), "a single block is kept: it would only be computed again"
    torch.testing.assert_close(losses, cross_entropy(head(hidden), targets, reduction="none"))


def test_a_vocabulary_larger_than_a_block_is_computed_row_by_row(monkeypatch: pytest.MonkeyPatch) -> None:
    computed = watch_blocks(monkeypatch)
    monkeypatch.setattr(training.loss, "BLOCK", VOCABULARY - 1)
    head = torch.nn.Linear(HIDDEN, VOCABULARY, bias=False)
    losses = MethodType(training.loss._token_losses, head)(torch.randn(3, HIDDEN), torch.zeros(3, dtype=torch.long))
    assert losses.shape == (3,)
    assert computed == [1, 1, 1]


@pytest.mark.parametrize("trained", [0, 1, 3])
def test_the_loss_is_the_mean_over_the_trained_tokens_or_their_sum_over_a_given_count(trained: int) -> None:
    model = learn_trees(dense(implementation("sdpa")))
    tree = single_chain(Sample("d", 0, [3, 1, 4, 1, 5], list(range(1, 1 + trained))))
    row = collate([[tree]])
    result = model(**row)
    assert result["losses"].shape == (trained,)
    assert result["loss"].item() == pytest.approx(result["losses"].sum().item() / max(trained, 1))
    assert model(**row, num_items_in_batch=8)["loss"].item() == pytest.approx(result["losses"].sum().item() / 8)


def test_no_keys_and_values_are_kept_whatever_the_model_is_set_to(monkeypatch: pytest.MonkeyPatch) -> None:
    model = learn_trees(dense(implementation("sdpa")))
    model.config.use_cache = True
    outputs = []
    model.model.register_forward_hook(lambda module, arguments, output: outputs.append(output))
    model(**collate([[single_chain(Sample("d", 0, [3, 1, 4], [1, 2]))]]))
    assert [output.past_key_values for output in outputs] == [None]
