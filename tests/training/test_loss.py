"""The blocks in which the loss computes logits."""

from __future__ import annotations

from types import MethodType

import pytest
import torch
from torch.nn.functional import cross_entropy, linear

import training.loss

VOCABULARY, HIDDEN = 32, 4


@pytest.mark.parametrize(("rows", "blocks"), [(1, [1]), (7, [7]), (8, [7, 1]), (15, [7, 7, 1])], ids=str)
def test_no_block_has_more_logits_than_allowed(rows: int, blocks: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    computed: list[int] = []

    def watched(hidden: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        computed.append(len(hidden))
        return linear(hidden, weight)

    monkeypatch.setattr(training.loss, "linear", watched)
    monkeypatch.setattr(training.loss, "BLOCK", 7 * VOCABULARY + VOCABULARY - 1)
    torch.manual_seed(0)
    head = torch.nn.Linear(HIDDEN, VOCABULARY, bias=False)
    hidden, targets = torch.randn(rows, HIDDEN), torch.randint(VOCABULARY, (rows,))
    losses = MethodType(training.loss._token_losses, head)(hidden, targets)
    assert computed == blocks
    torch.testing.assert_close(losses, cross_entropy(head(hidden), targets, reduction="none"))


def test_a_vocabulary_larger_than_a_block_is_computed_row_by_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training.loss, "BLOCK", VOCABULARY - 1)
    head = torch.nn.Linear(HIDDEN, VOCABULARY, bias=False)
    losses = MethodType(training.loss._token_losses, head)(torch.randn(3, HIDDEN), torch.zeros(3, dtype=torch.long))
    assert losses.shape == (3,)
