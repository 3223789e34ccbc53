"""Who caused a τ² dialogue to fail, the user simulator or the agent: by rules that compare it with the gold actions.

The rules are those of `find_blame`, in its order; the first that applies decides. They read a value as said only if it
is said literally, and blame the user for what it did not say only if its instructions give the value literally. So they
lean towards the agent, and a user is blamed with evidence. The outcome itself is never changed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.dialogue import Blame
from core.typography import fold

Message = Mapping[str, Any]
"""A message of a transcript: its role is "assistant", "user", "tool" or "tool of the user"."""

_READS = re.compile(
    r"(get|find|list|search|check)_|(calculate|think|transfer_to_human_agents|run_speed_test|can_send_mms)$"
)
_COMMON = frozenset(
    [
        "toggle",
        "set",
        "reset",
        "reseat",
        "grant",
        "connect",
        "disconnect",
        "make",
        "mode",
        "preference",
        "app",
        "card",
        "device",
    ]
)
"""Words in the names of steps that their instructions need not contain."""
TRANSFER = "transfer_to_human_agents"
_REPEATED = 3
"""Equal messages in a row, up to the end, that make a loop."""


def writes(tool: str) -> bool:
    """Whether a τ² tool changes a database or a device."""
    return _READS.match(tool) is None


@dataclass(frozen=True)
class Call:
    """A tool call of one side, "assistant" or "user"."""

    side: str
    tool: str
    arguments: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.tool}({', '.join(f'{name}={json.dumps(v, ensure_ascii=False)}' for name, v in self.arguments.items())})"


def find_blame(task: Mapping[str, Any], messages: Sequence[Message], stop_reason: str) -> tuple[Blame, str]:
    """The side that caused the failure, and the reason in words. `task` is the official one; an agent that exceeded its
    context or whose calls could not be read is to blame for that alone."""
    if stop_reason in ("context_length", "agent_error"):
        return "agent", f"it ended the dialogue: {stop_reason}"
    made = [*_calls(messages)]
    gold = _gold_calls(task)
    missing = [call for call in gold if writes(call.tool) and call not in made]
    if stop_reason in ("max_steps", "unfinished", "too_many_errors"):
        return _loop(messages, missing, stop_reason)
    transferred = any(call.tool == TRANSFER for call in made)
    if transferred and not any(call.tool == TRANSFER for call in gold):
        return "agent", "it transferred the user to a person"
    if stop_reason == "out_of_scope":
        return "user", "it ended the dialogue as out of its scope"
    if missing:
        return _missing_call(task, messages, missing[0], made)
    said = _texts(messages, "assistant").replace(",", "")
    for info in task["evaluation_criteria"].get("communicate_info") or ():
        if info.lower() not in said:
            return "agent", f"it did not say {info}"
    if more := [call for call in made if call.side == "assistant" and writes(call.tool) and call not in gold]:
        return "agent", f"it did more than the task asks for: {more[0]}"
    return "agent", "the final state is wrong although all gold actions were taken"


def _missing_call(
    task: Mapping[str, Any], messages: Sequence[Message], gold: Call, made: Sequence[Call]
) -> tuple[Blame, str]:
    """Who caused the first gold call that changes something to be missing."""
    if gold.side == "user":
        return _missing_step(messages, gold)
    instructions = _instructions(task)
    user, heard = _texts(messages, "user"), _everything(messages)
    known = [value for value in _literals(gold.arguments) if _says(instructions, value)]
    others = [call for call in made if call.side == gold.side and call.tool == gold.tool]
    for call in others:
        for value, other in _different(gold.arguments, call.arguments):
            if value in known and _says(user, other) and not _says(user, value):
                return "user", f"it said {other}, its instructions say {value}"
    if unsaid := [value for value in known if not _says(heard, value)]:
        return "user", f"it never said {', '.join(unsaid)}"
    if others:
        return "agent", f"it called {others[-1]}, needed was {gold}"
    if _asked_at_the_end(messages):
        return "user", f"it left the agent's last question open, before {gold.tool}"
    return "agent", f"it never called {gold}"


def _missing_step(messages: Sequence[Message], gold: Call) -> tuple[Blame, str]:
    """Who caused the user not to take a step on its device: the agent must name it."""
    subject = [word for word in gold.tool.split("_") if word not in _COMMON]
    told = _texts(messages, "assistant").replace("-", "")
    if subject and all(word in told for word in subject):
        return "user", f"it did not take the step {gold}, which the agent spoke of"
    return "agent", f"it never told the user to take the step {gold}"


def _loop(messages: Sequence[Message], missing: Sequence[Call], stop_reason: str) -> tuple[Blame, str]:
    """Who caused a dialogue to reach a limit: who repeated itself, or the user if all was done, else the agent."""
    for side in ("user", "assistant"):
        own = [json.dumps([m.get("content"), m.get("tool_calls")]) for m in messages if m["role"] == side]
        if len(own) >= _REPEATED and len(set(own[-_REPEATED:])) == 1:
            return ("user" if side == "user" else "agent"), f"it repeated itself until the limit ({stop_reason})"
    if not missing and stop_reason != "too_many_errors":
        return "user", f"it did not end the dialogue when all was done ({stop_reason})"
    return "agent", f"it did not finish within the limit ({stop_reason})"


def _asked_at_the_end(messages: Sequence[Message]) -> bool:
    """Whether the agent's last message is a question, which the user's last one left open by ending the dialogue."""
    last = next((message for message in reversed(messages) if message["role"] == "assistant"), None)
    return bool(last) and "?" in str((last or {}).get("content") or "")


def _gold_calls(task: Mapping[str, Any]) -> list[Call]:
    actions = task["evaluation_criteria"].get("actions") or ()
    return [Call(action.get("requestor") or "assistant", action["name"], action["arguments"]) for action in actions]


def _calls(messages: Sequence[Message]) -> Iterator[Call]:
    """All readable calls of both sides."""
    for message in messages:
        for call in message.get("tool_calls") or ():
            try:
                arguments = json.loads(call["function"]["arguments"])
            except ValueError:
                continue
            yield Call(message["role"], call["function"]["name"], arguments)


def _instructions(task: Mapping[str, Any]) -> str:
    """What the user simulator was told, for comparison."""
    instructions = task["user_scenario"]["instructions"]
    parts = instructions.values() if isinstance(instructions, dict) else [instructions]
    return fold(" ".join(str(part) for part in parts if part)).casefold()


def _texts(messages: Sequence[Message], role: str) -> str:
    return fold("\n".join(str(m.get("content") or "") for m in messages if m["role"] == role)).casefold()


def _everything(messages: Sequence[Message]) -> str:
    """All that the agent could know: what the user said, all results, and the arguments with which it called."""
    called = "\n".join(str(call) for call in _calls(messages))
    texts = "\n".join(_texts(messages, role) for role in ("user", "tool"))
    return f"{texts}\n{fold(called).casefold()}"


def _literals(value: Any) -> Iterator[str]:
    """The strings and numbers in a call's arguments, as text."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            yield from _literals(part)
    elif isinstance(value, str) or (isinstance(value, int | float) and not isinstance(value, bool)):
        yield str(value)


def _different(gold: Mapping[str, Any], made: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(gold value, other value) of the arguments in which two calls differ, where both are single values."""
    for name, value in gold.items():
        ours, theirs = [*_literals(value)], [*_literals(made.get(name))]
        if len(ours) == len(theirs):
            yield from ((one, other) for one, other in zip(ours, theirs, strict=True) if one != other)


def _says(text: str, value: str) -> bool:
    """Whether a folded text has a value literally, as complete words."""
    plain = re.escape(fold(value).casefold())
    return bool(value.strip()) and re.search(rf"(?<!\w){plain}(?!\w)", text) is not None
