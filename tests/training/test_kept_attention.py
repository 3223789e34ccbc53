"""Checkpointed layers that keep attention's output: the same gradients, with fewer calls of the kernel."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils.checkpoint import checkpoint

import training.attention.gathered
from core.settings import UserError
from scripts.bench.exactness import Gradients, largest_relative_error, tree_gradients
from tests.training.helpers.operations import Operations
from tests.training.helpers.planned_trainings import settings
from tests.training.helpers.random_trees import SIZES, dense, moe, served
from training.attention.choice import implementation
from training.attention.gathered import layout
from training.attention.kept import KEPT, checkpointing
from training.attention.kernels import KERNELS, Lengths
from training.token_tree import TokenTree, merge

LAYERS = SIZES["num_hidden_layers"]


def kernel_calls(operations: Operations) -> dict[str, int]:
    """The calls of attention kernels, not those of their backward passes."""
    return {name: count for name, count in operations.counts.items() if name in KEPT}


def run(build: Any, row: TokenTree, keeps: bool) -> tuple[float, Gradients, int]:
    """The loss, the gradients, and the kernel's calls for each chain and layer."""
    model = build(implementation("sdpa")).train()
    model.gradient_checkpointing_enable(checkpointing(keeps))
    with Operations() as operations:
        loss, gradients = tree_gradients(model, [[row]], len(row.trained))
    ((name, calls),) = kernel_calls(operations).items()
    assert name == "aten::_scaled_dot_product_flash_attention_for_cpu"
    return loss, gradients, calls // (LAYERS * len(row.starts))


@pytest.mark.parametrize("build", [dense, moe])
def test_the_kernel_is_called_once_instead_of_twice(build: Any) -> None:
    row = merge(served(6))
    loss, gradients, calls = run(build, row, keeps=True)
    expected, expected_gradients, twice = run(build, row, keeps=False)
    assert (calls, twice) == (1, 2)
    assert loss == expected
    assert largest_relative_error(gradients, expected_gradients) == 0


def test_a_row_in_parts_saves_one_call_of_three(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts are recomputed on their own in the backward pass."""
    row = merge(served(6))
    monkeypatch.setattr(training.attention.gathered, "KEYS_AT_ONCE", max(map(len, row.paths())))
    assert len(layout(row)["parts"]) > 2
    loss, gradients, calls = run(dense, row, keeps=True)
    expected, expected_gradients, thrice = run(dense, row, keeps=False)
    assert (calls, thrice) == (2, 3)
    assert loss == expected
    assert largest_relative_error(gradients, expected_gradients) == 0


@pytest.mark.parametrize(("keeps", "calls"), [(True, 1), (False, 2)])
def test_the_flash_kernel_of_pytorch_is_kept(keeps: bool, calls: int) -> None:
    """Without a GPU: tensors without data, which go through the same operations."""
    query = torch.empty(6, 4, 16, device="meta", dtype=torch.bfloat16, requires_grad=True)
    bounds = torch.empty(3, device="meta", dtype=torch.int32)

    def layer(states: torch.Tensor) -> torch.Tensor:
        return KERNELS["torch_varlen"](2 * states, 3 * states, states, Lengths(bounds, bounds, 3, 3), 0.3).square()

    with Operations() as operations:
        checkpoint(layer, query, **checkpointing(keeps)).sum().backward()
    assert kernel_calls(operations) == {"torch_attn::_varlen_attn": calls}


def test_it_needs_checkpointing_and_a_kernel_that_can_be_kept() -> None:
    assert settings("experiment=paper_4b", "keep_attention=true").keep_attention
    with pytest.raises(UserError, match="needs gradient_checkpointing=true"):
        settings("keep_attention=true")
    with pytest.raises(UserError, match="does not work with attention=flex"):
        settings("experiment=paper_4b", "keep_attention=true", "attention=flex")
