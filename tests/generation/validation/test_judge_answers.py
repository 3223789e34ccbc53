"""Reading judgments: styles of several model families, bullets, blame."""

from __future__ import annotations

import json
from typing import Any

import pytest

from core.dialogue import Bullet, Judgment, Rubric
from generation.llm.base import RejectedAnswerError
from generation.validation.judge import read_judgment

RUBRIC = Rubric(criteria=("told: price",), checkpoints=("search first",))
EMPTY = Rubric(criteria=())
FULL = json.dumps(
    {
        "bullets": [
            {"index": 1, "rubric_class": "Critical", "passed": True},
            {"index": 2, "rubric_class": "Structural", "passed": False},
        ],
        "reasoning": "Fine.",
        "judgment": "valid",
        "blame": "none",
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
        FULL.replace("}\n ],", "},\n ],").replace('"none"', '"none",'),
        str(json.loads(FULL)),
        FULL[:-1],
        FULL.replace('"Fine.",', '"Fine."'),
        FULL.replace('"judgment"', '// in all\n "judgment"'),
        FULL.replace('"rubric_class"', '"class"').replace('"Critical"', '"critical"').replace('"valid"', '"Valid"'),
        FULL.replace("true", '"Passed"').replace("false", '"no"').replace('"Structural"', '"STRUCTURAL "'),
        FULL.replace('"blame": "none"', '"blame": "agent", "confidence": 0.9'),
        FULL.replace('"blame": "none"', '"blame": null'),
        FULL.replace(',\n "blame": "none"', ""),
        FULL.replace('"index": 1', '"index": "1."').replace('"index": 2', '"bullet": "search first", "index": "2"'),
        FULL.replace('"index": 1', '"index": 2, "rubric_class": "Structural", "passed": false}, {"index": 1'),
    ],
)
def test_the_same_answer_in_the_styles_of_several_model_families(text: str) -> None:
    assert read_judgment(text, RUBRIC) == Judgment(judgment="valid", reasoning="Fine.", bullets=READ)


def test_without_a_rubric_the_papers_form_is_enough() -> None:
    text = '{"judgment": "invalid", "reasoning": ""}'
    assert read_judgment(text, EMPTY) == Judgment(judgment="invalid", reasoning="")
    assert read_judgment(FULL, EMPTY) == Judgment(judgment="valid", reasoning="Fine.")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "expected a JSON object"),
        ("valid", "expected a JSON object"),
        ('["valid"]', "expected a JSON object"),
        ('{"judgment": "valid"}', "reasoning: Field required"),
        ('{"reasoning": "Fine."}', "judgment: Field required"),
        ('{"judgment": "maybe", "reasoning": "Fine."}', "judgment: Input should be 'valid' or 'invalid'"),
        (FULL[: FULL.index('"reasoning"')], "judgment: Field required"),
        (FULL[: FULL.index('"judgment"')], "judgment: Field required"),
        ('{"judgment": true, "reasoning": "Fine."}', "judgment: Input should be 'valid' or 'invalid'"),
        ('{"judgment": "valid", "reasoning": null}', "reasoning: Input should be a valid string"),
        ('{"judgment": "not valid", "reasoning": "Fine."}', "judgment: Input should be"),
    ],
)
def test_unreadable_answers_give_the_reason(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        read_judgment(text, EMPTY)


FIRST = {"index": 1, "rubric_class": "Critical", "passed": True}
SECOND = {"index": 2, "rubric_class": "Structural", "passed": False}


def about(*bullets: Any) -> str:
    return json.dumps({"bullets": list(bullets), "reasoning": "", "judgment": "valid", "blame": "none"})


@pytest.mark.parametrize(
    ("second", "read_as", "passed"),
    [
        ({"index": 2, "rubric_class": "Non-Critical", "passed": True}, "NonCritical", True),
        ({"index": 2, "class": "invalid rubric", "passed": 0}, "InvalidRubric", False),
    ],
)
def test_the_spelling_of_a_bullet_does_not_matter(second: Any, read_as: str, passed: bool) -> None:
    bullet = read_judgment(about(FIRST, second), RUBRIC).bullets[1]
    assert (bullet.bullet, bullet.rubric_class, bullet.passed) == ("search first", read_as, passed)


@pytest.mark.parametrize(
    ("second", "why"),
    [
        (SECOND | {"rubric_class": "Important"}, 'bullet 2: rubric_class "Important" is not one of Critical, Struct'),
        (SECOND | {"rubric_class": None}, "bullet 2: rubric_class null is not one of"),
        ({"index": 2, "rubric_class": "Critical"}, "bullet 2: passed null is not true or false"),
        (SECOND | {"passed": "n/a"}, 'bullet 2: passed "n/a" is not true or false'),
        ("Critical", "bullets.1: "),
    ],
)
def test_an_unreadable_bullet_gives_the_reason(second: Any, why: str) -> None:
    with pytest.raises(ValueError, match=why) as caught:
        read_judgment(about(FIRST, second), RUBRIC)
    assert not isinstance(caught.value, RejectedAnswerError)


@pytest.mark.parametrize(
    ("bullets", "why"),
    [
        ((), "the bullets lack 1, 2 of the rubric's 2"),
        ((FIRST,), "the bullets lack 2 of the rubric's 2"),
        ((FIRST, SECOND, SECOND | {"passed": True}), "bullet 2 is given twice, with different results"),
        ((FIRST, SECOND, FIRST | {"index": 3}), "index 3 of a bullet is not in the rubric, which has 1 to 2"),
        ((FIRST, SECOND | {"index": 0}), "index 0 of a bullet is not in the rubric"),
        ((FIRST, SECOND | {"index": "second"}), 'index "second" of a bullet is not in the rubric'),
    ],
)
def test_the_bullets_are_those_of_the_rubric_each_once(bullets: Any, why: str) -> None:
    with pytest.raises(RejectedAnswerError, match=why):
        read_judgment(about(*bullets), RUBRIC)


def test_instructions_that_a_real_model_lists_as_bullets_are_not_the_rubric() -> None:
    """Recorded: Qwen2.5-Coder-0.5B-Instruct listed sentences of the prompt, and blamed the user for a valid task."""
    recorded = {
        "bullets": [
            {"bullet": "The assistant gets this done: change the years experience of the doctor Dr. James Reed to 21."},
            {"bullet": "The assistant only claims to have done not done."},
            {"bullet": "The assistant states what no tool returned and the user did not say."},
        ],
        "judgment": "valid",
        "reasoning": "The assistant successfully changed the years experience.",
        "blame": "user",
    }
    with pytest.raises(RejectedAnswerError, match="index null of a bullet is not in the rubric"):
        read_judgment(json.dumps(recorded), RUBRIC)
    judgment = read_judgment(json.dumps(recorded | {"bullets": [FIRST, SECOND]}), RUBRIC)
    assert (judgment.judgment, judgment.blame) == ("valid", None)


@pytest.mark.parametrize(
    ("answer", "who"),
    [
        ("user", "user"),
        ("Agent", "agent"),
        ("assistant", "agent"),
        ("tools", "tool"),
        ("judge", None),
        ("none", None),
        ("", None),
        (None, None),
        (["user"], None),
    ],
)
def test_the_role_it_blames(answer: Any, who: str | None) -> None:
    text = json.dumps({"judgment": "invalid", "reasoning": "", "blame": answer})
    assert read_judgment(text, EMPTY).blame == who
    assert read_judgment(text.replace("invalid", "valid"), EMPTY).blame is None, "a valid one blames no one"


@pytest.mark.parametrize("judgment", ["valid", "invalid"])
@pytest.mark.parametrize("rubric_class", ["Critical", "Structural", "NonCritical", "InvalidRubric"])
@pytest.mark.parametrize("passed", [True, False])
def test_only_a_failed_critical_bullet_overrules_the_judge(judgment: str, rubric_class: str, passed: bool) -> None:
    bullet = {"index": 1, "rubric_class": rubric_class, "passed": passed}
    text = json.dumps({"bullets": [bullet], "reasoning": "So it is.", "judgment": judgment})
    read = read_judgment(text, Rubric(criteria=("the city is Paris",)))
    overruled = rubric_class == "Critical" and not passed and judgment == "valid"
    assert read.judgment == ("invalid" if overruled else judgment)
    note = " (Invalid, since a Critical bullet failed: the city is Paris)" if overruled else ""
    assert read.reasoning == f"So it is.{note}"
    assert len(read.bullets) == 1
