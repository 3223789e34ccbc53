"""Answers of a judge."""

from __future__ import annotations

import json

from core.dialogue import Rubric
from tests.generation.helpers.judgments import TASK


def judge_answer(rubric: Rubric, judgment: str = "valid", reasoning: str = "All is done.", blame: str = "none") -> str:
    """A complete answer that passes every bullet as Critical."""
    bullets = [{"index": n, "rubric_class": "Critical", "passed": True} for n in range(1, len(rubric.bullets) + 1)]
    return json.dumps({"bullets": bullets, "reasoning": reasoning, "judgment": judgment, "blame": blame})


VALID = judge_answer(TASK.rubric)
INVALID = judge_answer(TASK.rubric, "invalid", "The city is wrong.", "agent")
