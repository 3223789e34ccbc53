"""The judge: its requests, the count of its votes, and the parsing of its answers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import ValidationError, validate

from core.dialogue import Judgment, Rubric
from core.messages import AssistantMessage, UserMessage
from generation.llm.base import Completion, LLMError, Request
from generation.llm.contexts import JudgeContext
from generation.llm.meter import Meter
from generation.prompts import render
from generation.validation.judge import UNREADABLE, answer_schema, judge_task, majority
from tests.generation.helpers.judge_requests import INVALID, VALID
from tests.generation.helpers.judgments import TASK, transcript
from tests.generation.helpers.pipeline_runs import SCENE, ListedAnswers


async def ask(*texts: str, votes: int = 1, attempts: int = 1) -> tuple[Judgment, ListedAnswers, Meter]:
    sayer = ListedAnswers(list(texts))
    meter = Meter(sayer)
    return await judge_task(TASK, transcript(), SCENE, "d", meter, votes, attempts), sayer, meter


async def test_each_request_names_its_vote_and_attempt_and_requires_every_field() -> None:
    _, sayer, _ = await ask(VALID, "", VALID, INVALID, votes=3, attempts=2)
    assert [r.key for r in sayer.requests] == [f"d/t0/judge/{vote}/{i}" for vote, i in ((0, 0), (1, 0), (1, 1), (2, 0))]
    for request in sayer.requests:
        assert (request.role, request.affinity, request.tools) == ("judge", "d", ())
        assert request.context == JudgeContext(TASK, transcript())
        assert request.json_schema == answer_schema(10)
        for schema in objects(request.json_schema):
            assert schema["additionalProperties"] is False
            assert set(schema["required"]) == set(schema["properties"])


def objects(schema: Any) -> Iterator[dict[str, Any]]:
    """Every schema of an object within a schema."""
    if isinstance(schema, dict):
        if schema.get("type") == "object":
            yield schema
        for part in schema.values():
            yield from objects(part)


def common_prefix(first: str, second: str) -> str:
    pairs = enumerate(zip(first, second, strict=False))
    return first[: next((i for i, (a, b) in pairs if a != b), min(len(first), len(second)))]


def test_the_schema_takes_a_full_answer_and_refuses_a_partial_one() -> None:
    schema = answer_schema(1)
    bullet = {"index": 1, "rubric_class": "Critical", "passed": True}
    full = {"bullets": [bullet], "reasoning": "r", "judgment": "valid", "blame": "none"}
    validate(full, schema)
    assert list(schema["properties"]) == list(full), "bullets and reasoning come before the judgment"
    for key in full:
        with pytest.raises(ValidationError, match="required property"):
            validate({k: v for k, v in full.items() if k != key}, schema)
    with pytest.raises(ValidationError, match="is not one of"):
        validate(full | {"bullets": [bullet | {"rubric_class": "Vital"}]}, schema)
    for bullets in ([], [bullet, bullet], [bullet | {"index": 2}]):
        with pytest.raises(ValidationError):
            validate(full | {"bullets": bullets}, schema)
    assert "bullets" not in answer_schema(0)["properties"]


def test_the_rules_come_first_and_are_the_same_for_every_task() -> None:
    other = TASK.model_copy(update={"goal": "Something else.", "rubric": Rubric(criteria=())})
    first = render("judge", scene=SCENE, policy=None, task=TASK, transcript=transcript())
    second = render("judge", scene=SCENE, policy=None, task=other, transcript=())
    shared = common_prefix(first, second)
    assert shared.endswith(f"\nThe current time was {SCENE.now}.\nTask: ")
    for name in ("Critical", "Structural", "NonCritical", "InvalidRubric", '"bullets"', '"judgment"', '"blame"'):
        assert name in shared
    assert second.endswith("Answer with the JSON object: reasoning, judgment, blame.")


def test_the_prompt_after_the_rules() -> None:
    text = render("judge", scene=SCENE, policy=None, task=TASK, transcript=transcript()[:4])
    assert text[text.index("\nTask: ") + 1 :] == (
        f"Task: {TASK.goal}\n"
        "Rubric:\n"
        "1. The assistant gets this done: change the city of the customer Ada Moreno to Paris.\n"
        "2. The assistant gets this done: know the price of the pen.\n"
        "3. The user is told: price.\n"
        "4. The assistant stays polite.\n"
        "5. The moon is full.\n"
        "6. expected call 0: search_customers(name=Ada Moreno)\n"
        "7. expected call 1: update_city(customer_id=${0.customer_id}, city=Paris)\n"
        "8. expected call 2: get_product(sku=pen)\n"
        "9. checkpoint: search_customers has succeeded\n"
        "10. checkpoint: The assistant thinks first\n"
        "\n"
        "Conversation:\n"
        "[user] Hi, please change the city of the customer Ada Moreno to Paris.\n"
        '[call] search_customers({"name": "Ada Moreno"})\n'
        '[tool] [{"customer_id": 17, "name": "Ada Moreno"}]\n'
        '[call] update_city({"customer_id": 17, "city": "Paris"})\n'
        "(End of the conversation.)\n"
        "\n"
        "Answer with the JSON object: bullets 1 to 10, reasoning, judgment, blame."
    )


def test_reasoning_is_not_shown_to_the_judge() -> None:
    thought = AssistantMessage(content="Hello", reasoning_content="a secret plan")
    assert "secret" not in render(
        "judge", scene=SCENE, policy=None, task=TASK, transcript=(UserMessage(content="Hi"), thought)
    )


@pytest.mark.parametrize(
    ("answers", "verdict"),
    [
        ([VALID], "valid"),
        ([INVALID], "invalid"),
        ([VALID, INVALID, VALID], "valid"),
        ([INVALID, VALID, INVALID], "invalid"),
        ([VALID, INVALID], "invalid"),
        ([VALID, VALID, INVALID, INVALID], "invalid"),
        ([VALID, "?", VALID], "valid"),
        ([VALID, "?", "?"], "invalid"),
    ],
)
async def test_the_majority_decides_and_half_is_not_a_majority(answers: list[str], verdict: str) -> None:
    judgment, _, _ = await ask(*answers, votes=len(answers))
    assert judgment.judgment == verdict
    assert judgment.votes == tuple("valid" if text == VALID else "invalid" for text in answers)


VOTE = st.builds(
    Judgment,
    judgment=st.sampled_from(["valid", "invalid"]),
    reasoning=st.text(max_size=3),
    blame=st.sampled_from([None, "agent", "user", "judge"]),
).map(lambda vote: vote.model_copy(update={"blame": None}) if vote.judgment == "valid" else vote)


@given(st.lists(VOTE, min_size=1, max_size=7))
def test_the_chosen_vote_is_one_of_the_majority(votes: list[Judgment]) -> None:
    chosen = majority(votes)
    valid = sum(vote.judgment == "valid" for vote in votes)
    assert (chosen.judgment == "valid") is (valid > len(votes) - valid)
    agreeing = [vote for vote in votes if vote.judgment == chosen.judgment]
    assert chosen.model_copy(update={"votes": (), "objection": None}) in agreeing
    against = [vote for vote in votes if vote.judgment == "invalid"] if chosen.judgment == "valid" else []
    assert (chosen.objection is None) is (not against)
    assert chosen.objection in [None, *against]
    assert (chosen.blame == "judge") is all(vote.blame == "judge" for vote in agreeing), "a readable one comes first"


async def test_an_unreadable_vote_is_invalid_says_so_and_is_counted() -> None:
    judgment, sayer, meter = await ask("", "I think it went well.", attempts=2)
    assert (judgment.judgment, judgment.blame, judgment.votes) == ("invalid", "judge", ("invalid",))
    assert judgment.reasoning.startswith(UNREADABLE)
    assert "I think it went well." in judgment.reasoning
    assert meter.usage.flaws == {"judge/empty": 1, "judge/malformed": 1}
    assert meter.usage.requests == len(sayer.requests) == 2


async def test_an_unreadable_answer_is_requested_again_with_the_reason_last() -> None:
    judgment, sayer, meter = await ask('{"judgment": "perhaps", "reasoning": ""}', VALID, attempts=3)
    assert (judgment.judgment, judgment.blame) == ("valid", None)
    assert meter.usage.flaws == {"judge/malformed": 1}
    first, second = (request.messages for request in sayer.requests)
    assert second[: len(first)] == first, "nothing before the end of the prompt changes"
    assert "cannot be used: judgment: " in second[-1].content


async def test_a_readable_invalid_vote_represents_the_majority() -> None:
    judgment, _, _ = await ask("?", INVALID, VALID, votes=3)
    assert (judgment.judgment, judgment.reasoning, judgment.blame) == ("invalid", "The city is wrong.", "agent")


async def test_an_unreachable_model_gives_no_judgment() -> None:
    class Gone(ListedAnswers):
        async def complete(self, request: Request) -> Completion:
            raise LLMError("connection refused")

    with pytest.raises(LLMError, match="refused"):
        await judge_task(TASK, transcript(), SCENE, "d", Meter(Gone([])), 3, 2)
