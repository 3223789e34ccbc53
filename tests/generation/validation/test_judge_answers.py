"""Reading judgments: styles of several model families, bullets, blame."""

from __future__ import annotations

import json
from typing import Any

import pytest

from core.dialogue import Bullet, Judgment
from generation.validation.judge import read_judgment
from tests.generation.helpers.judge_requests import VALID

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
