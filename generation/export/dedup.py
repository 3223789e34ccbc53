"""Finds duplicate dialogues: exact ones, by goals and calls or by transcript, and near ones, by MinHash.

The result does not depend on the order of files and lines: dialogues are compared in order of id, and each one that
equals or nearly equals an earlier kept one is removed. Near-duplicate candidates come from locality-sensitive hashing
and are then compared exactly, so that no dialogue is removed by chance.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from functools import cache, lru_cache
from typing import Literal

import numpy as np
from datasketch import MinHash, MinHashLSH
from pydantic import Field

from core.dialogue import Dialogue
from core.messages import AssistantMessage, ContractError, Frozen, Message
from core.settings import Settings
from generation.export.index import Entry
from generation.utterances.text import canonical, digest, ngrams, plain, words

_SCHEME: Literal["affine32"] = "affine32"
# Minimum share of pairs exactly at the threshold that the index finds; it finds more of more similar pairs. False
# candidates are compared and kept.
_RECALL = 0.98


class DedupSettings(Settings):
    """Two dialogues are near duplicates if the Jaccard similarity of their word shingles reaches the threshold."""

    threshold: float = Field(
        ge=0.5, le=0.95, description="Jaccard similarity (0 to 1) from which two dialogues are duplicates"
    )
    shingle: int = Field(ge=1, description="length of a shingle in words")
    permutations: int = Field(
        ge=64, le=1024, description="permutations of MinHash (4 bytes of memory each per dialogue)"
    )
    across_pipelines: bool = Field(
        description="compare dialogues of different pipelines too; false if pipelines play the same tasks on purpose"
    )


class Removal(Frozen):
    """One line of removed.jsonl: `of` is the kept dialogue, or the task of an earlier export or of a benchmark;
    `detail` is what both share."""

    dialogue_id: str
    pipeline: str
    why: Literal["calls", "transcript", "near", "tasks", "tools", "entities", "texts", "policies"]
    of: str
    detail: str = ""


def calls_key(dialogue: Dialogue) -> bytes | None:
    """A digest of the goals and the tool calls with their arguments; None for a dialogue without tasks."""
    if not dialogue.tasks:
        return None
    calls = [call for message in dialogue.messages for call in _calls(message)]
    return digest([[plain(task.goal) for task in dialogue.tasks], calls])


def transcript_key(dialogue: Dialogue) -> bytes:
    """A digest of all messages, calls and results, without the system message and the assistant's reasoning."""
    messages = (message for message in dialogue.messages if message.role != "system")
    return digest([[message.role, plain(message.content), _calls(message)] for message in messages])


def _calls(message: Message) -> list[list[str]]:
    """[name, arguments in canonical spelling] of each call."""
    calls = message.tool_calls or () if isinstance(message, AssistantMessage) else ()
    normalized = []
    for call in calls:
        try:
            normalized.append([call.name, canonical(call.parsed())])
        except ContractError:  # in imported messages
            normalized.append([call.name, call.function.arguments])
    return normalized


def shingles(dialogue: Dialogue, size: int) -> frozenset[str]:
    """The shingles of `size` words in the user's and assistant's messages and calls. Tool results are excluded: their
    words are the database's."""
    all_words: list[str] = []
    for message in dialogue.messages:
        if message.role in ("user", "assistant"):
            all_words += words(message.content)
            for name, arguments in _calls(message):
                all_words += words(f"{name} {arguments}")
    return frozenset(ngrams(all_words, min(size, len(all_words)))) if all_words else frozenset()


def signature(elements: Iterable[str], permutations: int) -> bytes | None:
    """The MinHash of a set, 4 bytes per permutation; None for the empty set."""
    encoded = [element.encode() for element in elements]
    if not encoded:
        return None
    minhash = MinHash(permutations, permutations=_permutations(permutations), scheme=_SCHEME)
    minhash.update_batch(encoded)
    return bytes(minhash.hashvalues.astype("<u4").tobytes())


def jaccard(a: frozenset[str], b: frozenset[str]) -> float:
    return len(a & b) / len(a | b) if a or b else 1.0


def duplicates(
    entries: Iterable[Entry],
    read: Callable[[Entry], Dialogue],
    settings: DedupSettings,
    on_entry: Callable[[int], None] = lambda count: None,
) -> Iterator[Removal]:
    """The dialogues to remove, ordered by pipeline and id; `read` fetches a dialogue whose words must be compared.
    Calls `on_entry` with 1 after each entry."""
    groups: dict[str, list[Entry]] = defaultdict(list)
    for entry in sorted(entries, key=lambda entry: entry.dialogue_id):
        groups["" if settings.across_pipelines else entry.pipeline].append(entry)
    for _, group in sorted(groups.items()):
        kept = _KeptDialogues(read, settings)
        for entry in group:
            if removal := kept.removal(entry):
                yield removal
            else:
                kept.add(entry)
            on_entry(1)


class _KeptDialogues:
    """The dialogues kept so far, which later ones are compared with."""

    def __init__(self, read: Callable[[Entry], Dialogue], settings: DedupSettings) -> None:
        self.settings = settings
        # Three standard deviations of the estimate below the threshold: candidates less similar are not worth reading.
        variance = settings.threshold * (1 - settings.threshold) / settings.permutations
        self.min_estimate = settings.threshold - 3 * variance**0.5
        self.exact: dict[tuple[str, bytes], str] = {}
        self.entries: list[Entry] = []
        self.index = MinHashLSH(
            num_perm=settings.permutations, params=bands(settings.threshold, settings.permutations), hashfunc=_bucket
        )
        self.shingles = lru_cache(maxsize=256)(lambda entry: shingles(read(entry), settings.shingle))

    def removal(self, entry: Entry) -> Removal | None:
        """The reason to remove this dialogue, or None to keep it."""
        for why, key in _keys(entry):
            if of := self.exact.get((why, key)):
                return Removal(dialogue_id=entry.dialogue_id, pipeline=entry.pipeline, why=why, of=of)
        for other in self._candidates(entry):
            similarity = jaccard(self.shingles(entry), self.shingles(other))
            if similarity >= self.settings.threshold:
                return Removal(
                    dialogue_id=entry.dialogue_id,
                    pipeline=entry.pipeline,
                    why="near",
                    of=other.dialogue_id,
                    detail=f"Jaccard {similarity:.3f}",
                )
        return None

    def add(self, entry: Entry) -> None:
        for why, key in _keys(entry):
            self.exact[why, key] = entry.dialogue_id
        if entry.signature is not None:
            self.index.insert(len(self.entries), self._minhash(entry), check_duplication=False)
        self.entries.append(entry)

    def _candidates(self, entry: Entry) -> list[Entry]:
        """Kept dialogues that may be near duplicates, the most similar first."""
        if entry.signature is None:
            return []
        numbers = sorted(self.index.query(self._minhash(entry)))
        values = _values(entry)
        estimates = {number: float(np.mean(_values(self.entries[number]) == values)) for number in numbers}
        likely = [number for number in numbers if estimates[number] >= self.min_estimate]
        return [self.entries[number] for number in sorted(likely, key=lambda number: (-estimates[number], number))]

    def _minhash(self, entry: Entry) -> MinHash:
        size = self.settings.permutations
        return MinHash(hashvalues=_values(entry), permutations=_permutations(size), scheme=_SCHEME)


def _keys(entry: Entry) -> list[tuple[Literal["calls", "transcript"], bytes]]:
    keys: list[tuple[Literal["calls", "transcript"], bytes]] = [("transcript", entry.transcript)]
    return keys if entry.calls is None else [("calls", entry.calls), *keys]


def _values(entry: Entry) -> np.ndarray:
    return np.frombuffer(entry.signature or b"", dtype="<u4")


@cache
def _permutations(count: int) -> np.ndarray:
    """The hash functions of MinHash, cached: drawing them for each set would cost more than hashing it."""
    return np.asarray(MinHash(count, scheme=_SCHEME).permutations)


def bands(threshold: float, permutations: int) -> tuple[int, int]:
    """(bands, permutations per band): the longest bands, with the fewest false candidates, that still reach the
    required recall.

    Two sets of similarity s share a band of r permutations with probability s^r, and one of b bands with
    1 - (1 - s^r)^b.
    """
    fitting = ((permutations // rows, rows) for rows in range(permutations // 2, 0, -1))
    return next((b, rows) for b, rows in fitting if 1 - (1 - threshold**rows) ** b >= _RECALL)


def _bucket(key: bytes) -> bytes:
    """A shorter key of an index bucket; colliding entries are compared anyway."""
    return hashlib.blake2b(key, digest_size=8).digest()
