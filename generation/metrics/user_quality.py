"""The quality gate on user simulators: the share of a dataset's dialogues that show each kind of user fault."""

from __future__ import annotations

from collections import Counter
from hashlib import blake2b
from typing import get_args

from pydantic import Field

from core.dialogue import Dialogue
from core.messages import Frozen
from core.settings import Settings
from generation.dialogue.personas import UserSettings
from generation.llm.contexts import UserRules
from generation.metrics.user_faults import (
    Fault,
    FaultKind,
    crowded_messages,
    invented_facts,
    leaked_goals,
    plain_words,
    played_tasks,
    premature_ends,
    repeated_messages,
)

FAULT_KINDS: tuple[FaultKind, ...] = get_args(FaultKind)


class QualitySettings(Settings):
    """Thresholds of the quality gate, each a share from 0 to 1 of the accepted dialogues."""

    premature_ends: float = Field(
        ge=0,
        le=1,
        description="largest share of dialogues in which the user leaves before its goal is met or a question answered",
    )
    leaked_goals: float = Field(
        ge=0,
        le=1,
        description="largest share of dialogues in which the user recites its goal or uses names of the harness",
    )
    invented_facts: float = Field(
        ge=0,
        le=1,
        description="largest share of dialogues in which the user states a number, date or identifier it cannot know",
    )
    crowded_messages: float = Field(
        ge=0,
        le=1,
        description="largest share of dialogues in which one message starts more subtasks than the user's rules allow",
    )
    repeated_messages: float = Field(
        ge=0, le=1, description="largest share of dialogues in which the user repeats a message"
    )
    distinct_openings: float = Field(
        ge=0, le=1, description="smallest number of distinct first messages, as a share of the dialogues"
    )


class DialogueQuality(Frozen):
    """All faults of one dialogue's user. `messages` counts the checked user messages; `opening` is the first one."""

    dialogue_id: str
    messages: int
    opening: str
    faults: tuple[Fault, ...]


class FaultExample(Frozen):
    """Where to see a fault: message `position` of the dialogue."""

    dialogue_id: str
    position: int
    detail: str


class Quality(Frozen):
    """User quality of a dataset. `counts` and `shares` are of dialogues with at least one fault of the kind; `examples`
    shows the first of them by id; `distinct_openings` is the number of distinct first messages per dialogue."""

    dialogues: int
    messages: int
    counts: dict[FaultKind, int]
    shares: dict[FaultKind, float]
    examples: dict[FaultKind, FaultExample]
    distinct_openings: float
    passed: bool
    failures: tuple[str, ...]


def dialogue_quality(dialogue: Dialogue, rules: UserRules) -> DialogueQuality:
    """The faults of one dialogue's user. Imported messages and messages before the first task are not checked."""
    tasks = played_tasks(dialogue)
    faults = (
        *premature_ends(dialogue, tasks),
        *leaked_goals(dialogue, tasks, rules),
        *invented_facts(dialogue, tasks),
        *crowded_messages(tasks, rules),
        *repeated_messages(dialogue, tasks),
    )
    texts = [text for task in tasks for text in task.user_texts.values()]
    opening = plain_words(texts[0]) if texts else ""
    return DialogueQuality(dialogue_id=dialogue.dialogue_id, messages=len(texts), opening=opening, faults=faults)


class QualityTally:
    """Accumulates dialogues in any order; keeps 8 bytes of each, a hash of its opening."""

    def __init__(self, users: UserSettings) -> None:
        self.users = users
        self._dialogues = self._messages = self._unforked = 0
        self._counts: Counter[FaultKind] = Counter()
        self._examples: dict[FaultKind, FaultExample] = {}
        self._openings: set[bytes] = set()

    def add(self, dialogue: Dialogue) -> None:
        """Check one dialogue that a user simulator took part in."""
        quality = dialogue_quality(dialogue, self.users.rules_named(dialogue.provenance.user_rules))
        self._dialogues += 1
        self._messages += quality.messages
        if not dialogue.provenance.parent_messages:  # forks share their opening by design
            self._unforked += 1
            self._openings.add(blake2b(quality.opening.encode(), digest_size=8).digest())
        for kind, fault in {fault.kind: fault for fault in reversed(quality.faults)}.items():
            self._counts[kind] += 1
            example = FaultExample(dialogue_id=quality.dialogue_id, position=fault.position, detail=fault.detail)
            earlier = self._examples.get(kind, example)
            self._examples[kind] = min(earlier, example, key=lambda candidate: candidate.dialogue_id)

    def result(self, settings: QualitySettings) -> Quality:
        """The metrics so far, compared with the thresholds. Without any dialogue the gate does not pass."""
        failures = tuple(self._failures(settings)) if self._dialogues else ("no dialogue to check",)
        return Quality(
            dialogues=self._dialogues,
            messages=self._messages,
            counts={kind: self._counts[kind] for kind in FAULT_KINDS},
            shares={kind: round(self._share(self._counts[kind]), 4) for kind in FAULT_KINDS},
            examples={kind: self._examples[kind] for kind in FAULT_KINDS if kind in self._examples},
            distinct_openings=round(self._distinct, 4),
            passed=not failures,
            failures=failures,
        )

    def _failures(self, settings: QualitySettings) -> list[str]:
        failures = []
        for kind in FAULT_KINDS:
            share, limit = self._share(self._counts[kind]), getattr(settings, kind)
            if share > limit:
                example = self._examples[kind]
                where = f"{example.dialogue_id}, message {example.position}: {example.detail}"
                failures.append(f"{kind} in {share:.1%} of the dialogues, at most {limit:.1%} allowed ({where})")
        if self._distinct < settings.distinct_openings:
            least = settings.distinct_openings
            failures.append(
                f"distinct_openings are {self._distinct:.1%} of the dialogues, at least {least:.1%} expected"
            )
        return failures

    @property
    def _distinct(self) -> float:
        return len(self._openings) / self._unforked if self._unforked else 1.0

    def _share(self, count: int) -> float:
        return count / self._dialogues if self._dialogues else 0.0
