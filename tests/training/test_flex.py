"""FlexAttention over trees: its mask and blocks against walking up, its output and gradients against those of the other
kernels. On a CPU FlexAttention computes as specified, one dense step after the other; compiled it runs on GPUs only."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from numpy.typing import NDArray
from torch.nn.attention.flex_attention import BlockMask

from scripts.bench.exactness import largest_relative_error, reference_gradients
from tests.training.helpers.random_trees import dense, moe, served
from tests.training.helpers.tree_strategy import token_trees
from training.attention.choice import ATTEND, implementation, layout_for
from training.attention.flex import BLOCK, flex_layout, last_seen, pairs_of_blocks
from training.loss import learn_trees
from training.token_tree import TokenTree, merge
from training.trainer import collate

SMALL = 8
"""Tokens of a block, so that random trees have several."""


def seen(tree: TokenTree) -> NDArray[np.bool_]:
    """[T, T]: whether the first token sees the second, by walking up."""
    visible = np.zeros((tree.size, tree.size), bool)
    for token in range(tree.size):
        chain = np.flatnonzero(tree.starts == token)
        above = int(tree.parents[chain[0]]) if len(chain) else token - 1
        if above >= 0:
            visible[token] = visible[above]
        visible[token, token] = True
    return visible


def by_block(pairs: NDArray[Any]) -> NDArray[Any]:
    """[T, T] -> [B, SMALL, B, SMALL]; what is beyond the last token is not seen."""
    blocks = -(-len(pairs) // SMALL)
    whole = np.zeros((blocks * SMALL, blocks * SMALL), pairs.dtype)
    whole[: len(pairs), : len(pairs)] = pairs
    return whole.reshape(blocks, SMALL, blocks, SMALL)


@given(tree=token_trees())
def test_a_token_sees_its_path(tree: TokenTree) -> None:
    chain_of, last = flex_layout(tree)["chain_of"].numpy(), last_seen(tree)
    tokens = np.arange(tree.size)
    masked = (tokens <= tokens[:, None]) & (tokens <= last[chain_of[:, None], chain_of])
    assert np.array_equal(masked, seen(tree))


@given(tree=token_trees())
def test_blocks_are_empty_partial_or_full_as_the_mask_is(tree: TokenTree) -> None:
    expected = by_block(seen(tree))
    with patch("training.attention.flex.BLOCK", SMALL):
        counts = pairs_of_blocks(tree)
        blocks = flex_layout(tree)["blocks"]
    assert np.array_equal(counts, expected.sum((1, 3)))
    assert counts.sum() == tree.pairs()
    everything, something = expected.all((1, 3)), expected.any((1, 3))
    for line in range(len(counts)):
        for kind, expected_blocks in (("kv", something & ~everything), ("full_kv", everything)):
            number = blocks[f"{kind}_num_blocks"][0, 0, line]
            listed = blocks[f"{kind}_indices"][0, 0, line, :number]
            assert listed.tolist() == np.flatnonzero(expected_blocks[line]).tolist()
    theirs = BlockMask.from_kv_blocks(**{name: tensor for name, tensor in blocks.items() if "kv" in name})
    for name in ("q_num_blocks", "q_indices", "full_q_num_blocks", "full_q_indices"):
        assert torch.equal(blocks[name], getattr(theirs, name))


@settings(max_examples=25, deadline=None)
@given(tree=token_trees(chains=5, longest=9))
@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
def test_the_output_is_that_of_sdpa(tree: TokenTree) -> None:
    torch.manual_seed(0)
    query = torch.randn(1, 4, tree.size, 16)
    key, value = torch.randn(2, 1, 2, tree.size, 16)
    flex, sdpa = (
        ATTEND[name](torch.nn.Module(), query, key, value, None, 0.3, **layout_for(name)(tree))[0]
        for name in ("flex", "sdpa")
    )
    torch.testing.assert_close(flex, sdpa)


@pytest.mark.parametrize("build", [dense, moe])
@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
def test_loss_and_gradients_are_those_of_single_samples(build: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch refuses gradients on a CPU before it comes to them; the dense steps have them."""
    monkeypatch.setattr("torch.nn.attention.flex_attention._validate_device", lambda *tensors: None)
    samples = served(8)
    row = merge(samples)
    assert row.size > 2 * BLOCK
    count = len(row.trained)
    loss, gradients = reference_gradients(build("sdpa"), samples, count)
    model = learn_trees(build(implementation("flex")))
    ours = model(**collate([[row]], "flex"), num_items_in_batch=count)["loss"]
    ours.backward()
    assert ours.item() == pytest.approx(loss, rel=1e-6)
    theirs = {name: parameter.grad for name, parameter in model.named_parameters()}
    assert largest_relative_error(theirs, gradients) < 1e-5


def test_queries_and_keys_of_autocast_are_wider_than_values() -> None:
    tree = merge(served(2))
    torch.manual_seed(0)
    query, key = torch.randn(1, 4, tree.size, 16), torch.randn(1, 2, tree.size, 16)
    value = torch.randn(1, 2, tree.size, 16, dtype=torch.bfloat16)
    output, _ = ATTEND["flex"](torch.nn.Module(), query, key, value, None, 0.3, **flex_layout(tree))
    assert output.dtype == torch.bfloat16
