"""The judge: its requests, the count of its votes, and the parsing of its answers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import ValidationError, validate

from core.dialogue import Bullet, Judgment, Rubric
from core.messages import AssistantMessage, UserMessage
from generation.llm.base import Completion, LLMError, Request
from generation.llm.contexts import JudgeContext
from generation.llm.meter import Meter
from generation.prompts import render
from generation.validation.judge import UNREADABLE, JudgeAnswer, judge_task, majority, read_judgment
from tests.generation.helpers.judgments import TASK, transcript
from tests.generation.helpers.pipeline_runs import ListedAnswers

VALID = '{"judgment": "valid", "reasoning": "All is done."}'
INVALID = '{"judgment": "invalid", "reasoning": "The city is wrong.", "blame": "agent"}'


# Requests.


async def ask(*texts: str, votes: int = 1, attempts: int = 1) -> tuple[Judgment, ListedAnswers, Meter]:
    sayer = ListedAnswers(list(texts))
    meter = Meter(sayer)
    return await judge_task(TASK, transcript(), "d", meter, votes, attempts), sayer, meter


async def test_each_request_names_its_vote_and_attempt_and_requires_every_field() -> None:
    _, sayer, _ = await ask(VALID, "", VALID, INVALID, votes=3, attempts=2)
    assert [r.key for r in sayer.requests] == [f"d/t0/judge/{vote}/{i}" for vote, i in ((0, 0), (1, 0), (1, 1), (2, 0))]
    for request in sayer.requests:
        assert (request.role, request.affinity, request.tools) == ("judge", "d", ())
        assert request.context == JudgeContext(TASK, transcript())
        assert request.json_schema
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
    schema = JudgeAnswer.model_json_schema()
    bullet = {"bullet": "b", "rubric_class": "Critical", "passed": True}
    full = {"bullets": [bullet], "judgment": "valid", "reasoning": "r", "blame": None}
    validate(full, schema)
    for key in full:
        with pytest.raises(ValidationError, match="required property"):
            validate({k: v for k, v in full.items() if k != key}, schema)
    with pytest.raises(ValidationError, match="is not one of"):
        validate(full | {"bullets": [bullet | {"rubric_class": "Vital"}]}, schema)


def test_the_rules_come_first_and_are_the_same_for_every_task() -> None:
    other = TASK.model_copy(update={"goal": "Something else.", "rubric": Rubric(criteria=())})
    first = render("judge", task=TASK, transcript=transcript(), complaint="")
    second = render("judge", task=other, transcript=(), complaint="it was empty")
    shared = common_prefix(first, second)
    assert shared.endswith("\nTask: ")
    for name in ("Critical", "Structural", "NonCritical", "InvalidRubric", '"bullets"', '"judgment"', '"blame"'):
        assert name in shared
    assert second.endswith("Your last answer could not be read: it was empty\nNow answer with the JSON object.")


def test_the_prompt_after_the_rules() -> None:
    text = render("judge", task=TASK, transcript=transcript()[:4])
    assert text[text.index("\nTask: ") + 1 :] == (
        f"Task: {TASK.goal}\n"
        "Rubric:\n"
        "- criterion: The assistant gets this done: change the city of the customer Ada Moreno to Paris.\n"
        "- criterion: The assistant gets this done: know the price of the pen.\n"
        "- criterion: The user is told: price.\n"
        "- criterion: The assistant stays polite.\n"
        "- criterion: The moon is full.\n"
        "- expected call: search_customers(name=Ada Moreno)\n"
        "- expected call: update_city(customer_id=${0.customer_id}, city=Paris)\n"
        "- expected call: get_product(sku=pen)\n"
        "- checkpoint: search_customers has succeeded\n"
        "- checkpoint: The assistant thinks first\n"
        "\n"
        "Conversation:\n"
        "[user] Hi, please change the city of the customer Ada Moreno to Paris.\n"
        '[call] search_customers({"name": "Ada Moreno"})\n'
        '[tool] [{"customer_id": 17, "name": "Ada Moreno"}]\n'
        '[call] update_city({"customer_id": 17, "city": "Paris"})\n'
        "(End of the conversation.)\n"
        "Now answer with the JSON object."
    )


def test_reasoning_is_not_shown_to_the_judge() -> None:
    thought = AssistantMessage(content="Hello", reasoning_content="a secret plan")
    assert "secret" not in render("judge", task=TASK, transcript=(UserMessage(content="Hi"), thought))


# Votes and unreadable answers.


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
    assert chosen.model_copy(update={"votes": ()}) in agreeing
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
    first, second = (request.messages[0].content for request in sayer.requests)
    assert "could not be read: judgment: " in second
    shared = common_prefix(first, second)
    assert shared.endswith("(End of the conversation.)\n"), "nothing before the end of the prompt changes"


async def test_a_readable_invalid_vote_represents_the_majority() -> None:
    judgment, _, _ = await ask("?", INVALID, VALID, votes=3)
    assert (judgment.judgment, judgment.reasoning, judgment.blame) == ("invalid", "The city is wrong.", "agent")


async def test_an_unreachable_model_gives_no_judgment() -> None:
    class Gone(ListedAnswers):
        async def complete(self, request: Request) -> Completion:
            raise LLMError("connection refused")

    with pytest.raises(LLMError, match="refused"):
        await judge_task(TASK, transcript(), "d", Meter(Gone([])), 3, 2)


# Parsing.

FULL = json.dumps(
    {
        "bullets": [
            {"bullet": "told: price", "rubric_class": "Critical", "passed": True},
            {"bullet": "search first", "rubric_class": "Structural", "passed": False},
        ],
        "judgment": "valid",
        "reasoning": "Fine.",
        "blame": None,
    },
    indent=1,
)
READ = (
    Bullet(bullet="told: price", rubric_class="Critical", passed=True),
    Bullet(bullet="search first", rubric_class="Structural", passed=False),
)


@pytest.mark.parametrize(
    "text",
    [
        FULL,
        f"```json\n{FULL}\n```",
        f"Let me go through the rubric, bullet by bullet [Critical first].\n\n{FULL}\n\nLet me know if you need more.",
        f"<|channel|>analysis<|message|>We judge the rubric.<|end|><|start|>assistant<|channel|>final<|message|>{FULL}<|return|>",
        f"**Verdict**\n```\n{FULL}\n```\nThe assistant {{did}} well.",
        f'Call 0 returned {{"price": 3}}, so the claim holds. My answer: {FULL}',
        f'First thought: {{"judgment": "invalid", "reasoning": "No."}}. On reflection:\n{FULL}',
        FULL.replace("}\n ],", "},\n ],").replace("null", "null,"),
        str(json.loads(FULL)),
        FULL[:-1],
        FULL.replace('"Fine.",', '"Fine."'),
        FULL.replace('"judgment"', '// in all\n "judgment"'),
        FULL.replace('"rubric_class"', '"class"').replace('"Critical"', '"critical"').replace('"valid"', '"Valid"'),
        FULL.replace("true", '"Passed"').replace("false", '"no"').replace('"Structural"', '"STRUCTURAL "'),
        FULL.replace('"blame": null', '"blame": "agent", "confidence": 0.9'),
    ],
)
def test_the_same_answer_in_the_styles_of_several_model_families(text: str) -> None:
    assert read_judgment(text) == Judgment(judgment="valid", reasoning="Fine.", bullets=READ)


def test_the_papers_form_is_enough() -> None:
    assert read_judgment(VALID) == Judgment(judgment="valid", reasoning="All is done.")
    assert read_judgment('{"judgment": "invalid", "reasoning": ""}') == Judgment(judgment="invalid", reasoning="")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "expected a JSON object"),
        ("valid", "expected a JSON object"),
        ('["valid"]', "expected a JSON object"),
        ('{"judgment": "valid"}', "reasoning: Field required"),
        ('{"reasoning": "Fine."}', "judgment: Field required"),
        ('{"judgment": "maybe", "reasoning": "Fine."}', "judgment: Input should be 'valid' or 'invalid'"),
        (FULL[: FULL.index('"reasoning"')], "reasoning: Field required"),
        (FULL[: FULL.index("search")], "judgment: Field required"),
        ('{"judgment": true, "reasoning": "Fine."}', "judgment: Input should be 'valid' or 'invalid'"),
        ('{"judgment": "valid", "reasoning": null}', "reasoning: Input should be a valid string"),
        ('{"judgment": "not valid", "reasoning": "Fine."}', "judgment: Input should be"),
    ],
)
def test_unreadable_answers_give_the_reason(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        read_judgment(text)


@pytest.mark.parametrize(
    ("bullet", "kept"),
    [
        ({"bullet": "b", "rubric_class": "Non-Critical", "passed": True}, "NonCritical"),
        ({"bullet": "b", "class": "invalid rubric", "passed": 0}, "InvalidRubric"),
        ({"bullet": "b", "rubric_class": "Important", "passed": True}, None),
        ({"bullet": "b", "rubric_class": None, "passed": True}, None),
        ({"bullet": "b", "rubric_class": "Critical"}, None),
        ({"bullet": "b", "rubric_class": "Critical", "passed": "n/a"}, None),
        ({"bullet": 3, "rubric_class": "Critical", "passed": True}, None),
        ({"rubric_class": "Critical", "passed": True}, None),
        ("Critical", None),
    ],
)
def test_an_unreadable_bullet_is_left_out(bullet: Any, kept: str | None) -> None:
    good = {"bullet": "good", "rubric_class": "Critical", "passed": True}
    read = read_judgment(json.dumps({"bullets": [bullet, good], "judgment": "valid", "reasoning": ""})).bullets
    assert [b.rubric_class for b in read] == ([kept] if kept else []) + ["Critical"]
    assert read_judgment(json.dumps({"bullets": bullet, "judgment": "valid", "reasoning": ""})).bullets == ()


@pytest.mark.parametrize(
    ("answer", "who"),
    [
        ("user", "user"),
        ("Agent", "agent"),
        ("assistant", "agent"),
        ("tools", "tool"),
        ("judge", None),
        ("", None),
        (None, None),
        (["user"], None),
    ],
)
def test_the_role_it_blames(answer: Any, who: str | None) -> None:
    text = json.dumps({"judgment": "invalid", "reasoning": "", "blame": answer})
    assert read_judgment(text).blame == who
    assert read_judgment(text.replace("invalid", "valid")).blame is None, "a valid one blames no one"


@pytest.mark.parametrize("judgment", ["valid", "invalid"])
@pytest.mark.parametrize("rubric_class", ["Critical", "Structural", "NonCritical", "InvalidRubric"])
@pytest.mark.parametrize("passed", [True, False])
def test_only_a_failed_critical_bullet_overrules_the_judge(judgment: str, rubric_class: str, passed: bool) -> None:
    bullet = {"bullet": "the city is Paris", "rubric_class": rubric_class, "passed": passed}
    read = read_judgment(json.dumps({"bullets": [bullet], "judgment": judgment, "reasoning": "So it is."}))
    overruled = rubric_class == "Critical" and not passed and judgment == "valid"
    assert read.judgment == ("invalid" if overruled else judgment)
    note = " (Invalid, since a Critical bullet failed: the city is Paris)" if overruled else ""
    assert read.reasoning == f"So it is.{note}"
    assert len(read.bullets) == 1
