"""The quality gate on user simulators: in which share of a dataset's dialogues the simulated user did wrong, and how."""

from __future__ import annotations

from collections import Counter
from hashlib import blake2b
from typing import get_args

from pydantic import Field

from core.dialogue import Dialogue
from core.messages import Frozen
from core.settings import Settings
from generation.llm.contexts import UserRules
from generation.metrics.user_faults import (
    Fault,
    Figure,
    crowded_messages,
    invented_facts,
    leaked_goals,
    parts_of,
    plain,
    premature_ends,
    repeated_messages,
)

FIGURES: tuple[Figure, ...] = get_args(Figure)


class QualitySettings(Settings):
    """The largest share of dialogues in which each fault may occur, and the smallest share of distinct first messages."""

    premature_ends: float = Field(ge=0, le=1)
    leaked_goals: float = Field(ge=0, le=1)
    invented_facts: float = Field(ge=0, le=1)
    crowded_messages: float = Field(ge=0, le=1)
    repeated_messages: float = Field(ge=0, le=1)
    distinct_openings: float = Field(ge=0, le=1)


class DialogueQuality(Frozen):
    """All faults of one dialogue's user. `messages` is how many of its messages were judged, `opening` the first of them."""

    dialogue_id: str
    messages: int
    opening: str
    faults: tuple[Fault, ...]


class Example(Frozen):
    """Where a fault can be seen: message `position` of the dialogue."""

    dialogue_id: str
    position: int
    detail: str


class Quality(Frozen):
    """Figures of a dataset. `counts` and `shares` are of dialogues in which a fault occurs at least once, `examples` name the
    first of them; `distinct_openings` is the number of different first messages over that of dialogues."""

    dialogues: int
    messages: int
    counts: dict[Figure, int]
    shares: dict[Figure, float]
    examples: dict[Figure, Example]
    distinct_openings: float
    passed: bool
    failures: tuple[str, ...]


def dialogue_quality(dialogue: Dialogue, rules: UserRules) -> DialogueQuality:
    """The faults of one dialogue's user. Messages that were given, and those before the first task, are not judged."""
    parts = parts_of(dialogue)
    faults = (
        *premature_ends(dialogue, parts),
        *leaked_goals(dialogue, parts, rules),
        *invented_facts(dialogue, parts),
        *crowded_messages(parts, rules),
        *repeated_messages(dialogue, parts),
    )
    said = [text for part in parts for text in part.said.values()]
    opening = plain(said[0]) if said else ""
    return DialogueQuality(dialogue_id=dialogue.dialogue_id, messages=len(said), opening=opening, faults=faults)


class QualityTally:
    """Adds up dialogue after dialogue, in any order. Of each it keeps 8 bytes: a hash of its opening."""

    def __init__(self, rules: UserRules) -> None:
        self.rules = rules
        self._dialogues = self._messages = self._opened = 0
        self._counts: Counter[Figure] = Counter()
        self._examples: dict[Figure, Example] = {}
        self._openings: set[bytes] = set()

    def add(self, dialogue: Dialogue) -> None:
        """Judge one dialogue in which a user simulator has spoken."""
        quality = dialogue_quality(dialogue, self.rules)
        self._dialogues += 1
        self._messages += quality.messages
        if not dialogue.provenance.parent_messages:  # forks share their opening by design
            self._opened += 1
            self._openings.add(blake2b(quality.opening.encode(), digest_size=8).digest())
        for figure, fault in {fault.figure: fault for fault in reversed(quality.faults)}.items():
            self._counts[figure] += 1
            example = Example(dialogue_id=quality.dialogue_id, position=fault.position, detail=fault.detail)
            known = self._examples.get(figure, example)
            self._examples[figure] = min(known, example, key=lambda found: found.dialogue_id)

    def result(self, settings: QualitySettings) -> Quality:
        """The figures so far, held against the thresholds. Without any dialogue nothing is shown, so nothing passes."""
        failures = tuple(self._failures(settings)) if self._dialogues else ("no dialogue to judge",)
        return Quality(
            dialogues=self._dialogues,
            messages=self._messages,
            counts={figure: self._counts[figure] for figure in FIGURES},
            shares={figure: round(self._share(self._counts[figure]), 4) for figure in FIGURES},
            examples={figure: self._examples[figure] for figure in FIGURES if figure in self._examples},
            distinct_openings=round(self._distinct, 4),
            passed=not failures,
            failures=failures,
        )

    def _failures(self, settings: QualitySettings) -> list[str]:
        failures = []
        for figure in FIGURES:
            share, limit = self._share(self._counts[figure]), getattr(settings, figure)
            if share > limit:
                example = self._examples[figure]
                where = f"{example.dialogue_id}, message {example.position}: {example.detail}"
                failures.append(f"{figure} in {share:.1%} of the dialogues, at most {limit:.1%} allowed ({where})")
        if self._distinct < settings.distinct_openings:
            least = settings.distinct_openings
            failures.append(
                f"distinct_openings are {self._distinct:.1%} of the dialogues, at least {least:.1%} expected"
            )
        return failures

    @property
    def _distinct(self) -> float:
        return len(self._openings) / self._opened if self._opened else 1.0

    def _share(self, count: int) -> float:
        return count / self._dialogues if self._dialogues else 0.0
