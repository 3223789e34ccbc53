"""The messages of a dialogue as a page shows them, with what is remarkable about each message and call."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence

from core.dialogue import Dialogue
from core.messages import AssistantMessage, ToolMessage, UserMessage
from core.page.contents import CallView, Mark, MessageView
from generation.metrics.user_faults import Fault
from generation.report.expectations import MetTask, user_call_id
from generation.report.replaying import CallKey, Replayed

CallMarks = dict[CallKey, list[Mark]]
MessageMarks = dict[int, list[Mark]]


def message_views(dialogue: Dialogue, on_messages: MessageMarks, on_calls: CallMarks) -> tuple[MessageView, ...]:
    """All messages but the tools', which stand in the calls that they answer."""
    views = []
    for index, message in enumerate(dialogue.messages):
        if isinstance(message, ToolMessage):
            continue
        calls: tuple[CallView, ...] = ()
        reasoning = ""
        if isinstance(message, AssistantMessage):
            results = dict(_results(dialogue, index))
            reasoning = message.reasoning_content or ""
            calls = tuple(
                CallView(
                    name=call.name,
                    arguments=call.function.arguments,
                    result=results.get(call.id),
                    marks=tuple(on_calls.get((index, call.id), ())),
                )
                for call in message.tool_calls or ()
            )
        elif isinstance(message, UserMessage):
            calls = tuple(_own_calls(dialogue, index, on_calls))
        views.append(
            MessageView(
                index=index,
                role=message.role,
                content=message.content,
                reasoning=reasoning,
                calls=calls,
                marks=tuple(on_messages.get(index, ())),
            )
        )
    return tuple(views)


def _own_calls(dialogue: Dialogue, index: int, on_calls: CallMarks) -> Iterator[CallView]:
    """What the user did with their own tools before they wrote a message."""
    for number, action in enumerate(dialogue.user_actions):
        if action.message == index:
            arguments = json.dumps(action.arguments, ensure_ascii=False)
            marks = tuple(on_calls.get((index, user_call_id(number)), ()))
            yield CallView(name=f"{action.tool} (user)", arguments=arguments, result=action.result, marks=marks)


def _results(dialogue: Dialogue, index: int) -> Iterator[tuple[str, str]]:
    """The tool messages that follow a message."""
    for message in dialogue.messages[index + 1 :]:
        if not isinstance(message, ToolMessage):
            return
        yield message.tool_call_id, message.content


def call_marks(dialogue: Dialogue, met: Sequence[MetTask], replayed: Replayed) -> CallMarks:
    """Gold calls, calls that changed the state, and calls that broke a rule."""
    marks: CallMarks = defaultdict(list)
    for number, expected in enumerate(met):
        for key, place in expected.calls.items():
            text = f"gold call {place + 1} of {len(expected.gold_calls)}"
            marks[key].append(Mark(kind="gold", text=text, task=number))
    rules = {rule.rule_id: rule.text for rule in dialogue.policy.rules} if dialogue.policy else {}
    for violation in replayed.violations:
        text = f"{violation.rule_id}: {rules.get(violation.rule_id, '')}"
        task = _task_at(dialogue, violation.position)
        marks[violation.position, violation.call_id].append(Mark(kind="broken_rule", text=text, task=task))
    for key, lines in replayed.changes.items():
        marks[key] += [Mark(kind="change", text=line, task=_task_at(dialogue, key[0])) for line in lines]
    return marks


def message_marks(dialogue: Dialogue, met: Sequence[MetTask], faults: Sequence[Fault]) -> MessageMarks:
    """Answers in which a value was told, and the user simulator's faults. One at a tool message, which is not shown, is
    marked at the message before."""
    marks: MessageMarks = defaultdict(list)
    for number, task in enumerate(met):
        for value in task.told_values:
            if value.met_at is not None:
                marks[value.met_at].append(Mark(kind="told", text=value.text, task=number))
    for fault in faults:
        shown = fault.position
        while shown > 0 and isinstance(dialogue.messages[shown], ToolMessage):
            shown -= 1
        text = f"{fault.kind.replace('_', ' ')}: {fault.detail}"
        marks[shown].append(Mark(kind="fault", text=text, task=_task_at(dialogue, fault.position)))
    return marks


def _task_at(dialogue: Dialogue, position: int) -> int | None:
    """The task that a message belongs to; None before the first."""
    begun = [number for number, start in enumerate(dialogue.task_starts) if start <= position]
    return begun[-1] if begun else None
