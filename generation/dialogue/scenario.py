"""What is settled about a dialogue before anything is generated: its tools, its cards, the style of its system message.

Nothing here depends on what other dialogues became, so that a run is the same whatever the order in which they finish.
Repetition is avoided by dealing without replacement, not by looking at what has been generated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, get_args

from pydantic import Field, field_validator

from core.dialogue import Difficulty
from core.messages import ToolSpec
from core.settings import Settings
from generation.specs.dealing import dealt
from generation.tasks.cards import Card, deal_cards
from generation.tools.choice import ToolChoice, ToolChoiceSettings

_KEPT = 64
"""Blocks that a dealer remembers: more than are in progress at any time."""

Style = Literal["full", "brief", "rules_first", "none"]


class VarietySettings(Settings):
    """What varies from one block of dialogues to the next, and whether tasks are dealt as cards."""

    tools: ToolChoiceSettings = Field(
        default=ToolChoiceSettings(), description="which tools of a domain's pool a dialogue offers"
    )
    cards: bool = Field(
        default=False,
        description="deal each task a difficulty and target tools, without replacement; false: draw its difficulty",
    )
    system_prompts: dict[Style, Annotated[float, Field(ge=0)]] = Field(
        default={"full": 1.0},
        description="style of the system message -> weight: full, brief, rules_first, or none (no system message; a "
        "dialogue with a policy has one)",
    )

    @field_validator("system_prompts")
    @classmethod
    def _has_a_positive_weight(cls, weights: dict[Style, float]) -> dict[Style, float]:
        if not sum(weights.values()) > 0:
            raise ValueError(f"a weight above 0 is expected for one of {', '.join(get_args(Style))}")
        return weights


@dataclass(frozen=True)
class Scenario:
    """A dialogue's tools, the style of its system message, and a card for each of its tasks. Without cards, the task
    writer draws difficulties itself."""

    tools: tuple[ToolSpec, ...] = ()
    style: Style = "full"
    cards: tuple[Card, ...] = ()


class ScenarioDealer:
    """Deals the scenarios of the dialogues in one domain, which number from 0, with up to `tasks` tasks each."""

    def __init__(
        self,
        pool: Sequence[ToolSpec],
        settings: VarietySettings,
        tasks: int,
        difficulties: Mapping[Difficulty, float],
        seed: str,
    ) -> None:
        self.settings = settings
        self.tasks = tasks
        self.difficulties = difficulties
        self.seed = seed
        self._choice = ToolChoice(pool, settings.tools, seed)
        self._blocks: dict[int, list[Scenario]] = {}

    def scenario(self, number: int) -> Scenario:
        """That of dialogue `number`."""
        block, position = divmod(number, self.settings.tools.block)
        if block not in self._blocks:
            if len(self._blocks) == _KEPT:
                self._blocks.pop(next(iter(self._blocks)))
            self._blocks[block] = self._deal(block)
        return self._blocks[block][position]

    def _deal(self, block: int) -> list[Scenario]:
        size, settings = self.settings.tools.block, self.settings
        dialogues = range(block * size, (block + 1) * size)
        offered = self._choice.offered(block)
        style = dealt(settings.system_prompts, f"{self.seed}/system message", block)
        cards: list[tuple[Card, ...]] = [()] * size
        if settings.cards:
            cards = deal_cards(offered, dialogues, self.tasks, self.difficulties, self.seed)
        return [Scenario(offered.tools, style, of_one) for of_one in cards]
