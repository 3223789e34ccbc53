"""Guided tasks: a problem that a procedure of the policy solves, partly with tools that only the user has.

The procedure decides everything but the user's words, so these tasks are not drafted by a model: a row that has the
problem is drawn, and walking the procedure in the present state gives the plan.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from random import Random
from typing import Any

from core.dialogue import PlannedCall, Rubric, Task
from core.policy import Policy, Workflow
from generation.environments.base import Environment
from generation.policies.workflows import WorkflowError, walk
from generation.seeds.base import Rows
from generation.tasks.difficulty import difficulty, effort
from generation.tasks.execution import NO_PREMISES, Premises, ProofError, execute, refuse_broken


async def prove_guided(task: Task, environment: Environment, premises: Premises = NO_PREMISES) -> Task:
    """The task with gold calls: those that its procedure takes in the present state, its plan's if it has one. They
    must keep the policy, change the state, involve the user, and not reach the final state before their last change.
    Raises ProofError."""
    workflow = premises.policy.workflow(task.workflow_id) if premises.policy else None
    if workflow is None:
        raise ProofError(f"the policy has no procedure {task.workflow_id!r}")
    if not environment.executable:
        raise ProofError("only tools that really run show what a procedure takes")
    try:
        calls = await walk(workflow, task.subject, environment)
    except WorkflowError as error:
        raise ProofError(str(error)) from None
    if task.plan and task.plan != calls:
        raise ProofError(f"the plan is not what the procedure {workflow.workflow_id} takes here")
    trace = await execute(calls, environment, premises=premises)
    refuse_broken(trace)
    if not trace.mutates:
        raise ProofError("the procedure changes nothing: there is no problem")
    if all(call.actor == "agent" for call in calls):
        raise ProofError("the procedure needs nothing of the user")
    last_change = max(index for index, writes in enumerate(trace.writes) if writes)
    if trace.hashes[-1] in trace.hashes[: last_change + 1]:
        raise ProofError("the problem is solved before the procedure's last change")
    return task.model_copy(
        update={
            "plan": calls,
            "gold_calls": calls,
            "mutates": True,
            "difficulty": difficulty(effort(calls, trace.writes)),
            "rubric": _rubric(workflow, calls),
        }
    )


def _rubric(workflow: Workflow, calls: Sequence[PlannedCall]) -> Rubric:
    return Rubric(
        criteria=(f"The assistant follows the procedure for: {workflow.title}",),
        checkpoints=("The assistant has told the user that the problem is solved",),
    )


async def draw_guided(
    task_id: str,
    policy: Policy,
    rows: Rows,
    environment: Environment,
    premises: Premises,
    rng: Random,
    excluded: Set[str],
) -> Task:
    """A proved task about a row that has one of the policy's problems, the first in a random order whose goal is not
    `excluded`. Raises ProofError if no row has any."""
    problems = [(workflow, row) for workflow in policy.workflows for row in rows.get(workflow.table, ())]
    rng.shuffle(problems)
    for workflow, row in problems:
        goal = rng.choice(workflow.goals).format(**row)
        if goal in excluded:
            continue
        draft = Task(
            task_id=task_id,
            goal=goal,
            subgoals=(workflow.wish.format(**row),),
            difficulty="medium",
            rubric=Rubric(criteria=()),
            kind="guided",
            workflow_id=workflow.workflow_id,
            subject=_known_to_user(workflow, row),
        )
        try:
            return await prove_guided(draft, environment, premises)
        except ProofError:
            continue
    raise ProofError(f"none of {len(problems)} rows has a problem that the policy's procedures solve")


def _known_to_user(workflow: Workflow, row: dict[str, Any]) -> dict[str, Any]:
    """The fields that the procedure's goals state: all else it must look up."""
    return {name: value for name, value in row.items() if any(f"{{{name}}}" in goal for goal in workflow.goals)}
