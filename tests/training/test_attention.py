"""What the attention kernels are given, by hand, and what they compute, against attention with a full mask."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.training.helpers.operations import Operations
from training.attention.gathered import layout, tree_attention
from training.attention.kernels import KERNELS, Lengths
from training.render import Sample
from training.token_tree import TokenTree, merge, side_by_side, single_chain


def samples(*sequences: list[int]) -> list[Sample]:
    return [Sample("d", turn, ids, []) for turn, ids in enumerate(sequences)]


def test_the_layout_of_a_branch_by_hand() -> None:
    """The longest sample is tokens 0 to 3; token 4 continues token 1."""
    arguments = layout(merge(samples([7, 8, 5], [7, 8, 1, 2])))
    assert arguments["position_ids"].tolist() == [[0, 1, 2, 3, 2]]
    assert arguments["cu_seq_lens_q"].tolist() == [0, 4, 5]
    assert arguments["cu_seq_lens_k"].tolist() == [0, 4, 7]
    assert arguments["key_index"].tolist() == [0, 1, 2, 3, 0, 1, 4]
    assert (arguments["max_length_q"], arguments["max_length_k"]) == (4, 4)


def test_without_branches_the_keys_stay_as_they_are() -> None:
    row = side_by_side([single_chain(sample) for sample in samples([7, 8, 9], [7, 8])])
    arguments = layout(row)
    assert arguments["key_index"] is None
    assert arguments["cu_seq_lens_q"].tolist() == arguments["cu_seq_lens_k"].tolist() == [0, 3, 5]


TREES = {
    "chain": merge(samples([7, 8, 9])),
    "fork after the first token": merge(samples([7, 8], [7, 9, 9])),
    "fork of a fork": merge(samples([7, 8, 1, 2], [7, 8, 1, 3, 4], [7, 5])),
    "two trees": side_by_side([merge(samples([7, 8], [7, 9, 9])), merge(samples([7]))]),
}


@pytest.mark.parametrize("name", TREES)
def test_sdpa_is_attention_over_each_tokens_path(name: str) -> None:
    tree = TREES[name]
    torch.manual_seed(0)
    query = torch.randn(tree.size, 4, 8, dtype=torch.float64)
    key, value = torch.randn(2, tree.size, 2, 8, dtype=torch.float64)
    given = layout(tree)
    index = given["key_index"] if given["key_index"] is not None else torch.arange(tree.size)
    lengths = Lengths(given["cu_seq_lens_q"], given["cu_seq_lens_k"], given["max_length_q"], given["max_length_k"])
    output = KERNELS["sdpa"](query, key[index], value[index], lengths, 0.3)
    for token, path in enumerate(paths(tree)):
        for head in range(4):
            weights = (query[token, head] @ key[path, head // 2].T * 0.3).softmax(0)
            torch.testing.assert_close(output[token, head], weights @ value[path, head // 2])


@pytest.mark.parametrize(("name", "masks"), [("chain", 0), ("fork after the first token", 1), ("fork of a fork", 2)])
def test_only_a_chain_that_continues_another_needs_a_mask(name: str, masks: int) -> None:
    tree = TREES[name]
    query, key = torch.randn(1, 4, tree.size, 8), torch.randn(1, 2, tree.size, 8)
    with Operations() as operations:
        tree_attention(KERNELS["sdpa"])(torch.nn.Module(), query, key, key, None, 0.3, **layout(tree))
    assert operations.counts["aten::tril"] == masks


def test_queries_and_keys_of_autocast_are_wider_than_values() -> None:
    """Autocast multiplies in bf16, and the rotation of queries and keys by fp32 angles makes them fp32 again."""
    tree = TREES["fork of a fork"]
    torch.manual_seed(0)
    query, key = torch.randn(1, 4, tree.size, 8), torch.randn(1, 2, tree.size, 8)
    value = torch.randn(1, 2, tree.size, 8, dtype=torch.bfloat16)
    attend = tree_attention(KERNELS["sdpa"])
    output, _ = attend(torch.nn.Module(), query, key, value, None, 0.3, **layout(tree))
    expected, _ = attend(torch.nn.Module(), query, key, value.float(), None, 0.3, **layout(tree))
    assert output.dtype == torch.bfloat16
    torch.testing.assert_close(output.float(), expected, atol=0.03, rtol=0.03)


def paths(tree: TokenTree) -> list[list[int]]:
    """The tokens that each token sees, by walking up."""
    visible: list[list[int]] = []
    for token in range(tree.size):
        chains = np.flatnonzero(tree.starts == token)
        above = int(tree.parents[chains[0]]) if len(chains) else token - 1
        visible.append([*(visible[above] if above >= 0 else []), token])
    return visible


@pytest.mark.parametrize(("heads", "groups", "width"), [(4, 2, 2), (4, 2, 4), (4, 4, 4), (4, 4, 8)])
def test_torch_varlen_takes_heads_that_share_keys_or_do_not(heads: int, groups: int, width: int) -> None:
    """Without a GPU: on tensors without data PyTorch checks the arguments as it does with data."""
    options = {"device": "meta", "dtype": torch.bfloat16}
    query, key = torch.empty(5, heads, width, **options), torch.empty(7, groups, width, **options)
    bounds = torch.empty(3, device="meta", dtype=torch.int32)
    assert KERNELS["torch_varlen"](query, key, key, Lengths(bounds, bounds, 3, 4), 0.3).shape == query.shape
