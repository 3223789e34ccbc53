"""The rollout of one dialogue: its limits, its isolation, what each role sees, and how tasks follow each other."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from core.dialogue import Dialogue, Task, calls
from core.messages import AssistantMessage, ToolMessage, UserMessage
from generation.dialogue.rollout import Rollout
from generation.dialogue.setup import RolloutContext
from generation.environments.base import Environment
from generation.llm.contexts import AgentContext, TaskWriterContext
from generation.pipeline import DomainTools
from generation.scripted.llm import ScriptedLLM
from generation.stages import Rollouts, Tasks
from generation.tasks.execution import Premises
from generation.tasks.proof import prove_imported
from tests.generation.helpers.pipeline_runs import (
    FinishedRun,
    SpoiledRole,
    context_of,
    fixed_answer,
    pipeline_of,
    run_to_end,
    user_settings,
)

Domains = tuple[DomainTools, ...]
NEVER_DONE = fixed_answer(json.dumps({"user_message": "And another thing.", "is_task_complete": False}))
AT_ONCE = fixed_answer(json.dumps({"user_message": "Bye.", "is_task_complete": True}))


async def dialogue_of(domains: Domains, llm: Any, name: str = "user_oriented_exec", **changes: Any) -> Dialogue:
    pipeline = pipeline_of(name, domains, llm, **changes)
    draft = Dialogue(dialogue_id="d", pipeline=name, domain="x", tools=domains[0].toolset.tools)
    try:
        return await Rollout(draft, context_of(pipeline, domains[0])).run()
    finally:
        pipeline.environments.close()


@pytest.mark.parametrize("limit", [1, 3])
async def test_a_user_who_is_never_done_is_stopped_at_the_limit(domains: Domains, limit: int) -> None:
    played = await dialogue_of(domains, SpoiledRole("user", NEVER_DONE), max_user_turns=limit)
    assert played.stop == f"user: not done after {limit} messages"
    assert sum(isinstance(message, UserMessage) for message in played.messages) == limit
    assert len(played.tasks) == 1


async def test_a_user_who_leaves_before_asking_is_to_blame(domains: Domains) -> None:
    played = await dialogue_of(domains, SpoiledRole("user", AT_ONCE))
    assert played.stop == "user: declared the task complete before asking for anything"
    assert len(played.messages) == 1


@pytest.mark.parametrize("limit", [1, 4])
async def test_an_agent_that_never_answers_is_stopped_at_the_limit(domains: Domains, limit: int) -> None:
    tool = domains[0].toolset.tools[0]
    arguments = dict.fromkeys(tool.parameters["required"], "unknown")

    class Caller(ScriptedLLM):
        async def complete(self, request: Any) -> Any:
            completion = await super().complete(request)
            if not isinstance(request.context, AgentContext):
                return completion
            (call,) = (
                AssistantMessage.model_validate(
                    {"tool_calls": [{"id": "x", "function": {"name": tool.name, "arguments": json.dumps(arguments)}}]}
                ).tool_calls
                or ()
            )
            message = completion.message.model_copy(update={"tool_calls": (call,), "content": ""})
            return type(completion)(message, "tool_calls")

    played = await dialogue_of(domains, Caller(), max_steps=limit)
    assert played.stop == f"agent: no answer after {limit} rounds of tool use"
    assert sum(isinstance(message, ToolMessage) for message in played.messages) == limit
    assert isinstance(played.messages[-1], ToolMessage)


async def test_a_further_task_that_cannot_be_written_ends_the_dialogue_early(domains: Domains) -> None:
    class OneTask(ScriptedLLM):
        async def complete(self, request: Any) -> Any:
            completion = await super().complete(request)
            if isinstance(request.context, TaskWriterContext) and request.context.previous:
                return fixed_answer("no more ideas")(completion)
            return completion

    played = await dialogue_of(domains, OneTask(error_rate=0.0), count={3: 1.0})
    assert played.stop == "complete"
    assert (played.provenance.tasks_requested, len(played.tasks), len(played.task_starts)) == (3, 1, 1)
    assert isinstance(played.messages[-1], UserMessage), "the user's goodbye"


class Rewording:
    """A stage between tasks and rollout that changes every task."""

    async def dialogue(self, dialogue: Dialogue, context: RolloutContext) -> Dialogue:
        tasks = tuple(task.model_copy(update={"goal": f"{task.goal} Thank you."}) for task in dialogue.tasks)
        return dialogue.model_copy(update={"tasks": tasks})


@pytest.mark.parametrize(("between", "proofs"), [((), 0), ((Rewording(),), 3)])
def test_a_task_is_proved_again_only_if_a_stage_changed_it(
    between: tuple[Any, ...], proofs: int, domains: Domains, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proved: list[Task] = []

    async def counting(task: Task, environment: Environment, premises: Premises) -> Task:
        proved.append(task)
        return await prove_imported(task, environment, premises)

    monkeypatch.setattr("generation.dialogue.rollout.prove_imported", counting)
    run_to_end("user_oriented_exec", domains, tmp_path, n=3, stages=(Tasks(), *between, Rollouts()))
    assert len(proved) == proofs


def test_the_number_of_tasks_is_drawn_by_weight(domains: Domains, tmp_path: Path) -> None:
    for count in (1, 3):
        played = run_to_end("user_oriented", domains, tmp_path / str(count), n=6, count={count: 1.0})
        assert {len(dialogue.tasks) for dialogue in played.accepted} == {count}
        assert all(len(dialogue.task_starts) == count for dialogue in played.accepted)


def test_the_task_oriented_baseline_gives_the_agent_the_goal(simulated: dict[str, FinishedRun]) -> None:
    played = simulated["task_oriented"]
    assert not [request for request, _ in played.log if request.role == "user"]
    for dialogue in played.accepted:
        requests = [message.content for message in dialogue.messages if isinstance(message, UserMessage)]
        assert requests == [task.goal for task in dialogue.tasks]
        assert all(goal.startswith("Please ") for goal in requests)


def test_the_agents_requests_only_ever_grow(executed: FinishedRun) -> None:
    """Each request has the previous one as a prefix, so that the server's prefix cache serves it."""
    for dialogue in executed.accepted:
        requests = [r for r, _ in executed.log if r.role == "agent" and r.affinity == dialogue.dialogue_id]
        assert all(request.tools == dialogue.tools for request in requests)
        for earlier, later in itertools.pairwise(requests):
            assert len(later.messages) > len(earlier.messages)
            assert later.messages[: len(earlier.messages)] == earlier.messages
        assert dialogue.messages[: len(requests[-1].messages)] == requests[-1].messages


def test_only_the_stand_in_sees_the_plan(executed: FinishedRun) -> None:
    """The agent's prompts never contain goals or gold arguments; only the user's contain goals."""
    for request, _ in executed.log:
        text = " ".join(message.content for message in request.messages)
        if isinstance(request.context, AgentContext):
            assert request.context.task.goal not in text
            assert "${" not in text


def test_task_writers_see_a_fresh_limited_view_of_real_rows(executed: FinishedRun, domains: Domains) -> None:
    rows = {each.domain.scene("").domain: each.domain.rows for each in domains}
    views: dict[str, list[Any]] = {}
    for request, _ in executed.log:
        if isinstance(request.context, TaskWriterContext):
            assert all(len(seen) <= 4 for seen in request.context.view.values())
            for table, seen in request.context.view.items():
                assert all(row in rows[request.context.scene.domain][table] for row in seen)
            if request.key.endswith("/0"):
                views.setdefault(request.affinity, []).append(request.context.view)
    several = [seen for seen in views.values() if len(seen) > 1]
    assert several
    assert all(seen[0] != seen[1] for seen in several)


def test_follow_ups_extend_what_the_tools_returned(executed: FinishedRun) -> None:
    extended = 0
    for request, _ in executed.log:
        context = request.context
        if not isinstance(context, TaskWriterContext) or not context.want_follow_up:
            continue
        dialogue = next((d for d in executed.accepted if d.dialogue_id == request.affinity), None)
        if dialogue is None:
            continue
        start = dialogue.task_starts[len(context.previous) - 1]
        end = [*dialogue.task_starts, len(dialogue.messages)][len(context.previous)]
        returned = " ".join(m.content for m in dialogue.messages[start:end] if isinstance(m, ToolMessage))
        assert all(json.dumps(value, ensure_ascii=False) in returned for value in context.facts.values())
        extended += 1
    assert extended >= 5
    linked = [task for d in executed.accepted for task in d.tasks if task.follows_from]
    assert linked
    assert all(task.follows_from == f"{task.task_id[:-1]}{int(task.task_id[-1]) - 1}" for task in linked)


def test_state_persists_within_a_dialogue_and_is_hidden_from_others(executed: FinishedRun) -> None:
    """Two dialogues on one database may create the same key; one dialogue never creates it twice."""
    created: dict[tuple[str, str], list[tuple[str, int]]] = {}
    for dialogue in executed.accepted:
        for name, _, result in calls(dialogue.messages):
            if name.startswith("create_") and "error" not in result:
                value = json.loads(result)
                (key,) = set(value) - {"rows_affected"}
                created.setdefault((dialogue.domain, name), []).append((dialogue.dialogue_id, value[key]))
    for keys in created.values():
        assert len(set(keys)) == len(keys)
    assert any(len({key for _, key in keys}) < len(keys) for keys in created.values())


def test_personas_are_drawn_from_the_settings(domains: Domains, tmp_path: Path) -> None:
    user = user_settings(personas=["calm: speaks slowly", "terse: few words"], expertise={"novice": 1, "expert": 1})
    played = run_to_end("user_oriented", domains, tmp_path, n=24, user=user)
    assert {dialogue.provenance.persona for dialogue in played.accepted} == {
        f"{persona}; expertise: {level}" for persona in user.personas for level in ("novice", "expert")
    }
