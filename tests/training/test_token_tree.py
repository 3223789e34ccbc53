"""Token trees against the samples they are built from."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from tests.training.helpers.dialogues import dialogue
from tests.training.helpers.random_trees import served
from training.render import Sample, render
from training.token_tree import TokenTree, build_trees, merge, side_by_side, single_chain

TOKENS = st.lists(st.integers(0, 2), min_size=1, max_size=12)


@st.composite
def any_samples(draw: st.DrawFn) -> list[Sample]:
    """Samples over three tokens, so that they share all kinds of prefixes; each token is trained at most once."""
    taken: set[tuple[int, ...]] = set()
    samples = []
    for turn, ids in enumerate(draw(st.lists(TOKENS, min_size=1, max_size=7))):
        candidates = [p for p in range(1, len(ids)) if draw(st.booleans())]
        trained = [p for p in candidates if tuple(ids[: p + 1]) not in taken]
        taken |= {tuple(ids[: p + 1]) for p in trained}
        samples.append(Sample("d", turn, ids, trained))
    return samples


def prefixes(samples: list[Sample]) -> set[tuple[int, ...]]:
    """Every prefix of every sample: the nodes of a trie, by definition."""
    return {tuple(s.input_ids[: n + 1]) for s in samples for n in range(len(s.input_ids))}


def seen_by_token(tree: TokenTree) -> list[list[int]]:
    """For each token its path from the root, found by walking up token by token."""
    seen = []
    for token in range(tree.size):
        path, position = [], token
        while position >= 0:
            path.append(position)
            chains = np.flatnonzero(tree.starts == position)
            position = int(tree.parents[chains[0]]) if len(chains) else position - 1
        seen.append(path[::-1])
    return seen


@given(samples=any_samples())
def test_a_tree_is_the_trie_of_its_samples(samples: list[Sample]) -> None:
    tree = merge(samples)
    token_prefixes = [tuple(tree.input_ids[path].tolist()) for path in seen_by_token(tree)]
    assert len(token_prefixes) == len(set(token_prefixes)), "no prefix occurs twice"
    assert set(token_prefixes) == prefixes(samples)
    learnt = {tuple(s.input_ids[: p + 1]) for s in samples for p in s.trained}
    assert {token_prefixes[token] for token in tree.trained} == learnt
    assert [len(path) - 1 for path in seen_by_token(tree)] == tree.depths().tolist()
    assert tree.pairs() == sum(map(len, token_prefixes))


@given(samples=any_samples())
def test_paths_and_sources_match_a_walk_up_the_tree(samples: list[Sample]) -> None:
    tree = merge(samples)
    seen = seen_by_token(tree)
    for end, path in zip(tree.ends(), tree.paths(), strict=True):
        assert path.tolist() == seen[end - 1]
    assert tree.sources().tolist() == [seen[token][-2] for token in tree.trained]


@given(groups=st.lists(any_samples(), min_size=1, max_size=4))
def test_trees_side_by_side_do_not_change(groups: list[list[Sample]]) -> None:
    members = [merge(group) for group in groups]
    row = side_by_side(members)
    offset = 0
    seen = seen_by_token(row)
    for tree in members:
        inside = range(offset, offset + tree.size)
        assert [[position - offset for position in seen[token]] for token in inside] == seen_by_token(tree)
        assert [t - offset for t in row.trained if t in inside] == tree.trained.tolist()
        offset += tree.size
    assert row.size == offset


def test_a_dialogue_of_ten_turns_is_a_trunk_with_branches() -> None:
    samples = served(10)
    tree = merge(samples)
    assert len(tree.starts) == 10
    assert (tree.parents >= 0).sum() == 9
    assert tree.size == len(prefixes(samples))
    assert sum(len(s.input_ids) for s in samples) > 3 * tree.size


def test_a_single_sample_is_one_chain() -> None:
    (sample,) = served(1)
    for tree in (single_chain(sample), merge([sample])):
        assert tree.input_ids.tolist() == sample.input_ids
        assert tree.trained.tolist() == sample.trained
        assert tree.paths()[0].tolist() == list(range(tree.size))
        assert tree.pairs() == tree.size * (tree.size + 1) // 2


@pytest.mark.parametrize("capacity", [10_000, 600, 450])
def test_a_tree_over_the_capacity_becomes_several(capacity: int) -> None:
    samples = served(10)
    built = build_trees(samples, capacity)
    assert all(tree.size <= capacity for tree in built)
    seen = [(tree, path) for tree in built for path in map(seen_by_token(tree).__getitem__, tree.trained)]
    token_prefixes = [tuple(tree.input_ids[path].tolist()) for tree, path in seen]
    assert sorted(token_prefixes) == sorted(tuple(s.input_ids[: p + 1]) for s in samples for p in s.trained)
    assert (len(built) > 1) == (capacity < merge(samples).size)


def test_a_tree_of_exactly_the_capacity_stays_one() -> None:
    samples = served(6)
    size = merge(samples).size
    assert [tree.size for tree in build_trees(samples, size)] == [size]
    assert len(build_trees(samples, size - 1)) == 2
    (sample,) = served(1)
    assert [tree.size for tree in build_trees([sample], len(sample.input_ids))] == [len(sample.input_ids)]


def test_a_token_trained_by_two_samples_is_an_assertion_error() -> None:
    with pytest.raises(AssertionError, match="trained once"):
        merge([Sample("d", 0, [1, 2, 3], [1]), Sample("d", 1, [1, 2, 4], [1, 2])])


def test_rendered_dialogues_merge(tokenizer: PreTrainedTokenizerFast) -> None:
    for number in range(5):
        samples = list(render(dialogue(number, turns=4), tokenizer, 1 << 20).samples)
        tree = merge(samples)
        assert tree.size == len(prefixes(samples))
        assert len(tree.trained) == sum(len(s.trained) for s in samples)
