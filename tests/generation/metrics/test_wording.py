"""Distinct-n and self-similarity against naive computations."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from generation.metrics.wording import distinct_share, ngrams, self_similarity

texts = st.lists(st.lists(st.sampled_from("abcde"), max_size=8).map(" ".join), min_size=1, max_size=6)


def naive(texts: list[str], size: int) -> list[tuple[str, ...]]:
    return [
        tuple(words[i : i + size]) for text in texts for words in [text.split()] for i in range(len(words) - size + 1)
    ]


@given(texts)
def test_distinct_n(texts: list[str]) -> None:
    for place, size in enumerate((1, 2, 3)):
        expected = naive(texts, size)
        assert len(ngrams(texts)[place]) == len(expected)
        share = distinct_share([ngrams([text])[place] for text in texts])
        assert share == (len(set(expected)) / len(expected) if expected else 0.0)


@given(texts)
def test_self_similarity_is_the_mean_overlap_with_the_nearest_neighbour(texts: list[str]) -> None:
    sets = [set(naive([text], 2)) for text in texts]

    def jaccard(one: set[tuple[str, ...]], other: set[tuple[str, ...]]) -> float:
        return len(one & other) / len(one | other) if one | other else 0.0

    nearest = [
        max((jaccard(own, other) for j, other in enumerate(sets) if j != i), default=0.0) for i, own in enumerate(sets)
    ]
    found = self_similarity([ngrams([text])[1] for text in texts], range(len(texts)))
    assert abs(found - sum(nearest) / len(nearest)) < 1e-12


def test_case_punctuation_and_typography_do_not_make_words_distinct() -> None:
    assert distinct_share([ngrams(["Don\u2019t go!", "don't  GO"])[0]]) == 0.5
