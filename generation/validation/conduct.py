"""Whether the agent did what a kind of request takes besides calls: it asked, it declined, it looked first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Set

from core.dialogue import DECLINED, Check, Dialogue, Task
from core.messages import AssistantMessage, Message, UserMessage
from generation.tasks.draft import WITHHOLDING
from generation.tasks.mentions import states
from generation.utterances.answers import asks, declines


def conduct(dialogue: Dialogue, number: int, changed_at: Set[int]) -> Iterator[Check]:
    """The checks of task `number`. `changed_at` are the indexes of the messages whose calls changed the state."""
    task, start = dialogue.tasks[number], dialogue.task_starts[number]
    part = dialogue.part(number)
    if task.kind in WITHHOLDING:
        changed = [position - start for position in changed_at if position - start in range(len(part))]
        yield _check("asked", number, _asking_problem(task, part, changed))
    if task.kind in DECLINED:
        yield _check("declined", number, "" if _declined(part) else "the agent never said no")
    if task.kind == "late_tool":
        offered = min((int(dialogue.late_tools.get(tool, start)) for tool in task.late_tools), default=start) - start
        said_no = _declined(part[:offered])
        yield _check("declined", number, "" if said_no else "the agent never said that it lacks the tool")
    if task.kind == "not_found" and not any(_calls(message) for message in part):
        yield _check("looked", number, "the agent never looked for it")
    if task.kind == "irrelevant":
        calls = [name for message in part for name in _calls(message)]
        problem = f"the agent called {calls[0]} for a request that no tool serves" if calls else ""
        yield _check("no_call", number, problem)


def _check(what: str, number: int, problem: str) -> Check:
    return Check(name=f"{what} in task {number}", passed=not problem, task=number, detail=problem)


def _asking_problem(task: Task, part: Sequence[Message], changed: Iterable[int]) -> str:
    """Why the agent did not ask for the withheld values before it changed anything, or ""."""
    first_change = min(changed, default=len(part))
    answers = [m.content for m in part[:first_change] if isinstance(m, AssistantMessage) and not m.tool_calls]
    if not any(map(asks, answers)):
        return "the agent never asked"
    if task.kind == "withdrawn":
        return ""
    said = "\n".join(m.content for m in part[:first_change] if isinstance(m, UserMessage))
    unsaid = [value for value in task.withheld if not states(said, value)]
    return f"the user had not said {', '.join(unsaid)} yet" if unsaid else ""


def _declined(part: Iterable[Message]) -> bool:
    return any(declines(m.content) for m in part if isinstance(m, AssistantMessage) and not m.tool_calls)


def _calls(message: Message) -> list[str]:
    return [call.name for call in message.tool_calls or ()] if isinstance(message, AssistantMessage) else []
