"""How varied the words of a set of texts are: distinct n-grams, and the similarity of each text to its nearest
neighbour."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from core.typography import folded_words
from generation.metrics.diversity import digest

Grams = NDArray[np.uint64]
SIZES = (1, 2, 3)


def ngrams(texts: Sequence[str]) -> tuple[Grams, ...]:
    """The n-grams of the texts for each of SIZES as 8-byte digests, repetitions included; none spans two texts."""
    words = [folded_words(text).split() for text in texts]
    return tuple(
        np.array(
            [digest(*own[start : start + size]) for own in words for start in range(len(own) - size + 1)],
            dtype=np.uint64,
        )
        for size in SIZES
    )


def distinct_share(grams: Sequence[Grams]) -> float:
    """Distinct-n: the number of distinct n-grams over the number of all; 0 without any."""
    everything = np.concatenate(grams) if grams else np.array([], dtype=np.uint64)
    return len(np.unique(everything)) / len(everything) if len(everything) else 0.0


def self_similarity(grams: Sequence[Grams], sample: Sequence[int]) -> float:
    """The mean, over the texts at the positions `sample`, of the Jaccard similarity of a text's n-grams to those of its
    nearest neighbour among all texts; 0 for fewer than two texts. Texts without n-grams are like no other."""
    sets = [np.unique(own) for own in grams]
    sizes = np.array([len(own) for own in sets])
    if len(sets) < 2 or not len(sample):
        return 0.0
    everything, owners = np.concatenate(sets), np.repeat(np.arange(len(sets)), sizes)
    nearest = []
    for position in sample:
        shared = np.bincount(owners[np.isin(everything, sets[position])], minlength=len(sets))
        union = sizes + sizes[position] - shared
        similarity = np.divide(shared, union, out=np.zeros(len(sets)), where=union > 0)
        similarity[position] = 0.0
        nearest.append(similarity.max())
    return float(np.mean(nearest))
