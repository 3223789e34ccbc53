"""Who caused a held-out dialogue to fail, by the rules that decide it for generated dialogues."""

from __future__ import annotations

from collections.abc import Sequence, Set

from core.dialogue import Blame, Check, Dialogue
from generation.validation.blame import blame, changed_more, kept_back, left_early, refused, ungrounded


def find_blame(dialogue: Dialogue, results: Sequence[Check], changes: Set[tuple[int, str]]) -> tuple[Blame, str] | None:
    """The role that caused the failure, and the reason in words; None if no rule tells. `results` and `changes` are
    those of generation.validation.outcome."""
    who = blame(dialogue, results, {}, changes)
    failed = [check for check in results if not check.passed]
    if who is None or not failed:
        return None
    of_tasks = [check for check in failed if check.task is not None]
    decisive = min(of_tasks, key=lambda check: check.task or 0) if of_tasks else failed[0]
    if who == "agent" and decisive.task is not None and (call := changed_more(dialogue, decisive.task, changes)):
        return who, f"it made a change that was not asked for: {call}"
    failure = decisive.detail if decisive.name == "finished" else f"{decisive.name}: {decisive.detail}"
    return who, _reason(dialogue, who, decisive.task, failure)


def _reason(dialogue: Dialogue, who: Blame, number: int | None, failure: str) -> str:
    """Why `who` is to blame for `failure`, the decisive check, of task `number` if it is about one."""
    if number is None:
        return failure
    if who == "user" and (unsaid := kept_back(dialogue, number)):
        return f"it never said {', '.join(unsaid)}"
    if who == "user" and left_early(dialogue, number):
        return "it left the agent's last question open"
    if who == "tool":
        return "it refused a right call" if refused(dialogue, number) else "it withheld a value that the task needs"
    if who == "task":
        return f"it needs {', '.join(ungrounded(dialogue, number))}, which neither side can know"
    return failure
