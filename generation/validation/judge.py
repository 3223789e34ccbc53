"""The LRM judge (Stage 3, validation): classes each bullet of a rubric and passes or fails it, in one or more votes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ValidationError

from core.dialogue import Bullet, Judgment, RubricClass, Task
from core.messages import Frozen, Message, UserMessage
from generation.llm.base import Completion, Request, UnusableAnswerError
from generation.llm.contexts import JudgeContext
from generation.llm.meter import Meter
from generation.llm.parsing.json_text import read_answer
from generation.prompts import render
from generation.prompts.scene import Scene

UNREADABLE = "the judge's answer is unreadable: "
"""Prefix of an unreadable vote's reasoning."""

AnswerBlame = Literal["user", "agent", "tool"]


class JudgeAnswer(Frozen):
    """A judge's answer. Every field is required, so that structured output gives the bullets before the judgment."""

    bullets: tuple[Bullet, ...]
    judgment: Literal["valid", "invalid"]
    reasoning: str
    blame: AnswerBlame | None


_SCHEMA = JudgeAnswer.model_json_schema()


async def judge_task(
    task: Task,
    transcript: tuple[Message, ...],
    scene: Scene,
    dialogue_id: str,
    meter: Meter,
    votes: int,
    attempts: int,
) -> Judgment:
    """The majority's judgment of one task, from `votes` >= 1 votes; "valid" needs more than half of them.

    A vote that stays unreadable after `attempts` attempts counts as "invalid", with the judge to blame. Votes are
    sequential: they share their prompt, so that all but the first find it in the server's prefix cache. Raises
    LLMError.
    """
    return majority([await _vote(task, transcript, scene, dialogue_id, meter, vote, attempts) for vote in range(votes)])


def majority(judgments: Sequence[Judgment]) -> Judgment:
    """The first vote of the majority, a readable one if any, with all votes in `votes`."""
    votes = tuple(judgment.judgment for judgment in judgments)
    winner = "valid" if 2 * votes.count("valid") > len(votes) else "invalid"
    agreeing = [judgment for judgment in judgments if judgment.judgment == winner]
    chosen = next((judgment for judgment in agreeing if judgment.blame != "judge"), agreeing[0])
    return chosen.model_copy(update={"votes": votes})


async def _vote(
    task: Task,
    transcript: tuple[Message, ...],
    scene: Scene,
    dialogue_id: str,
    meter: Meter,
    vote: int,
    attempts: int,
) -> Judgment:
    def request(attempt: int) -> Request:
        prompt = render("judge", scene=scene, task=task, transcript=transcript)
        return Request(
            role="judge",
            messages=(UserMessage(content=prompt),),
            key=f"{task.task_id}/judge/{vote}/{attempt}",
            affinity=dialogue_id,
            context=JudgeContext(task, transcript),
            json_schema=_SCHEMA,
        )

    async def read(completion: Completion) -> Judgment:
        return read_judgment(completion.message.content)

    try:
        return await meter.request(request, read, attempts)
    except UnusableAnswerError as error:
        return Judgment(judgment="invalid", reasoning=f"{UNREADABLE}{error.problem}", blame="judge")


def read_judgment(text: str) -> Judgment:
    """The last judge's answer in `text`; a draft of it or a quoted tool result may come before.

    Only the paper's judgment and reasoning are required; an unreadable bullet is left out. A failed Critical bullet
    makes any answer invalid, and the reasoning then says so. "invalid" with every Critical bullet passed stays: the
    judge may have other reasons. Raises ValueError with what cannot be read.
    """
    openings = [match.start() for match in _ANSWER.finditer(text)]
    answer = read_answer(text[openings[-1] :] if openings else text, _ReadAnswer)
    failed = [bullet.bullet for bullet in answer.bullets if bullet.rubric_class == "Critical" and not bullet.passed]
    if answer.judgment == "valid" and not failed:
        return Judgment(judgment="valid", reasoning=answer.reasoning, bullets=answer.bullets)
    note = f" (Invalid, since a Critical bullet failed: {'; '.join(failed)})" if answer.judgment == "valid" else ""
    return Judgment(
        judgment="invalid",
        reasoning=f"{answer.reasoning}{note}",
        bullets=answer.bullets,
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


def _bullets(value: Any) -> tuple[Bullet, ...]:
    bullets = (_bullet(item) for item in (value if isinstance(value, list) else ()))
    return tuple(bullet for bullet in bullets if bullet)


def _bullet(item: Any) -> Bullet | None:
    if not isinstance(item, dict):
        return None
    passed = item.get("passed")
    try:
        return Bullet(
            bullet=item["bullet"],
            rubric_class=_CLASSES[_plain(item.get("rubric_class", item.get("class")))],
            passed=_PASSED.get(_plain(passed), passed) if isinstance(passed, str) else passed,
        )
    except (LookupError, TypeError, ValidationError):
        return None


class _ReadAnswer(BaseModel):
    """An answer as models really give it: further fields are ignored."""

    judgment: Annotated[Literal["valid", "invalid"], BeforeValidator(_plain)]
    reasoning: str
    bullets: Annotated[tuple[Bullet, ...], BeforeValidator(_bullets)] = ()
    blame: Annotated[str, BeforeValidator(lambda value: _plain(value) if isinstance(value, str) else "")] = ""
