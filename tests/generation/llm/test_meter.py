"""The meter: every answer counted, bad ones asked for again, what was wrong with them kept."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from core.messages import AssistantMessage, ToolCall, ToolSpec
from generation.llm.base import Completion, LLMError, RejectedAnswerError, Request, UnusableAnswerError
from generation.llm.contexts import JudgeContext
from generation.llm.meter import Meter
from generation.llm.parsing.json_text import first_json
from tests.generation.helpers.pipeline_runs import TASK

TOOL = ToolSpec(name="get", description="d", parameters={"type": "object", "properties": {}})
REQUEST = Request(role="judge", messages=(), key="k", affinity="d", context=JudgeContext(TASK, ()))


@dataclass
class Playing:
    """Answers with one completion after the other."""

    completions: list[Completion]
    requests: list[Request] = field(default_factory=list)
    name: str = "playing"

    async def complete(self, request: Request) -> Completion:
        self.requests.append(request)
        return self.completions[len(self.requests) - 1]

    async def close(self) -> None: ...


def said(text: str, finish_reason: str = "stop", *flaws: str) -> Completion:
    return Completion(AssistantMessage(content=text), finish_reason, 10, 3, flaws)


async def read(completion: Completion) -> int:
    value = first_json(completion.message.content, dict)
    if "n" not in value:
        raise ValueError("n is missing")
    if value["n"] > 5:
        raise RejectedAnswerError("n is too large")
    return int(value["n"])


async def ask(*completions: Completion, request: Request = REQUEST) -> tuple[int | str, dict[str, int], Playing]:
    llm = Playing(list(completions))
    meter = Meter(llm)
    try:
        answer: int | str = await meter.ask(
            lambda attempt, complaint: replace(request, key=f"k/{attempt}/{complaint}"), read, len(completions)
        )
    except UnusableAnswerError as error:
        answer = str(error)
    assert meter.usage.requests == len(llm.requests)
    assert meter.usage.prompt_tokens == 10 * len(llm.requests)
    assert meter.usage.completion_tokens == 3 * len(llm.requests)
    return answer, dict(meter.usage.flaws), llm


@pytest.mark.parametrize(
    ("first", "flaws"),
    [
        (said("no braces"), {"judge/malformed": 1}),
        (said('{"m": 1}'), {"judge/malformed": 1}),
        (said('{"m": 1,}'), {"judge/malformed": 1}),
        (said('{"n": 9}'), {}),
        (said('{"n": 9,}'), {"judge/repaired": 1}),
        (said(""), {"judge/empty": 1}),
        (said(" \n"), {"judge/empty": 1}),
        (said("", "length"), {"judge/truncated": 1}),
        (said('{"n": ', "length"), {"judge/truncated": 1}),
        (said('{"n": 3} and so on', "length"), {"judge/truncated": 1}),
        (said("", "stop", "unclosed"), {"judge/unclosed": 1, "judge/empty": 1}),
    ],
)
async def test_a_bad_answer_is_counted_by_its_kind_and_asked_for_again(
    first: Completion, flaws: dict[str, int]
) -> None:
    answer, counted, llm = await ask(first, said('{"n": 3}'))
    assert (answer, counted, len(llm.requests)) == (3, flaws, 2)


@pytest.mark.parametrize(
    ("only", "flaws"),
    [
        (said('{"n": 3}'), {}),
        (said('{"n": 3,}'), {"judge/repaired": 1}),
        (said("{'n': 3}"), {"judge/repaired": 1}),
        (said('{"n": 3,}', "stop", "repaired"), {"judge/repaired": 1}),
    ],
)
async def test_an_answer_that_can_be_read_is_taken_and_what_was_mended_counted(
    only: Completion, flaws: dict[str, int]
) -> None:
    answer, counted, llm = await ask(only)
    assert (answer, counted, len(llm.requests)) == (3, flaws, 1)


async def test_who_answers_in_words_may_write_braces() -> None:
    answer, counted, _ = await ask(said('{"n": 3,}'), request=replace(REQUEST, tools=(TOOL,)))
    assert (answer, counted) == (3, {})


async def test_a_call_without_words_is_not_empty() -> None:
    llm = Playing([Completion(AssistantMessage(tool_calls=(ToolCall.make("c", "get", {}),)))])
    meter = Meter(llm)
    await meter.complete(REQUEST)
    assert meter.usage.flaws == {}


async def test_attempts_are_bounded_and_every_complaint_is_kept_once() -> None:
    answer, counted, llm = await ask(said('{"m": 1}'), said('{"n": 9}'), said('{"m": 1}'), said("", "length"))
    assert isinstance(answer, str)
    assert answer.startswith(
        "judge: nothing usable in 4 attempts: n is missing; n is too large; the answer was cut off by the token limit"
    )
    assert counted == {"judge/malformed": 2, "judge/truncated": 1}
    keys = [request.key for request in llm.requests]
    assert keys == ["k/0/", "k/1/n is missing", "k/2/n is too large", "k/3/n is missing"], (
        "each sees the last complaint"
    )


async def test_a_model_that_cannot_be_asked_is_no_bad_answer() -> None:
    class Dead(Playing):
        async def complete(self, request: Request) -> Completion:
            raise LLMError("gone")

    meter = Meter(Dead([]))
    with pytest.raises(LLMError):
        await meter.ask(lambda attempt, complaint: REQUEST, read, 3)
    assert meter.usage.requests == 0
