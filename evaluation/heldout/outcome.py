"""Describes a finished held-out dialogue: why it stopped, its notes and calls."""

from __future__ import annotations

import json
from collections.abc import Sequence

from core.dialogue import Check, Dialogue
from core.messages import ContractError, ToolCall, ToolSpec
from evaluation.heldout.tasks import HeldoutDialogue
from generation.validation.outcome import infrastructure_failure


def stop_reason(dialogue: Dialogue, posed: HeldoutDialogue) -> str:
    """The trial's stop reason: the dialogue's, or how many tasks were started if that is fewer than all."""
    if infrastructure_failure(dialogue.stop):
        return "infrastructure"
    started = len(dialogue.task_starts)
    incomplete = dialogue.stop == "complete" and started != len(posed.draft.tasks)
    return f"after {started} tasks" if incomplete else dialogue.stop


def notes(posed: HeldoutDialogue, results: Sequence[Check]) -> list[str]:
    """The transcript's notes: the condition, each task with its gold calls, and the failed checks."""
    lines = [", ".join(f"{axis} {value}" for axis, value in posed.axes.items() if value)]
    for number, task in enumerate(posed.draft.tasks):
        lines.append(f"task {number} ({task.difficulty}): {task.goal}")
        lines += [f"  gold: {call.tool}({json.dumps(call.arguments, ensure_ascii=False)})" for call in task.gold_calls]
        lines += [f"  must mention: {', '.join(task.told_values)}"] if task.told_values else []
    return lines + [f"FAILED {check.name}: {check.detail}" for check in results if not check.passed]


def count_calls(dialogue: Dialogue) -> tuple[int, int]:
    """(valid, all) tool calls; a call is valid if its tool is offered and its arguments fit the tool's schema."""
    valid = [
        _is_valid(call, {tool.name: tool for tool in dialogue.tools_at(position)})
        for position, message in enumerate(dialogue.messages)
        if message.role == "assistant"
        for call in message.tool_calls or ()
    ]
    return sum(valid), len(valid)


def _is_valid(call: ToolCall, declared: dict[str, ToolSpec]) -> bool:
    try:
        return call.name in declared and declared[call.name].argument_error(call.parsed()) is None
    except ContractError:
        return False
