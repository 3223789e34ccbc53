"""The stand-in judge's opinion of a conversation."""

from __future__ import annotations

import json
from random import Random

from jsonschema import validate

from core.dialogue import Judgment, Task
from core.messages import Message
from generation.llm.contexts import JudgeContext
from generation.scripted.judge import answer
from generation.validation.judge import answer_schema, read_judgment
from tests.generation.helpers.judgments import TASK


def opinion(messages: tuple[Message, ...], task: Task = TASK) -> Judgment:
    """Its judgment when it does not err."""
    text = answer(JudgeContext(task, messages), Random(0), error_rate=0.0)
    validate(json.loads(text), answer_schema(len(task.rubric.bullets)))
    return read_judgment(text, task.rubric)
