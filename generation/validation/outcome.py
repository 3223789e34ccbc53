"""Decides by execution alone, without a judge, whether a dialogue with given tasks succeeded: in the held-out
benchmark and in exported tasks."""

from __future__ import annotations

from core.dialogue import Check, Dialogue
from generation.environments.base import DomainEnvironment
from generation.validation.validate import outcomes, policy_check, replay


async def outcome(
    dialogue: Dialogue, tasks: int, domain_environment: DomainEnvironment
) -> tuple[list[Check], frozenset[tuple[int, str]]]:
    """The checks of a dialogue that was to play `tasks` tasks, and the calls that changed the state, as (message, id).
    The dialogue succeeds if all checks pass. The first check that fails explains the failure."""
    if dialogue.stop != "complete":
        return [Check(name="finished", passed=False, detail=dialogue.stop)], frozenset()
    started = len(dialogue.task_starts)
    detail = f"the dialogue could not continue after {started} of {tasks} tasks"
    all_tasks = Check(name="all tasks", passed=started == tasks, detail=detail)
    replayed = await replay(dialogue, domain_environment)
    of_tasks = await outcomes(dialogue, domain_environment, replayed)
    return [all_tasks, *of_tasks, *policy_check(dialogue, replayed)], replayed.changes


def infrastructure_failure(stop: str) -> str | None:
    """Why the dialogue says nothing about the agent: the user simulator failed, the calls before the task return
    something else now, or the task does not hold any more. Else None; a user who loses patience is the agent's
    failure."""
    is_patience = stop.startswith("user: not done")
    return stop if stop.startswith(("user: ", "replay: ", "task_writer: ")) and not is_patience else None
