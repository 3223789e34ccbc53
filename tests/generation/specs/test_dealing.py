"""Cards dealt from decks: like draws one by one, in proportion over a deck."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from generation.specs.dealing import DECK, dealt

WEIGHTS = st.dictionaries(st.sampled_from("abcdef"), st.floats(0, 100), min_size=1).filter(
    lambda weights: sum(weights.values()) > 0.01
)


@given(WEIGHTS, st.text(max_size=5), st.integers(0, 20))
def test_a_deck_holds_each_choice_in_proportion_to_its_weight(weights: dict[str, float], seed: str, deck: int) -> None:
    counts = Counter(dealt(weights, seed, number) for number in range(deck * DECK, (deck + 1) * DECK))
    total = sum(weights.values())
    for choice, weight in weights.items():
        assert abs(counts[choice] - DECK * weight / total) <= 2  # a part may be cut at both ends
        assert weight or not counts[choice]


def test_each_number_has_the_probability_of_its_weight_over_seeds() -> None:
    for number in (0, 7, 3 * DECK + 1):
        drawn = Counter(dealt({"a": 3, "b": 1}, f"seed {seed}", number) for seed in range(2000))
        assert 1420 < drawn["a"] < 1580  # 1500 ± 4 standard deviations


def test_decks_and_seeds_differ_and_repeat_exactly() -> None:
    def order(seed: str, deck: int) -> list[str]:
        return [dealt(dict.fromkeys("abcde", 1), seed, deck * DECK + card) for card in range(DECK)]

    assert order("s", 0) == order("s", 0)
    assert len({tuple(order(seed, deck)) for seed in ("s", "t") for deck in range(5)}) == 10
