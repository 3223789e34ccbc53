"""Diversity of dialogues as functions of their number: goal skeletons, plan shapes, tool coverage, system prompts.

A goal skeleton is a goal whose values are replaced by a slot, so that goals which differ in names and numbers alone
are one. When the number of skeletons stops growing with the number of dialogues, more of them teach nothing new:
saturation.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence, Set
from dataclasses import dataclass, fields
from hashlib import blake2b
from itertools import accumulate

from pydantic import Field

from core.dialogue import Dialogue, Task
from core.messages import Frozen, SystemMessage
from core.settings import Settings
from core.typography import fold
from generation.tasks.facts import facts
from generation.tasks.mentions import literals

SLOT = "\u25a1"
_NAME = re.compile(r"(?<=[\w,;:] )[A-Z][\w'.&-]*(?:\s+[A-Z][\w'.&-]*)*")
_SLOTS = re.compile(rf"{SLOT}(?:\W*{SLOT})+")
_WORDS = re.compile(rf"\w+|{SLOT}")
_DATE_PARTS = re.compile(r"\d+|\b(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day\b")
_CURVE = 12
"""Halvings of the number of dialogues in a curve."""
_FEWEST = 50
"""Dialogues below which a point of a curve says little."""


class SaturationSettings(Settings):
    """When a run's goals are reported as saturated."""

    growth: float = Field(
        ge=0, description="least growth of the number of distinct goal skeletons when the number of dialogues doubles"
    )
    dialogues: int = Field(ge=2 * _FEWEST, description="fewest accepted dialogues for which it is checked")


def goal_skeleton(task: Task) -> str:
    """The words of a task's goal with each value replaced by a slot: those of its plan, numbers, dates, times,
    addresses and identifiers; for a task without a plan capitalised words within a sentence as well.

    >>> goal_skeleton(task)  # "The user wants to move visit 204 to 2025-03-14."
    'the user wants to move visit □ to □'
    """
    return skeletons([task.goal], task)[0]


def skeletons(texts: Sequence[str], task: Task) -> list[str]:
    """The skeletons of texts about a task, such as its goal and its subgoals."""
    planned = {
        " ".join(fold(value).split()) for call in (*task.plan, *task.gold_calls) for value in literals(call.arguments)
    }
    return [_skeleton(text, planned, names=not planned) for text in texts]


def _skeleton(text: str, values: Set[str], names: bool) -> str:
    text = " ".join(fold(text).split())
    written = {fact.text for fact in facts(text)}
    for value in sorted(values | written, key=lambda value: (-len(value), value)):
        text = _with_slots(text, value)
    if names:
        text = _NAME.sub(SLOT, text)
    return " ".join(_WORDS.findall(_SLOTS.sub(SLOT, text).casefold()))


def _with_slots(text: str, value: str) -> str:
    """Replace a value where it stands as complete words, in any case; without an expression for each value, which takes
    longer to compile than all the rest."""
    lowered, sought, position = text.lower(), value.lower(), 0
    if not sought or len(lowered) != len(text) or sought not in lowered:
        return text
    parts = []
    while (found := lowered.find(sought, position)) >= 0:
        end = found + len(sought)
        inside = _is_word(lowered[found - 1 : found]) or _is_word(lowered[end : end + 1])
        parts += [text[position:found], text[found:end] if inside else SLOT]
        position = end
    return "".join([*parts, text[position:]])


def _is_word(character: str) -> bool:
    return character.isalnum() or character == "_"


def plan_shape(task: Task) -> str:
    """The kind of request and the sequence of its tools."""
    return f"{task.kind}: {' '.join(call.tool for call in task.plan or task.gold_calls)}"


def digest(*parts: str) -> int:
    """Eight bytes of a hash, as a number."""
    return int.from_bytes(blake2b("\0".join(parts).encode("utf-8", "replace"), digest_size=8).digest(), "big")


@dataclass(frozen=True, slots=True)
class DialogueTraits:
    """What counts for one dialogue, as digests. System prompts that differ in dates and numbers alone are one; tools
    are those of a domain."""

    goal_skeletons: frozenset[int]
    subgoal_skeletons: frozenset[int]
    plan_shapes: frozenset[int]
    system_prompts: frozenset[int]
    tools_used: frozenset[int]
    tools_declared: frozenset[int]


def dialogue_traits(dialogue: Dialogue) -> DialogueTraits:
    calls = [call for task in dialogue.tasks for call in task.gold_calls or task.plan]
    prompts = [message.content for message in dialogue.messages[:1] if isinstance(message, SystemMessage)]
    declared = {digest(dialogue.domain, tool.name) for tool in dialogue.tools}
    goals = [skeletons((task.goal, *task.subgoals), task) for task in dialogue.tasks]
    return DialogueTraits(
        goal_skeletons=frozenset(digest(goal) for goal, *_ in goals),
        subgoal_skeletons=frozenset(digest(subgoal) for _, *subgoals in goals for subgoal in subgoals),
        plan_shapes=frozenset(digest(plan_shape(task)) for task in dialogue.tasks),
        system_prompts=frozenset(digest(_DATE_PARTS.sub(SLOT, prompt)) for prompt in prompts),
        tools_used=frozenset(digest(dialogue.domain, call.tool) for call in calls) & declared,
        tools_declared=frozenset(declared),
    )


class DiversityPoint(Frozen):
    """Distinct traits of a number of dialogues. `tool_coverage` is the share of declared tools that gold calls use."""

    dialogues: int
    goal_skeletons: int
    subgoal_skeletons: int
    plan_shapes: int
    system_prompts: int
    tools_used: int
    tools_declared: int

    @property
    def tool_coverage(self) -> float:
        return self.tools_used / self.tools_declared if self.tools_declared else 0.0


class Diversity(Frozen):
    """Diversity of all accepted dialogues, and of random halves, quarters, … of them, largest first. `growth` is that
    of the goal skeletons when the number of dialogues doubles to all of them, None if they are too few; `saturated`
    says that it is smaller than the settings ask."""

    curve: tuple[DiversityPoint, ...]
    growth: float | None = None
    saturated: bool


def growth_per_doubling(few: int, many: int, distinct_few: int, distinct_many: int) -> float:
    """By which share a number of distinct things grows when the number of dialogues doubles, if it grows as between
    `few` and `many` dialogues.

    >>> growth_per_doubling(500, 1000, 40, 50)
    0.25
    """
    exponent = math.log(distinct_many / distinct_few) / math.log(many / few)
    return round(2**exponent - 1, 4)


class DiversityTally:
    """Accumulates dialogues in any order. By a hash of its id, each dialogue belongs to one half of all, one quarter of
    all and so on, or not; each trait is kept as 8 bytes with the smallest of these subsets that has it. Memory grows
    with the number of distinct traits only."""

    def __init__(self) -> None:
        self._sizes = [0] * _CURVE
        self._smallest: dict[str, dict[int, int]] = {field.name: {} for field in fields(DialogueTraits)}

    def add(self, dialogue: Dialogue) -> None:
        level = min(_trailing_zeros(digest(dialogue.dialogue_id)), _CURVE - 1)
        for size in range(level + 1):
            self._sizes[size] += 1
        traits = dialogue_traits(dialogue)
        for name, smallest in self._smallest.items():
            for trait in getattr(traits, name):
                smallest[trait] = max(level, smallest.get(trait, 0))

    def result(self, settings: SaturationSettings) -> Diversity:
        """The curve so far, and whether it is flat."""
        counts = {
            name: list(accumulate(map(Counter(smallest.values()).__getitem__, range(_CURVE - 1, -1, -1))))[::-1]
            for name, smallest in self._smallest.items()
        }
        curve = tuple(
            DiversityPoint(dialogues=size, **{name: of_trait[level] for name, of_trait in counts.items()})
            for level, size in enumerate(self._sizes)
            if size >= _FEWEST or (level == 0 and size)
        )
        growth = None
        if len(curve) > 1 and 0 < curve[1].dialogues < curve[0].dialogues and curve[1].goal_skeletons:
            half, whole = curve[1], curve[0]
            growth = growth_per_doubling(half.dialogues, whole.dialogues, half.goal_skeletons, whole.goal_skeletons)
        checked = growth is not None and self._sizes[0] >= settings.dialogues
        return Diversity(curve=curve, growth=growth, saturated=checked and (growth or 0) < settings.growth)


def _trailing_zeros(number: int) -> int:
    return (number & -number).bit_length() - 1 if number else _CURVE
