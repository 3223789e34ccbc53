"""Dialogues that are there twice: exactly, by their goals and calls or by their transcript, or nearly, by MinHash.

What is removed does not depend on the order of files and lines: dialogues are taken by id, and each is removed that equals, or is
nearly, one that was kept before. Near ones are found by locality-sensitive hashing and then compared word by word, so none is
removed by chance.
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
from generation.export.text import canonical, digest, ngrams, plain, words

_SCHEME: Literal["affine32"] = "affine32"
# Of pairs at the very threshold, the share that the index finds at least; of more similar ones it finds more. What it finds too
# much is compared and kept.
_RECALL = 0.98


class DedupSettings(Settings):
    """Two dialogues are near duplicates where the Jaccard similarity of their runs of `shingle` words is at least `threshold`.
    Without `across_pipelines` a dialogue is compared only with those of its own pipeline, since pipelines that play the same tasks
    are there to be compared."""

    threshold: float = Field(ge=0.5, le=0.95)
    shingle: int = Field(ge=1)
    permutations: int = Field(ge=64, le=1024)
    across_pipelines: bool


class Removal(Frozen):
    """One line of removed.jsonl: `of` is the dialogue that stays instead, or the benchmark's task; `detail` is what they share."""

    dialogue_id: str
    pipeline: str
    why: Literal["calls", "transcript", "near", "tools", "entities", "texts"]
    of: str
    detail: str = ""


def calls_key(dialogue: Dialogue) -> bytes | None:
    """Stands for the goals and the tool calls with their arguments; None for a dialogue without tasks."""
    if not dialogue.tasks:
        return None
    calls = [call for message in dialogue.messages for call in _calls(message)]
    return digest([[plain(task.goal) for task in dialogue.tasks], calls])


def transcript_key(dialogue: Dialogue) -> bytes:
    """Stands for everything said, called and returned; not for the system message and what the assistant thought."""
    messages = (message for message in dialogue.messages if message.role != "system")
    return digest([[message.role, plain(message.content), _calls(message)] for message in messages])


def _calls(message: Message) -> list[list[str]]:
    calls = message.tool_calls or () if isinstance(message, AssistantMessage) else ()
    found = []
    for call in calls:
        try:
            found.append([call.name, canonical(call.parsed())])
        except ContractError:  # in what was given from elsewhere
            found.append([call.name, call.function.arguments])
    return found


def shingles(dialogue: Dialogue, size: int) -> frozenset[str]:
    """The runs of `size` words of what user and assistant said and called. Results are left out: they are the database's words."""
    said: list[str] = []
    for message in dialogue.messages:
        if message.role in ("user", "assistant"):
            said += words(message.content)
            for name, arguments in _calls(message):
                said += words(f"{name} {arguments}")
    return frozenset(ngrams(said, min(size, len(said)))) if said else frozenset()


def signature(shingled: Iterable[str], permutations: int) -> bytes | None:
    """The MinHash of a set, 4 bytes a permutation; None for the empty set."""
    hashes = [shingle.encode() for shingle in shingled]
    if not hashes:
        return None
    minhash = MinHash(permutations, permutations=_permutations(permutations), scheme=_SCHEME)
    minhash.update_batch(hashes)
    return bytes(minhash.hashvalues.astype("<u4").tobytes())


def jaccard(a: frozenset[str], b: frozenset[str]) -> float:
    return len(a & b) / len(a | b) if a or b else 1.0


def duplicates(
    entries: Iterable[Entry],
    read: Callable[[Entry], Dialogue],
    settings: DedupSettings,
    on_entry: Callable[[int], None] = lambda count: None,
) -> Iterator[Removal]:
    """The dialogues to remove, by pipeline and id; `read` fetches one whose words must be compared."""
    groups: dict[str, list[Entry]] = defaultdict(list)
    for entry in sorted(entries, key=lambda entry: entry.dialogue_id):
        groups["" if settings.across_pipelines else entry.pipeline].append(entry)
    for _, group in sorted(groups.items()):
        kept = _Kept(read, settings)
        for entry in group:
            if removal := kept.removal(entry):
                yield removal
            else:
                kept.add(entry)
            on_entry(1)


class _Kept:
    """The dialogues that stay, to compare further ones with."""

    def __init__(self, read: Callable[[Entry], Dialogue], settings: DedupSettings) -> None:
        self.settings = settings
        # Three standard deviations of an estimate below the threshold: what looks less similar is not worth reading.
        variance = settings.threshold * (1 - settings.threshold) / settings.permutations
        self.least = settings.threshold - 3 * variance**0.5
        self.exact: dict[tuple[str, bytes], str] = {}
        self.entries: list[Entry] = []
        self.index = MinHashLSH(
            num_perm=settings.permutations, params=bands(settings.threshold, settings.permutations), hashfunc=_bucket
        )
        self.shingles = lru_cache(maxsize=256)(lambda entry: shingles(read(entry), settings.shingle))

    def removal(self, entry: Entry) -> Removal | None:
        """Why this dialogue goes, None if it stays."""
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
        """Kept dialogues that may be near, the most similar first."""
        if entry.signature is None:
            return []
        numbers = sorted(self.index.query(self._minhash(entry)))
        own = _values(entry)
        estimates = {number: float(np.mean(_values(self.entries[number]) == own)) for number in numbers}
        likely = [number for number in numbers if estimates[number] >= self.least]
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
    """The hash functions of MinHash; drawn anew for each set they would cost more than the set."""
    return np.asarray(MinHash(count, scheme=_SCHEME).permutations)


def bands(threshold: float, permutations: int) -> tuple[int, int]:
    """(number of bands, permutations in each): the longest bands, which find the fewest false pairs, that find enough true ones.

    Two sets of similarity s share a band of r permutations with probability s^r, and one of b bands with 1 - (1 - s^r)^b.
    """
    fitting = ((permutations // rows, rows) for rows in range(permutations // 2, 0, -1))
    return next((b, rows) for b, rows in fitting if 1 - (1 - threshold**rows) ** b >= _RECALL)


def _bucket(key: bytes) -> bytes:
    """A shorter name of an index bucket; what falls together by chance is compared anyway."""
    return hashlib.blake2b(key, digest_size=8).digest()
