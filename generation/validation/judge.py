"""The LRM judge (Stage 3, validation): classes each bullet of a rubric and passes or fails it, in one or more votes."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ValidationError

from core.dialogue import Bullet, Judgment, Rubric, RubricClass, Task
from core.messages import Message, UserMessage
from core.policy import Policy
from generation.llm.base import Completion, RejectedAnswerError, Request, UnusableAnswerError
from generation.llm.contexts import JudgeContext
from generation.llm.meter import Meter
from generation.llm.parsing.json_text import read_answer
from generation.prompts import render
from generation.prompts.scene import Scene
from generation.specs.structured import object_schema

UNREADABLE = "the judge's answer is unreadable: "
"""Prefix of an unreadable vote's reasoning."""

AnswerBlame = Literal["user", "agent", "tool"]

Gate = Literal["off", "majority", "unanimous"]
"""Whether the judge also decides what execution accepted: never, by its majority, or by any single "invalid" vote."""


def answer_schema(bullets: int) -> dict[str, Any]:
    """The JSON Schema of an answer about a rubric with that many bullets. The bullets and the reasoning come before the
    judgment, so that structured output thinks first."""
    properties: dict[str, Any] = {
        "reasoning": {"type": "string"},
        "judgment": {"type": "string", "enum": ["valid", "invalid"]},
        "blame": {"type": "string", "enum": ["none", *get_args(AnswerBlame)]},
    }
    if bullets:
        bullet = {
            "index": {"type": "integer", "enum": list(range(1, bullets + 1))},
            "rubric_class": {"type": "string", "enum": list(get_args(RubricClass))},
            "passed": {"type": "boolean"},
        }
        items = {"type": "array", "items": object_schema(bullet), "minItems": bullets, "maxItems": bullets}
        properties = {"bullets": items, **properties}
    return object_schema(properties)


async def judge_task(
    task: Task,
    transcript: tuple[Message, ...],
    scene: Scene,
    dialogue_id: str,
    meter: Meter,
    votes: int,
    attempts: int,
    policy: Policy | None = None,
) -> Judgment:
    """The majority's judgment of one task, from `votes` >= 1 votes; "valid" needs more than half of them.

    A vote that stays unreadable after `attempts` attempts counts as "invalid", with the judge to blame. Votes are
    sequential: they share their prompt, so that all but the first find it in the server's prefix cache. Raises
    LLMError.
    """
    judgments, models = [], []
    for vote in range(votes):
        judgments.append(await _vote(task, transcript, scene, dialogue_id, meter, vote, attempts, policy))
        models.append(meter.last_model)
    judgment = majority(judgments)
    return judgment.model_copy(update={"models": tuple(models)}) if len(set(models)) > 1 else judgment


def majority(judgments: Sequence[Judgment]) -> Judgment:
    """The first vote of the majority, a readable one if any, with all votes in `votes`. A "valid" one has the first
    vote against it as `objection`, a readable one if any."""
    votes = tuple(judgment.judgment for judgment in judgments)
    winner = "valid" if 2 * votes.count("valid") > len(votes) else "invalid"
    objection = _first_readable(judgments, "invalid") if winner == "valid" else None
    chosen = _first_readable(judgments, winner)
    assert chosen, "the winner has votes"
    return chosen.model_copy(update={"votes": votes, "objection": objection})


def _first_readable(judgments: Sequence[Judgment], judgment: str) -> Judgment | None:
    agreeing = [vote for vote in judgments if vote.judgment == judgment]
    return next((vote for vote in agreeing if vote.blame != "judge"), agreeing[0] if agreeing else None)


def rejection(judgment: Judgment, gate: Gate) -> Judgment | None:
    """The "invalid" judgment by which a gate rejects a task, if it does."""
    if gate == "off":
        return None
    if judgment.judgment == "invalid":
        return judgment
    return judgment.objection if gate == "unanimous" else None


async def _vote(
    task: Task,
    transcript: tuple[Message, ...],
    scene: Scene,
    dialogue_id: str,
    meter: Meter,
    vote: int,
    attempts: int,
    policy: Policy | None,
) -> Judgment:
    def request(attempt: int) -> Request:
        prompt = render("judge", scene=scene, task=task, transcript=transcript, policy=policy)
        return Request(
            role="judge",
            messages=(UserMessage(content=prompt),),
            key=f"{task.task_id}/judge/{vote}/{attempt}",
            affinity=dialogue_id,
            context=JudgeContext(task, transcript, policy),
            json_schema=answer_schema(len(task.rubric.bullets)),
        )

    async def read(completion: Completion) -> Judgment:
        return read_judgment(completion.message.content, task.rubric)

    try:
        return await meter.request(request, read, attempts)
    except UnusableAnswerError as error:
        return Judgment(judgment="invalid", reasoning=f"{UNREADABLE}{error.problem}", blame="judge")


def read_judgment(text: str, rubric: Rubric) -> Judgment:
    """The last judge's answer in `text`; a draft of it or a quoted tool result may come before.

    A failed Critical bullet makes any answer invalid, and the reasoning then says so. "invalid" with every Critical
    bullet passed stays: the judge may have other reasons. Raises ValueError with what cannot be read,
    RejectedAnswerError if the bullets are not the rubric's, each once.
    """
    openings = [match.start() for match in _ANSWER.finditer(text)]
    answer = read_answer(text[openings[-1] :] if openings else text, _ReadAnswer)
    bullets = _bullets(answer.bullets, rubric.bullets)
    failed = [bullet.bullet for bullet in bullets if bullet.rubric_class == "Critical" and not bullet.passed]
    if answer.judgment == "valid" and not failed:
        return Judgment(judgment="valid", reasoning=answer.reasoning, bullets=bullets)
    note = f" (Invalid, since a Critical bullet failed: {'; '.join(failed)})" if answer.judgment == "valid" else ""
    return Judgment(
        judgment="invalid",
        reasoning=f"{answer.reasoning}{note}",
        bullets=bullets,
        blame=_BLAMES.get(answer.blame),
    )


_ANSWER = re.compile(r"""\{\s*["']?(?:bullets|judgment|reasoning|blame)["']?\s*:""")
"""The opening of an answer, whichever of its fields comes first."""


def _plain(value: Any) -> Any:
    """ "Non-Critical " -> "noncritical": models vary the case and hyphenation of fixed words."""
    return "".join(filter(str.isalpha, value.casefold())) if isinstance(value, str) else value


_CLASSES = {_plain(name): name for name in get_args(RubricClass)}
_PASSED = {"pass": True, "passed": True, "fail": False, "failed": False}
_BLAMES: dict[str, AnswerBlame] = {
    "user": "user",
    "agent": "agent",
    "assistant": "agent",
    "tool": "tool",
    "tools": "tool",
}


def _bullets(items: list[dict[str, Any]], rubric: Sequence[str]) -> tuple[Bullet, ...]:
    """The bullets in the rubric's order, with its texts."""
    read: dict[int, Bullet] = {}
    for item in items if rubric else ():
        index = _index(item.get("index"))
        if not 1 <= index <= len(rubric):
            raise RejectedAnswerError(
                f"index {_shown(item.get('index'))} of a bullet is not in the rubric, which has 1 to {len(rubric)}"
            )
        bullet = _bullet(item, index, rubric[index - 1])
        if read.setdefault(index, bullet) != bullet:
            raise RejectedAnswerError(f"bullet {index} is given twice, with different results")
    if missing := [str(index) for index in range(1, len(rubric) + 1) if index not in read]:
        raise RejectedAnswerError(f"the bullets lack {', '.join(missing)} of the rubric's {len(rubric)}")
    return tuple(read[index] for index in sorted(read))


def _index(value: Any) -> int:
    """The number of a bullet, 0 if it is not one: 3, "3" or "3."."""
    text = str(value).strip(" .)[]#")
    return int(text) if text.isdecimal() and len(text) < 10 else 0


def _bullet(item: dict[str, Any], index: int, text: str) -> Bullet:
    rubric_class = item.get("rubric_class", item.get("class"))
    passed = item.get("passed")
    if (name := _CLASSES.get(str(_plain(rubric_class)))) is None:
        raise ValueError(
            f"bullet {index}: rubric_class {_shown(rubric_class)} is not one of {', '.join(get_args(RubricClass))}"
        )
    try:
        return Bullet(
            bullet=text,
            rubric_class=name,
            passed=_PASSED.get(_plain(passed), passed) if isinstance(passed, str) else passed,
        )
    except ValidationError:
        raise ValueError(f"bullet {index}: passed {_shown(passed)} is not true or false") from None


def _shown(value: Any) -> str:
    return json.dumps(value)[:80]


class _ReadAnswer(BaseModel):
    """An answer as models really give it: further fields are ignored."""

    judgment: Annotated[Literal["valid", "invalid"], BeforeValidator(_plain)]
    reasoning: str
    bullets: list[dict[str, Any]] = []
    blame: Annotated[str, BeforeValidator(lambda value: _plain(value) if isinstance(value, str) else "")] = ""
