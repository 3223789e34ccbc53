"""The stand-in's judge: holds the transcript against the rubric's expected calls and looks for an answer that tells something."""

from __future__ import annotations

import json
from random import Random

from core.messages import AssistantMessage, ToolMessage
from generation.llm.base import JudgeContext

_APOLOGY = ("i am sorry", "could not", "unable to")


def answer(context: JudgeContext, rng: Random) -> str:
    """{"judgment", "reasoning"}: invalid where a mandated tool never succeeded or where the user was sent away."""
    called = set()
    failed = {
        m.tool_call_id for m in context.transcript if isinstance(m, ToolMessage) and m.content.startswith('{"error"')
    }
    answers = []
    for message in context.transcript:
        if isinstance(message, AssistantMessage):
            called |= {call.name for call in message.tool_calls or () if call.id not in failed}
            if not message.tool_calls:
                answers.append(message.content.lower())
    wanted = {call.tool for call in context.task.plan}
    if missing := sorted(wanted - called):
        return _verdict("invalid", f"Critical: the expected call of {', '.join(missing)} never succeeded.")
    if not answers or any(part in answers[-1] for part in _APOLOGY):
        return _verdict("invalid", "Critical: the conversation ends without the user's request being fulfilled.")
    return _verdict(
        "valid",
        rng.choice(["Every critical bullet passes.", "All expected calls succeeded and the user was answered."]),
    )


def _verdict(judgment: str, reasoning: str) -> str:
    return json.dumps({"judgment": judgment, "reasoning": reasoning}, ensure_ascii=False)
