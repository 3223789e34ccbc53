"""The faults of a dialogue."""

from __future__ import annotations

from core.dialogue import Dialogue
from generation.llm.contexts import UserRules
from generation.metrics.user_quality import dialogue_quality
from tests.generation.helpers.pipeline_runs import user_settings

RULES = user_settings().rules


def faults(dialogue: Dialogue, rules: UserRules = RULES) -> list[tuple[str, int]]:
    return [(fault.kind, fault.position) for fault in dialogue_quality(dialogue, rules).faults]
