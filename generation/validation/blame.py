"""Blame for a failed dialogue: by rule where execution decides, else from the judge's judgments."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from typing import Any

from core.dialogue import Blame, Check, Dialogue, Judgment, PlannedCall, calls
from core.messages import AssistantMessage, Message, UserMessage
from core.placeholders import placeholder
from core.typography import same_values
from generation.tasks.grounding import is_given, needed_literals
from generation.tasks.mentions import literals, mentions_value, states
from generation.utterances.answers import asks
from generation.validation.guided import guided_blame

_STOPS: dict[str, Blame] = {
    "user": "user",
    "agent": "agent",
    "tool_simulator": "tool",
    "task_writer": "task",
    "judge": "judge",
    "replay": "tool",
}
_CIRCLES = ("repeats itself", "not done after")
"""Reasons of stops that either side may have caused, whoever noticed."""


def blame(
    dialogue: Dialogue,
    checks: Sequence[Check],
    rejections: Mapping[int, Judgment],
    changes: Set[tuple[int, str]] = frozenset(),
) -> Blame | None:
    """Who is to blame for a rejection; None for an accepted dialogue and for one that is merely unfinished.

    The role that stopped the dialogue, or who made it go round in circles (`_circling`); else the agent for an invalid
    transcript, the tools for one that does not replay. Of the tasks that missed their outcome the first decides, since
    later ones may follow from it: the agent is to blame if one of the `changes` that its calls made (message, id) was
    not asked for (`changed_more`), the tools if they refused its next gold call (`refused`) or withheld a
    value (`withheld`), the task if it needs a value that is nowhere to be had (`ungrounded`), the user if it never gave
    a value that the task needs (`kept_back`) or left a question open (`left_early`), else the agent. For tasks that the
    judge alone rejects, by number in `rejections`, the role that most of these judgments name, the agent if they name
    no one; an ungrounded task is to blame itself.
    """
    failed = [check.name for check in checks if not check.passed]
    if "finished" in failed:
        role, _, reason = dialogue.stop.partition(": ")
        return _circling(dialogue) if reason.startswith(_CIRCLES) else _STOPS.get(role)
    if "contract" in failed:
        return "agent"
    if "replay" in failed:
        return "tool"
    missed = [check.task for check in checks if not check.passed and check.task is not None]
    if missed:
        if dialogue.tasks[min(missed)].kind == "guided":
            return guided_blame(dialogue, min(missed))
        if changed_more(dialogue, min(missed), changes):
            return "agent"
        if refused(dialogue, min(missed)) or withheld(dialogue, min(missed)):
            return "tool"
        if ungrounded(dialogue, min(missed)):
            return "task"
        return "user" if kept_back(dialogue, min(missed)) or left_early(dialogue, min(missed)) else "agent"
    if failed:
        return "agent"
    blamed = Counter[Blame](
        "task" if ungrounded(dialogue, number) else judgment.blame or "agent" for number, judgment in rejections.items()
    )
    return blamed.most_common(1)[0][0] if blamed else None


def _circling(dialogue: Dialogue) -> Blame:
    """Who made a dialogue go round in circles: the tools that refused a call of the plan; the user who never said what
    the task needs, or whose task was done; the agent who heard everything and did not do it. Where nothing is executed,
    the role that was stopped."""
    number = len(dialogue.task_starts) - 1
    if number >= 0 and dialogue.tasks[number].kind == "guided":
        return guided_blame(dialogue, number)
    if number >= 0 and refused(dialogue, number):
        return "tool"
    if number < 0 or kept_back(dialogue, number):
        return "user"
    gold_calls, actual = dialogue.tasks[number].gold_calls, calls(dialogue.part(number))
    if not gold_calls:
        return _STOPS.get(dialogue.stop.partition(":")[0], "user")
    return "user" if all(_results(gold, actual) for gold in gold_calls) else "agent"


def refused(dialogue: Dialogue, number: int) -> bool:
    """Whether the agent made the first of task `number`'s gold calls that never succeeded, and got only errors.

    If a gold call fails because an earlier one was never made, the agent is to blame: the call would have succeeded
    after it.
    """
    actual = calls(dialogue.part(number))
    for gold in dialogue.tasks[number].gold_calls:
        results = _results(gold, actual)
        if all(result.startswith('{"error"') for result in results):
            return bool(results)
    return False


def withheld(dialogue: Dialogue, number: int) -> bool:
    """Whether the tools withheld a value that task `number` needs, although the agent called them correctly: all gold
    calls succeeded, but no result shows a value to report; or the first missing gold call takes an argument from an
    earlier result that does not show it."""
    task, actual = dialogue.tasks[number], calls(dialogue.part(number))
    shown: list[str] = []
    for planned, gold in zip(task.expected_plan or task.gold_calls, task.gold_calls, strict=False):
        results = _results(gold, actual)
        if not results:
            sources = {name: placeholder(value) for name, value in planned.arguments.items()}
            return any(
                not mentions_value("\n".join(shown[call] for call in source.calls), str(gold.arguments[name]))
                for name, source in sources.items()
                if source and source.function in ("", "lowest", "highest")
            )
        shown.append(results[-1])
    return any(not mentions_value(" ".join(shown), value) for value in task.told_values)


def _results(gold: PlannedCall, actual: Sequence[tuple[str, dict[str, Any], str]]) -> list[str]:
    """The results of the calls that equal a gold call."""
    return [
        result for name, arguments, result in actual if name == gold.tool and same_values(arguments, gold.arguments)
    ]


def ungrounded(dialogue: Dialogue, number: int) -> tuple[str, ...]:
    """The values of task `number`'s plan that its goal does not give and that occur nowhere in the dialogue until its
    end: in no message, no call and no result. Neither user nor agent could know them."""
    task = dialogue.tasks[number]
    tools = {tool.name: tool for tool in dialogue.tools}
    needed = [literal for literal in needed_literals(task.plan, tools) if not is_given(literal, task.goal)]
    if not needed:
        return ()
    until = [*dialogue.task_starts[1:], len(dialogue.messages)][number]
    said = "\n".join(_texts(dialogue.messages[:until]))
    return tuple(dict.fromkeys(literal.text for literal in needed if not is_given(literal, said)))


def _texts(messages: Sequence[Message]) -> Iterator[str]:
    """All that is written in messages: contents, and the values that the agent called with."""
    for message in messages:
        yield message.content
        for call in message.tool_calls or () if isinstance(message, AssistantMessage) else ():
            yield call.function.arguments


def unvoiced(dialogue: Dialogue, number: int) -> tuple[str, ...]:
    """The values that task `number`'s calls need and its goal states, but that never occur in that part of the
    dialogue.

    A value that the agent called with counts as voiced, since users write "two" for 2 and "14 March" for a date. The
    user need not give values that are looked up (placeholders of the plan).
    """
    task = dialogue.tasks[number]
    heard = dict.fromkeys(_heard(dialogue.part(number)))
    return _unsaid(task.expected_plan or task.gold_calls, task.goal, heard)


def _unsaid(plan: Sequence[PlannedCall], goal: str, heard: Iterable[str]) -> tuple[str, ...]:
    needed = dict.fromkeys(value for call in plan for value in literals(call.arguments) if states(goal, value))
    return tuple(value for value in needed if not any(states(text, value) for text in heard))


def kept_back(dialogue: Dialogue, number: int) -> tuple[str, ...]:
    """The values of `unvoiced` for which the user is to blame. A user who tells one thing at a time waits until it is
    done: none if the user spoke again, and the agent had not made a gold call for which it had heard all, or not told a
    value that it had been shown."""
    unsaid = unvoiced(dialogue, number)
    part, task = dialogue.part(number), dialogue.tasks[number]
    if not unsaid or sum(isinstance(message, UserMessage) for message in part) < 2:
        return unsaid
    actual, heard = calls(part), dict.fromkeys(_heard(part))
    plan = task.expected_plan or task.gold_calls
    missing = next((p for p, gold in zip(plan, task.gold_calls, strict=False) if not _results(gold, actual)), None)
    if missing and not _unsaid([missing], task.goal, heard):
        return ()
    shown = " ".join(result for _, _, result in actual)
    told = " ".join(message.content for message in part if isinstance(message, AssistantMessage))
    untold = any(mentions_value(shown, value) and not mentions_value(told, value) for value in task.told_values)
    return () if untold else unsaid


def _heard(part: Sequence[Message]) -> Iterator[str]:
    for message in part:
        if isinstance(message, UserMessage):
            yield message.content
        elif isinstance(message, AssistantMessage):
            for call in message.tool_calls or ():
                yield from literals(call.parsed())


def left_early(dialogue: Dialogue, number: int) -> bool:
    """Whether the user went on to its next task, or said goodbye, when the agent had asked something about task
    `number` and did nothing more."""
    answered = [message for message in dialogue.part(number) if isinstance(message, AssistantMessage)]
    return bool(answered) and not answered[-1].tool_calls and asks(answered[-1].content)


def changed_more(dialogue: Dialogue, number: int, changes: Set[tuple[int, str]]) -> str:
    """The first call of task `number` that is among the `changes` but is no gold call, as text; "" without one. Not one
    that stands for a missing gold call whose values the user never gave."""
    task, part = dialogue.tasks[number], dialogue.part(number)
    actual, heard = calls(part), dict.fromkeys(_heard(part))
    plan = task.expected_plan or task.gold_calls
    excused = {
        gold.tool
        for planned, gold in zip(plan, task.gold_calls, strict=False)
        if not _results(gold, actual) and _unsaid([planned], task.goal, heard)
    }
    made_gold = {gold.tool for gold in task.gold_calls if _results(gold, actual)}
    for position, call, arguments, _ in dialogue.executed(number):
        if (position, call.id) not in changes or (call.name in excused and call.name not in made_gold):
            continue
        if not any(call.name == gold.tool and same_values(arguments, gold.arguments) for gold in task.gold_calls):
            return f"{call.name}({call.function.arguments})"
    return ""
