"""Whether a request went as its kind takes besides the state at its end: the agent asked, declined, looked first and
changed nothing meanwhile; the user kept back what it should, or said its first wish."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Set
from typing import Any

from core.dialogue import Check, Dialogue, Task
from core.messages import AssistantMessage, ContractError, Message, UserMessage
from core.placeholders import placeholder
from core.policy import Policy, StaffRule
from core.request_kinds import DECLINED, NOTHING_HAPPENS
from core.typography import same_values
from generation.specs.json_values import leaves
from generation.tasks.draft import WITHHOLDING
from generation.tasks.mentions import mentions_value, states
from generation.utterances.answers import asks, declines
from generation.validation.guided import guided_checks


def conduct(dialogue: Dialogue, number: int, changed_at: Set[int]) -> Iterator[Check]:
    """The checks of task `number`. `changed_at` are the indexes of the messages whose calls changed the state."""
    task, start = dialogue.tasks[number], dialogue.task_starts[number]
    part = dialogue.part(number)
    changed = [position - start for position in changed_at if position - start in range(len(part))]
    if task.kind in NOTHING_HAPPENS:
        problem = "the agent changed something, though nothing was to be changed" if changed else ""
        yield _check("unchanged", number, problem)
    if task.kind in WITHHOLDING:
        yield _check("asked", number, _asking_problem(task, part, changed))
        yield _check("kept back", number, _telling_problem(task, part))
    if task.kind == "changed":
        said = _said(part)
        unsaid = [str(value) for value in task.first_arguments.values() if not states(said, str(value))]
        yield _check("first wish", number, f"the user never wished for {', '.join(unsaid)} first" if unsaid else "")
    if task.kind in DECLINED:
        refused = _declined(part) or _sent_to_staff(task, part, dialogue.policy)
        yield _check("declined", number, "" if refused else "the agent never said no")
    if task.kind == "late_tool":
        offered = min((int(dialogue.late_tools.get(tool, start)) for tool in task.late_tools), default=start) - start
        said_no = _declined(part[:offered])
        yield _check("declined", number, "" if said_no else "the agent never said that it lacks the tool")
    if task.kind == "not_found":
        yield _check("looked", number, "" if _looked(task, part) else "the agent never looked for it")
    if task.kind == "guided":
        yield from guided_checks(dialogue, number)
    if task.kind == "irrelevant":
        calls = [call.name for message in part for call in _calls(message)]
        problem = f"the agent called {calls[0]} for a request that no tool serves" if calls else ""
        yield _check("no_call", number, problem)


def _check(what: str, number: int, problem: str) -> Check:
    return Check(name=f"{what} in task {number}", passed=not problem, task=number, detail=problem)


def _asking_problem(task: Task, part: Sequence[Message], changed: Iterable[int]) -> str:
    """Why the agent did not ask for the withheld values before it changed anything, or ""."""
    first_change = min(changed, default=len(part))
    if not any(asks(answer) for _, answer in _answers(part[:first_change])):
        return "the agent never asked"
    if task.kind == "withdrawn":
        return ""
    said = _said(part[:first_change])
    unsaid = [value for value in task.withheld if not states(said, value)]
    return f"the user had not said {', '.join(unsaid)} yet" if unsaid else ""


def _telling_problem(task: Task, part: Sequence[Message]) -> str:
    """Which withheld values the user gave before the agent asked for anything, so that there was nothing to ask; of a
    request that is withdrawn, whether it gave one at all. "" if none."""
    first_question = next((position for position, answer in _answers(part) if asks(answer)), len(part))
    said = _said(part if task.kind == "withdrawn" else part[:first_question])
    told = [value for value in task.withheld if states(said, value)]
    when = "instead of withdrawing the request" if task.kind == "withdrawn" else "before the agent asked"
    return f"the user said {', '.join(told)} {when}" if told else ""


def _declined(part: Sequence[Message]) -> bool:
    return any(declines(answer) for _, answer in _answers(part))


def _sent_to_staff(task: Task, part: Sequence[Message], policy: Policy | None) -> bool:
    """Whether the agent named whom to turn to where only the staff do what was asked."""
    rule = next((rule for rule in policy.rules if rule.rule_id == task.rule_id), None) if policy else None
    if not isinstance(rule, StaffRule):
        return False
    return any(mentions_value(answer, rule.contact) for _, answer in _answers(part))


def _looked(task: Task, part: Sequence[Message]) -> bool:
    """Whether a call had one of the values by which the request names what does not exist."""
    planned = task.plan[0].arguments if task.plan else {}
    sought = [value for _, value in leaves(planned) if placeholder(value) is None]
    calls = [call for message in part for call in _calls(message)]
    made = [value for call in calls for _, value in leaves(_arguments(call))]
    return any(same_values(value, other) for value in sought for other in made) if sought else bool(calls)


def _arguments(call: Any) -> dict[str, Any]:
    try:
        arguments: dict[str, Any] = call.parsed()
    except ContractError:
        return {}
    return arguments


def _answers(part: Sequence[Message]) -> Iterator[tuple[int, str]]:
    """What the agent said to the user, with its place."""
    for position, message in enumerate(part):
        if isinstance(message, AssistantMessage) and not message.tool_calls:
            yield position, message.content


def _said(part: Sequence[Message]) -> str:
    return "\n".join(message.content for message in part if isinstance(message, UserMessage))


def _calls(message: Message) -> Sequence[Any]:
    return message.tool_calls or () if isinstance(message, AssistantMessage) else ()
