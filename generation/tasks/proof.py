"""Proof by execution: a task counts only if its plan solves it, no shorter part of the plan does, and doing nothing
fails; or, where nothing may happen, if the plan would do it and must not (generation.tasks.kinds)."""

from __future__ import annotations

from collections.abc import Sequence

from core.dialogue import PlannedCall, Task
from core.request_kinds import NOTHING_HAPPENS
from generation.environments.base import Environment
from generation.specs.naming import changes
from generation.tasks.difficulty import difficulty, effort
from generation.tasks.execution import (
    NO_PREMISES,
    Premises,
    ProofError,
    Trace,
    evidence,
    execute,
    refuse_broken,
    sources,
)
from generation.tasks.guided import prove_guided
from generation.tasks.kinds import demand, form_problem, nothing_happens
from generation.tasks.mentions import mentions_value
from generation.tasks.plan_form import form_problems


def check_trace(trace: Trace, goal: str) -> None:
    """Accept a task only if it starts unsolved, an empty dialogue would fail it, and its last call
    solves it but no earlier one does. Raises ProofError otherwise."""
    if not trace.mutates and not trace.told_values:
        raise ProofError(
            "the plan neither changes anything nor gives anything to tell but yes and no: there is nothing to check"
        )
    if not trace.mutates and all(mentions_value(goal, value) for value in trace.told_values):
        raise ProofError("everything to be told is already in the goal: a dialogue without any call would pass")
    for done in range(len(trace.calls)):
        seen = " ".join([goal, *trace.results[:done]])
        if trace.hashes[done] == trace.hashes[-1] and all(mentions_value(seen, value) for value in trace.told_values):
            raise ProofError(f"the task is solved after {done} of its {len(trace.calls)} calls")


async def check_order(
    plan: Sequence[PlannedCall], trace: Trace, environment: Environment, premises: Premises = NO_PREMISES
) -> None:
    """Accept only values to be told that are the same before and after the changes of the other calls: agents make
    independent calls in any order, or at once. Raises ProofError otherwise."""
    for index, told in enumerate(trace.told):
        used = sources(plan, index)
        if not told or not any(trace.writes[:index]) or any(trace.writes[i] for i in used):
            continue
        try:
            early = (await execute(trace.calls, environment, premises=premises, only=used)).told[-1]
        except ProofError:
            early = ()
        if set(early) != set(told):
            raise ProofError(
                f"what call {index} ({plan[index].tool}) tells depends on whether it is made before or after the "
                "changes: tell what they do not touch"
            )


async def prove(task: Task, environment: Environment, premises: Premises = NO_PREMISES) -> Task:
    """The task with the results of executing its plan: gold calls, values that the user must learn, whether the state
    changes, evidence and measured difficulty. Without an executable environment, only the plan's form is checked.
    Raises ProofError."""
    if task.kind == "guided":
        return await prove_guided(task, environment, premises)
    if problems := list(form_problems(task.plan, {tool.name: tool for tool in environment.tools}, len(task.subgoals))):
        raise ProofError("; ".join(dict.fromkeys(problems)))
    if problem := form_problem(task):
        raise ProofError(problem)
    if not environment.executable:
        measured = difficulty(effort(task.plan, [changes(call.tool) for call in task.plan]))
        return task.model_copy(update={"difficulty": measured})
    if task.kind in NOTHING_HAPPENS:
        return await nothing_happens(task, environment, premises)
    trace = await execute(task.plan, environment, task.goal, premises)
    refuse_broken(trace)
    check_trace(trace, task.goal)
    await check_order(task.plan, trace, environment, premises)
    await demand(task, trace, environment, premises)
    told = zip(task.plan, trace.calls, strict=True)
    return task.model_copy(
        update={
            "plan": tuple(planned.model_copy(update={"tell": made.tell}) for planned, made in told),
            "gold_calls": trace.calls,
            "told_values": trace.told_values,
            "mutates": trace.mutates,
            "difficulty": difficulty(effort(task.plan, trace.writes)),
            "evidence": evidence(task.plan, trace),
        }
    )


async def prove_imported(task: Task, environment: Environment, premises: Premises = NO_PREMISES) -> Task:
    """An imported task, proved if it has a plan; else its gold calls are only executed. Raises ProofError."""
    if task.plan:
        return await prove(task, environment, premises)
    if environment.executable:
        await execute(task.gold_calls, environment)
    return task
