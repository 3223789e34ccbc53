"""The stand-in's judge: errors of the agent, its own error rate, agreement with execution."""

from __future__ import annotations

from random import Random

import pytest

from core.dialogue import Rubric
from core.messages import AssistantMessage, Message, ToolCall, ToolMessage, UserMessage
from generation.llm.contexts import JudgeContext
from generation.llm.meter import Meter
from generation.scripted.judge import answer
from generation.scripted.llm import ScriptedLLM
from generation.validation.judge import judge_task, read_judgment
from tests.generation.helpers.judgments import TASK, call, transcript
from tests.generation.helpers.pipeline_runs import SCENE, FinishedRun
from tests.generation.helpers.scripted_judgments import opinion


def test_a_task_without_a_plan_is_judged_by_the_conversation_alone() -> None:
    bare = TASK.model_copy(update={"plan": (), "rubric": Rubric(criteria=("It is friendly.",), tool_pattern=("x()",))})
    greeting = (UserMessage(content="Hi"), AssistantMessage(content="Hello, how can I help?"))
    assert opinion(greeting, bare).judgment == "valid"
    assert opinion((*greeting[:1], AssistantMessage(content="Your number is 9.")), bare).judgment == "invalid"
    assert {b.rubric_class for b in opinion(greeting, bare).bullets} == {"NonCritical", "InvalidRubric"}


def test_broken_calls_and_plain_text_results_are_handled() -> None:
    broken = ToolCall.make("b", "update_city", {})
    broken = broken.model_copy(update={"function": broken.function.model_copy(update={"arguments": "{city: Paris"})})
    refused: list[Message] = [
        AssistantMessage(tool_calls=(broken,)),
        ToolMessage(tool_call_id="b", content="Error: bad call"),
    ]
    assert opinion(transcript(update=refused)).judgment == "invalid"
    plain = call("b", "update_city", "Updated.", customer_id=17, city="Paris")
    assert opinion(transcript(update=plain)).judgment == "valid"
    assert opinion(()).judgment == "invalid"


@pytest.mark.parametrize("right", [True, False])
def test_it_errs_in_both_directions_at_its_rate_and_the_same_way_each_time(right: bool) -> None:
    context = JudgeContext(TASK, transcript() if right else transcript(update=[]))
    answers = [answer(context, Random(f"{i}")) for i in range(3000)]
    assert answers == [answer(context, Random(f"{i}")) for i in range(3000)]
    read = [read_judgment(text, TASK.rubric) for text in answers]
    wrong = sum(judgment.judgment != ("valid" if right else "invalid") for judgment in read)
    assert 90 <= wrong <= 150, "0.04 of 3000, within three standard deviations"
    for judgment in read:
        failed = any(b.rubric_class == "Critical" and not b.passed for b in judgment.bullets)
        assert failed is (judgment.judgment == "invalid"), "its bullets match its judgment"
    always = read_judgment(answer(context, Random(1), error_rate=1.0), TASK.rubric)
    assert (always.judgment == "invalid") is right


async def test_three_votes_of_the_stand_in_err_less_than_one() -> None:
    async def errors(votes: int) -> int:
        wrong = 0
        for number in range(400):
            task = TASK.model_copy(update={"task_id": f"d{number}/t0"})
            judgment = await judge_task(task, transcript(), SCENE, "d", Meter(ScriptedLLM()), votes, 1)
            wrong += judgment.judgment == "invalid"
        return wrong

    assert 3 * await errors(3) < await errors(1)


def test_without_errors_it_agrees_with_execution(executed: FinishedRun) -> None:
    """The pipeline made the dialogues and replay accepted them: both are independent of the judge's rules."""
    judgments = [
        opinion(dialogue.part(number), task).judgment
        for dialogue in executed.accepted
        for number, task in enumerate(dialogue.tasks)
    ]
    assert len(judgments) >= 20
    assert judgments.count("valid") >= 0.95 * len(judgments)
