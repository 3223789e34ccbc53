"""Exact and near duplicates, against a comparison of all pairs."""

from __future__ import annotations

import pickle
from itertools import combinations, permutations
from pathlib import Path
from random import Random
from typing import Any

import pytest
from pydantic import ValidationError

from core.dialogue import Dialogue
from core.journal import write_jsonl
from generation.export.decontamination import Detector
from generation.export.dedup import signature
from generation.export.index import DialogueIndex
from generation.export.scan import scan
from tests.generation.helpers.export_dialogues import contamination_settings, dedup_settings, dialogue, removed


def why(dialogues: list[Dialogue], folder: Path, **settings: Any) -> dict[str, tuple[str, str]]:
    return {removal.dialogue_id: (removal.why, removal.of) for removal in removed(dialogues, folder, **settings)}


GOAL = "The user wants hall 3, and to pay."
CALL = ("find", {"hall": "Ann's", "day": 3}, "[]")


@pytest.mark.parametrize(
    ("goals", "call", "same"),
    [
        ([GOAL], CALL, True),
        (["the user wants: HALL 3 and  to pay"], ("find", {"day": 3.0, "hall": "Ann's "}, "other result"), True),
        ([GOAL], ("find", {"hall": "Ann's", "day": 4}, "[]"), False),
        ([GOAL], ("seek", {"hall": "Ann's", "day": 3}, "[]"), False),
        (["The user wants hall 4, and to pay."], CALL, False),
        ([GOAL, GOAL], CALL, False),
    ],
)
def test_the_same_goals_and_calls_in_other_words(
    goals: list[str], call: tuple[str, dict[str, Any], str], same: bool, tmp_path: Path
) -> None:
    first = dialogue("a", "one two three four five six", "alpha beta gamma delta", goals=[GOAL], calls=[CALL])
    other = dialogue(
        "b", "red green blue black white", "never the same word", "one more", "yes", goals=goals, calls=[call]
    )
    assert why([first, other], tmp_path) == ({"b": ("calls", "a")} if same else {})


def test_dialogues_without_tasks_are_not_all_the_same(tmp_path: Path) -> None:
    one, other = dialogue("a", "where is the station", "there"), dialogue("b", "what is two and two", "four")
    assert why([one, other], tmp_path) == {}


def test_the_same_transcript_under_another_goal(tmp_path: Path) -> None:
    first = dialogue("a", "Find me a hall!", "Which one?", goals=["One."], calls=[CALL])
    again = dialogue("b", "find me a hall", "which  one", goals=["Another."], calls=[CALL])
    other = dialogue("c", "Find me a hall!", "Which one?", goals=["Third."], calls=[(*CALL[:2], '["Ann"]')])
    # Tool results are part of the transcript, so c is not an exact duplicate, only a near one.
    assert why([first, again, other], tmp_path) == {"b": ("transcript", "a"), "c": ("near", "a")}


def test_reasoning_and_the_system_message_do_not_count(tmp_path: Path) -> None:
    first = dialogue("a", "Find me a hall!", "Which one?", calls=[CALL])
    changed = [m.model_copy(update={"reasoning_content": "hm"}) if m.role == "assistant" else m for m in first.messages]
    again = first.model_copy(update={"dialogue_id": "b", "messages": tuple(changed[1:])})
    assert why([first, again], tmp_path) == {"b": ("transcript", "a")}


def texts(rng: Random, count: int, length: int) -> list[str]:
    """Random texts, each with copies in which more and more words are replaced."""
    variants = []
    for _ in range(count):
        base = [f"w{rng.randrange(5000)}" for _ in range(length)]
        for changes in (0, 0, 1, 3, 6, 12, 25, 60, 120):
            copy = list(base)
            for position in rng.sample(range(length), changes):
                copy[position] = f"x{rng.randrange(5000)}"
            variants.append(" ".join(copy))
    rng.shuffle(variants)
    return variants


def compare_all_pairs(
    text_by_id: dict[str, str], shingle: int, threshold: float
) -> tuple[set[str], dict[frozenset[str], float]]:
    """The ids removed when each dialogue is compared with every kept one, and the similarity of every pair."""
    sets = {}
    for key, text in text_by_id.items():
        parts = text.split()
        sets[key] = {tuple(parts[i : i + shingle]) for i in range(len(parts) - shingle + 1)}
    similar = {
        frozenset((a, b)): len(sets[a] & sets[b]) / len(sets[a] | sets[b]) for a, b in combinations(sorted(sets), 2)
    }
    gone: set[str] = set()
    for number, key in enumerate(names := sorted(sets)):
        if any(other not in gone and similar[frozenset((key, other))] >= threshold for other in names[:number]):
            gone.add(key)
    return gone, similar


@pytest.mark.parametrize("threshold", [0.5, 0.7, 0.8, 0.9])
@pytest.mark.parametrize("shingle", [1, 5])
def test_near_duplicates_match_a_comparison_of_all_pairs(threshold: float, shingle: int, tmp_path: Path) -> None:
    rng = Random(f"{threshold}/{shingle}")
    text_by_id = {f"d{number:03d}": text for number, text in enumerate(texts(rng, 12, 300))}
    gone, similar = compare_all_pairs(text_by_id, shingle, threshold)
    levels = sorted(similar.values(), reverse=True)[: 12 * 36]
    assert levels[0] == 1.0
    assert any(threshold - 0.1 < level < threshold for level in levels)
    # One message each: the transcript is just the text.
    dialogues = [dialogue(key, text) for key, text in text_by_id.items()]
    removals = removed(dialogues, tmp_path, threshold=threshold, shingle=shingle, permutations=256)
    removed_ids = {removal.dialogue_id for removal in removals}
    assert len(gone) > 25
    assert len(removed_ids ^ gone) <= 2, "a pair at the threshold may go undetected"
    missed = [level for pair, level in similar.items() if level >= threshold and not pair & removed_ids]
    assert all(level < threshold + 0.03 for level in missed)
    for removal in removals:
        similarity = similar[frozenset((removal.dialogue_id, removal.of))]
        assert removal.of not in removed_ids
        assert removal.of < removal.dialogue_id
        assert removal.why == ("transcript" if text_by_id[removal.of] == text_by_id[removal.dialogue_id] else "near")
        assert similarity >= threshold
        assert removal.why == "transcript" or removal.detail == f"Jaccard {similarity:.3f}"


def test_almost_every_near_pair_is_found_even_at_the_threshold(tmp_path: Path) -> None:
    """200 pairs with a similarity of 0.80 to 0.85, and 200 just under 0.80, none of which may be removed."""
    rng = Random("recall")
    dialogues, near = [], set()
    for number in range(400):
        base = [f"p{number}w{i}" for i in range(304)]
        # 300 runs of five words; n new words at the end replace n of them: (300 - n) / (300 + n).
        new = rng.randrange(26, 34) if number < 200 else rng.randrange(34, 38)
        copy = [*base[: 304 - new], *(f"p{number}x{i}" for i in range(new))]
        assert ((300 - new) / (300 + new) >= 0.8) == (number < 200)
        dialogues += [dialogue(f"{number:03d}a", " ".join(base)), dialogue(f"{number:03d}b", " ".join(copy))]
        if number < 200:
            near.add(f"{number:03d}b")
    removed_ids = {removal.dialogue_id for removal in removed(dialogues, tmp_path)}
    assert removed_ids <= near
    assert len(removed_ids) >= 0.97 * len(near)


def test_pipelines_are_compared_separately_unless_configured(tmp_path: Path) -> None:
    dialogues = [dialogue(name, "Find me a hall!", "Which one?", pipeline=name) for name in ("one", "two")]
    assert why(dialogues, tmp_path) == {}
    assert why(dialogues, tmp_path, across_pipelines=True) == {"two": ("transcript", "one")}


def test_a_chain_of_near_duplicates_keeps_every_second(tmp_path: Path) -> None:
    """b is near a and c near b, but c is not near a: c stays, since b is removed."""
    parts = [f"w{i}" for i in range(400)]
    texts_by_id = {key: " ".join(parts[start : start + 300]) for key, start in (("a", 0), ("b", 25), ("c", 50))}
    gone, similar = compare_all_pairs(texts_by_id, 5, 0.8)
    assert [round(similar[frozenset(pair)], 2) for pair in ("ab", "bc", "ac")] == [0.84, 0.84, 0.71]
    assert gone == {"b"}
    for order in permutations(texts_by_id):
        assert why([dialogue(key, texts_by_id[key]) for key in order], tmp_path) == {"b": ("near", "a")}


def test_wordless_and_short_dialogues(tmp_path: Path) -> None:
    dialogues = [dialogue("a", "?", "!"), dialogue("b", "…", "¿", "?"), dialogue("c", "yes"), dialogue("d", "no")]
    assert why(dialogues, tmp_path) == {}
    assert signature(frozenset(), 128) is None


def test_memory_does_not_grow_with_the_text(tmp_path: Path) -> None:
    sizes = []
    for length in (10, 10_000):
        path = tmp_path / f"{length}.jsonl"
        write_jsonl(
            path, [dialogue(f"d{i:03d}", f"{i} " * length, "b " * length, goals=["g " * length]) for i in range(50)]
        )
        with DialogueIndex([path]) as index:
            detector = Detector((), contamination_settings())
            scanned = scan(index, dedup_settings(), detector, {}, lambda count: None)
        sizes.append(len(pickle.dumps((scanned.entries, scanned.removals, scanned.origins))) / 50)
    assert sizes[1] - sizes[0] < 10, "the offset in a longer file"
    assert sizes[1] < 1000


@pytest.mark.parametrize("change", [{"threshold": 1.0}, {"threshold": 0.3}, {"permutations": 16}, {"shingle": 0}])
def test_settings_out_of_range_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(change))):
        dedup_settings(**change)
