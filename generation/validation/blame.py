"""Who made a dialogue fail: by rule where execution decides, by the judge's word where only it does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from core.dialogue import Blame, Check, Dialogue, Judgment, calls, placeholder
from core.messages import AssistantMessage, Message, UserMessage
from generation.tasks.mentions import literals, mentions_value, states

_STOPS: dict[str, Blame] = {
    "user": "user",
    "agent": "agent",
    "tool_simulator": "tool",
    "task_writer": "task",
    "judge": "judge",
    "replay": "tool",
}
_OUTCOMES = ("state of task ", "told in task ")


def blame(dialogue: Dialogue, checks: Sequence[Check], judgments: Sequence[Judgment], executable: bool) -> Blame | None:
    """Who is to blame for a rejection; None for an accepted dialogue and for one that merely stands open.

    Whoever stopped it, else: the agent for an unlawful transcript, the tools for one that does not replay. Of the tasks that
    missed their outcome the first decides, since later ones may follow from it: it is the tools' fault if they refused its
    next right call (`refused`), the user's if it never gave what the task needs (`unvoiced`), else the agent's. Of tasks that
    execution could not prove the judge decides: then it is whom most of the judgments against them name, the agent where they
    name nobody.
    """
    failed = [check.name for check in checks if not check.passed]
    if "finished" in failed:
        return _STOPS.get(dialogue.stop.partition(":")[0])
    if "contract" in failed:
        return "agent"
    if "replay" in failed:
        return "tool"
    missed = [int(name.rpartition(" ")[2]) for name in failed if name.startswith(_OUTCOMES)]
    if missed:
        if refused(dialogue, min(missed)) or withheld(dialogue, min(missed)):
            return "tool"
        return "user" if unvoiced(dialogue, min(missed)) else "agent"
    if failed:
        return "agent"
    judged = zip(judgments, dialogue.tasks, strict=False)
    against = Counter[Blame](
        judgment.blame or "agent"
        for judgment, task in judged
        if judgment.judgment == "invalid" and not (executable and task.gold_calls)
    )
    return against.most_common(1)[0][0] if against else None


def refused(dialogue: Dialogue, number: int) -> bool:
    """Whether the first of task `number`'s gold calls that never succeeded was made, and answered with errors only. A gold
    call that fails because an earlier one is missing is the agent's fault: with that one made it would have succeeded."""
    made = calls(dialogue.part(number))
    for gold in dialogue.tasks[number].gold_calls:
        results = [result for name, arguments, result in made if (name, arguments) == (gold.tool, gold.arguments)]
        if all(result.startswith('{"error"') for result in results):
            return bool(results)
    return False


def withheld(dialogue: Dialogue, number: int) -> bool:
    """Whether the tools kept back what task `number` needs, though they were asked rightly: all its gold calls succeeded, but a
    value that is to be told stands in no result; or the first that was never made takes a value from an earlier one's result,
    and it does not stand there."""
    task, made = dialogue.tasks[number], calls(dialogue.part(number))
    shown: list[str] = []
    for planned, gold in zip(task.plan or task.gold_calls, task.gold_calls, strict=False):
        results = [result for name, arguments, result in made if (name, arguments) == (gold.tool, gold.arguments)]
        if not results:
            sources = {name: placeholder(value) for name, value in planned.arguments.items()}
            return any(
                not mentions_value(shown[source[0]], str(gold.arguments[name]))
                for name, source in sources.items()
                if source
            )
        shown.append(results[-1])
    return any(not mentions_value(" ".join(shown), value) for value in task.told_values)


def unvoiced(dialogue: Dialogue, number: int) -> tuple[str, ...]:
    """The values that task `number`'s calls need and its goal states, but that nobody ever put into that part of the dialogue.

    A value that the agent called with counts as voiced, since people write "two" for 2 and "14 March" for a date. Values that
    are looked up on the way (placeholders of the plan) are not the user's to give.
    """
    task = dialogue.tasks[number]
    needed = dict.fromkeys(
        value for call in task.plan or task.gold_calls for value in literals(call.arguments) if states(task.goal, value)
    )
    heard = dict.fromkeys(_heard(dialogue.part(number)))
    return tuple(value for value in needed if not any(states(text, value) for text in heard))


def _heard(part: Sequence[Message]) -> Iterator[str]:
    for message in part:
        if isinstance(message, UserMessage):
            yield message.content
        elif isinstance(message, AssistantMessage):
            for call in message.tool_calls or ():
                yield from literals(call.parsed())
