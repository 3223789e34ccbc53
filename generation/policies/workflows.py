"""Walks a policy's procedure in an environment: which calls it takes in the present state, and who makes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.dialogue import PlannedCall
from core.placeholders import rows_of
from core.policy import Step, Workflow
from generation.environments.base import Environment
from generation.policies.comparisons import reference, satisfied

MOST_STEPS = 30
"""A procedure that takes more goes round in circles."""


class WorkflowError(Exception):
    """The procedure cannot be followed here; the message says why."""


async def walk(workflow: Workflow, subject: Mapping[str, Any], environment: Environment) -> tuple[PlannedCall, ...]:
    """The calls of the procedure for this subject, made on a fork. Raises WorkflowError for a call that fails, finds or
    changes nothing, and for a procedure without end."""
    fork = environment.fork()
    try:
        known, calls = dict(subject), list[PlannedCall]()
        step: Step | None = workflow.steps[0]
        while step:
            if len(calls) == MOST_STEPS:
                raise WorkflowError(f"{workflow.workflow_id} does not end within {MOST_STEPS} steps")
            call = PlannedCall(tool=step.tool, arguments=_filled(step.arguments, known), actor=step.actor)
            result = await fork.call(call.tool, call.arguments)
            if result.in_vain:
                raise WorkflowError(f"step {step.step_id} ({step.tool}) gives {result.content[:200]}")
            calls.append(call)
            row = next((row for row in rows_of(result.value) if isinstance(row, dict)), {})
            known |= row
            branch = next((branch for branch in step.branches if satisfied(branch.when, row, known, "")), None)
            onwards = branch.go if branch else step.otherwise
            step = workflow.step(onwards) if onwards else None
        return tuple(calls)
    finally:
        fork.close()


def _filled(arguments: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments with the fields that they refer to. Raises WorkflowError for one that is not known."""
    filled = {}
    for name, value in arguments.items():
        field = reference(value)
        if field is not None and field not in known:
            raise WorkflowError(f"{field} is not known yet; known: {', '.join(known)}")
        filled[name] = value if field is None else known[field]
    return filled
