"""Invalid transcripts, unfinished dialogues and the judge: whose fault, and who decides."""

from __future__ import annotations

import pytest

from core.messages import ToolMessage
from generation.environments.base import DomainEnvironment
from generation.llm.meter import Meter
from generation.validation.validate import validate
from tests.generation.helpers.editable_transcripts import (
    lines_of,
)
from tests.generation.helpers.pipeline_runs import SCENE, FinishedRun, SpoiledRole, fixed_answer
from tests.generation.helpers.verdicts import verdict_on


async def test_a_task_index_that_does_not_fit_is_invalid(
    executed: FinishedRun, environments: dict[str, DomainEnvironment]
) -> None:
    dialogue = next(d for d in executed.accepted if len(d.tasks) > 1)
    broken = dialogue.model_copy(update={"task_starts": dialogue.task_starts[::-1]})
    verdict = await verdict_on(broken, environments[dialogue.domain])
    assert verdict.reasons[0].startswith("contract: task_starts")


async def test_unplayed_tasks_are_neither_accepted_nor_the_agents_fault(
    executed: FinishedRun, environments: dict[str, DomainEnvironment]
) -> None:
    dialogue = next(d for d in executed.accepted if len(d.tasks) > 1)
    count = len(dialogue.tasks)
    for played, tasks in ((1, dialogue.tasks), (0, dialogue.tasks), (0, ())):
        unplayed = dialogue.model_copy(update={"task_starts": dialogue.task_starts[:played], "tasks": tasks})
        verdict = await verdict_on(unplayed, environments[dialogue.domain])
        assert not verdict.accepted
        assert verdict.reasons == (f"finished: unplayed: {played} of its {count if tasks else 0} tasks were played",)
        assert verdict.blame is None


async def test_a_dialogue_that_stopped_early_blames_the_role_that_stopped_it(
    executed: FinishedRun, environments: dict[str, DomainEnvironment]
) -> None:
    dialogue = executed.accepted[0]
    broken = dialogue.model_copy(update={"messages": dialogue.messages[:4], "stop": "user: left"})
    verdict = await verdict_on(broken, environments[dialogue.domain])
    assert verdict.reasons == ("finished: user: left",)
    assert verdict.blame == "user"


@pytest.mark.parametrize(
    ("answer", "judgment"),
    [
        ("", "unreadable: expected a JSON object"),
        ('{"judgment": "invalid", "reasoning": "no"}', "unreadable: the bullets lack 1, 2"),
        ('{"judgment": "maybe", "reasoning": "no"}', "unreadable: judgment: "),
        ('{"judgment": "valid"}', "unreadable: reasoning: Field required"),
    ],
)
async def test_the_judge_decides_only_without_execution(
    executed: FinishedRun, environments: dict[str, DomainEnvironment], answer: str, judgment: str
) -> None:
    dialogue = executed.accepted[0]
    domain_environment = environments[dialogue.domain]
    judge = Meter(SpoiledRole("judge", fixed_answer(answer)))
    executed_verdict = (await validate(dialogue, domain_environment, judge, SCENE, True)).verdict
    judged_verdict = (await validate(dialogue, domain_environment, judge, SCENE, False)).verdict
    assert executed_verdict
    assert judged_verdict
    assert executed_verdict.accepted
    assert not judged_verdict.accepted
    assert executed_verdict.judgments == judged_verdict.judgments
    assert all(j.judgment == "invalid" and judgment in j.reasoning for j in executed_verdict.judgments)
    assert len(judged_verdict.reasons) == len(dialogue.tasks)
    assert all(reason.startswith("judge: ") for reason in judged_verdict.reasons)


async def test_the_judge_sees_only_the_messages_and_rubric_of_its_task(executed: FinishedRun) -> None:
    for dialogue in executed.accepted:
        prompts = {
            request.key: request.messages[0].content
            for request, _ in executed.log
            if request.role == "judge" and request.affinity == dialogue.dialogue_id
        }
        assert len(prompts) == len(dialogue.tasks)
        for number, task in enumerate(dialogue.tasks):
            prompt = prompts[f"{task.task_id}/judge/0/0"]
            assert task.goal in prompt
            assert all(criterion in prompt for criterion in task.rubric.criteria)
            assert all(f"expected call {n}: {call.tool}(" in prompt for n, call in enumerate(task.plan))
            results = [m.content for m, n in lines_of(dialogue) if n == number and isinstance(m, ToolMessage)]
            assert all(text in prompt for text in results)
            assert all(other.goal not in prompt for other in dialogue.tasks if other.goal not in task.goal)
