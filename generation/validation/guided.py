"""Whether a guided task went as its procedure takes: its steps were made in order, by the side that has the tool, and
the user did nothing that the agent had not spoken of; and who is to blame if not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from core.dialogue import Blame, Check, Dialogue, PlannedCall
from core.dual_control import Actor
from core.messages import AssistantMessage
from core.typography import same_values
from generation.utterances.instructions import instructed, speaks_of


class MadeCall(NamedTuple):
    """A call that was made, and the index of the message that makes it, or before which the user made it."""

    position: int
    actor: Actor
    tool: str
    arguments: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.tool} before message {self.position}"


def calls_of_both(dialogue: Dialogue, number: int) -> list[MadeCall]:
    """All calls of task `number`, in the order in which they were made."""
    calls = [MadeCall(action.message, "user", action.tool, action.arguments) for action in dialogue.actions(number)]
    calls += [MadeCall(at, "agent", call.name, arguments) for at, call, arguments, _ in dialogue.executed(number)]
    return sorted(calls, key=lambda call: call.position)


def guided_checks(dialogue: Dialogue, number: int) -> Iterator[Check]:
    """The checks of the guided task `number`."""
    on_their_own = uninstructed(dialogue, number)
    problem = f"the user made {on_their_own[0]}, of which the agent had not spoken" if on_their_own else ""
    yield Check(name=f"instructed in task {number}", passed=not on_their_own, task=number, detail=problem)
    missing = first_missing(dialogue, number)
    problem = f"this step was not made in its place: {missing.tool} ({missing.actor})" if missing else ""
    yield Check(name=f"procedure in task {number}", passed=missing is None, task=number, detail=problem)


def uninstructed(dialogue: Dialogue, number: int) -> list[MadeCall]:
    """What the user did although no answer of the agent since the task began spoke of it. Instructions are read in
    English; in other languages nothing is held against the user."""
    if dialogue.provenance.language not in (None, "en"):
        return []
    actions = [call for call in calls_of_both(dialogue, number) if call.actor == "user"]
    return [call for call in actions if not _spoken_of(dialogue, number, call.tool, call.position)]


def first_missing(dialogue: Dialogue, number: int) -> PlannedCall | None:
    """The first gold call that does not follow those before it among the calls that were made."""
    calls = iter(calls_of_both(dialogue, number))
    for gold in dialogue.tasks[number].gold_calls:
        if not any(_is_gold(call, gold) for call in calls):
            return gold
    return None


def guided_blame(dialogue: Dialogue, number: int) -> Blame:
    """Who made the guided task `number` fail: the user who acted on their own, or left out a step that the agent told
    them to take; the agent for everything else, such as a wrong instruction. In doubt the user is not to blame: what
    they did must not have been mentioned, what they left out must have been ordered."""
    if uninstructed(dialogue, number):
        return "user"
    missing = first_missing(dialogue, number)
    if missing is None or missing.actor == "agent":
        return "agent"
    if any(_is_gold(call, missing) for call in calls_of_both(dialogue, number)):
        return "agent"  # it was made, but at another place than the procedure has it
    specs = [tool.model_dump() for tool in dialogue.user_tools]
    known = dialogue.tasks[number].goal
    ordered = {use.tool for text in _said(dialogue, number) for use in instructed(text, specs, known)}
    return "user" if missing.tool in ordered else "agent"


def _is_gold(call: MadeCall, gold: PlannedCall) -> bool:
    return (call.actor, call.tool) == (gold.actor, gold.tool) and same_values(call.arguments, gold.arguments)


def _spoken_of(dialogue: Dialogue, number: int, tool: str, until: int) -> bool:
    return any(speaks_of(text, tool) for text in _said(dialogue, number, until))


def _said(dialogue: Dialogue, number: int, until: int | None = None) -> list[str]:
    """What the agent told the user during task `number`, before message `until`."""
    part = dialogue.messages[dialogue.task_starts[number] : until][: len(dialogue.part(number))]
    return [m.content for m in part if isinstance(m, AssistantMessage) and not m.tool_calls]
