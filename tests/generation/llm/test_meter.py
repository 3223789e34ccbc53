"""The meter counts every answer, retries unusable ones and records their flaws."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace

import pytest

from core.messages import AssistantMessage, ToolCall, ToolSpec, UserMessage
from generation.llm.base import Completion, LLMError, RejectedAnswerError, Request, UnusableAnswerError
from generation.llm.contexts import JudgeContext
from generation.llm.meter import Meter
from generation.llm.parsing.json_text import first_json
from tests.generation.helpers.pipeline_runs import TASK

TOOL = ToolSpec(name="get", description="d", parameters={"type": "object", "properties": {}})
REQUEST = Request(role="judge", messages=(), key="k", affinity="d", context=JudgeContext(TASK, ()))


@dataclass
class Replay:
    """Plays back a list of completions."""

    completions: list[Completion]
    requests: list[Request] = field(default_factory=list)
    name: str = "replay"

    async def complete(self, request: Request) -> Completion:
        self.requests.append(request)
        return self.completions[len(self.requests) - 1]

    async def close(self) -> None: ...


def completion_of(text: str, finish_reason: str = "stop", *flaws: str) -> Completion:
    return Completion(AssistantMessage(content=text), finish_reason, 10, 3, flaws)


async def read(completion: Completion) -> int:
    value = first_json(completion.message.content, dict)
    if "n" not in value:
        raise ValueError("n is missing")
    if value["n"] > 5:
        raise RejectedAnswerError("n is too large")
    return int(value["n"])


async def run_meter(*completions: Completion, request: Request = REQUEST) -> tuple[int | str, dict[str, int], Replay]:
    """(the answer or the error's text, flaws, the model with its requests)."""
    llm = Replay(list(completions))
    meter = Meter(llm)
    try:
        answer: int | str = await meter.request(
            lambda attempt: replace(request, key=f"k/{attempt}"), read, len(completions)
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
        (completion_of("no braces"), {"judge/malformed": 1}),
        (completion_of('{"m": 1}'), {"judge/malformed": 1}),
        (completion_of('{"m": 1,}'), {"judge/malformed": 1}),
        (completion_of('{"n": 9}'), {"judge/refused": 1}),
        (completion_of('{"n": 9,}'), {"judge/refused": 1, "judge/repaired": 1}),
        (completion_of(""), {"judge/empty": 1}),
        (completion_of(" \n"), {"judge/empty": 1}),
        (completion_of("", "length"), {"judge/truncated": 1}),
        (completion_of('{"n": ', "length"), {"judge/truncated": 1}),
        (completion_of('{"n": 3, "m": [1, 2', "length"), {"judge/truncated": 1}),
        (completion_of('{"n": 9} and so on', "length"), {"judge/truncated": 1, "judge/refused": 1}),
        (completion_of("", "stop", "unclosed"), {"judge/unclosed": 1, "judge/empty": 1}),
    ],
)
async def test_an_unusable_answer_is_counted_by_its_kind_and_retried(first: Completion, flaws: dict[str, int]) -> None:
    answer, counted, llm = await run_meter(first, completion_of('{"n": 3}'))
    assert (answer, counted, len(llm.requests)) == (3, flaws, 2)


@pytest.mark.parametrize(
    ("only", "flaws"),
    [
        (completion_of('{"n": 3}'), {}),
        (completion_of('{"n": 3,}'), {"judge/repaired": 1}),
        (completion_of("{'n': 3}"), {"judge/repaired": 1}),
        (completion_of('{"n": 3,}', "stop", "repaired"), {"judge/repaired": 1}),
        (completion_of('{"n": 3} and so on', "length"), {"judge/truncated": 1}),
    ],
)
async def test_a_readable_answer_is_accepted_and_its_repair_counted(only: Completion, flaws: dict[str, int]) -> None:
    answer, counted, llm = await run_meter(only)
    assert (answer, counted, len(llm.requests)) == (3, flaws, 1)


async def test_answers_in_prose_may_contain_braces() -> None:
    answer, counted, _ = await run_meter(completion_of('{"n": 3,}'), request=replace(REQUEST, tools=(TOOL,)))
    assert (answer, counted) == (3, {})


async def test_a_tool_call_without_text_is_not_empty() -> None:
    llm = Replay([Completion(AssistantMessage(tool_calls=(ToolCall.make("c", "get", {}),)))])
    meter = Meter(llm)
    await meter.complete(REQUEST)
    assert meter.usage.flaws == {}


async def test_attempts_are_bounded_and_every_complaint_is_listed_once() -> None:
    answer, counted, llm = await run_meter(
        completion_of('{"m": 1}'), completion_of('{"n": 9}'), completion_of('{"m": 2}'), completion_of("", "length")
    )
    assert isinstance(answer, str)
    assert answer.startswith(
        "judge: nothing usable in 4 attempts: n is missing; n is too large; the answer was cut off by the token limit"
    )
    assert counted == {"judge/malformed": 2, "judge/refused": 1, "judge/truncated": 1}
    assert [request.key for request in llm.requests] == ["k/0", "k/1", "k/2", "k/3"]


async def test_a_repair_continues_the_conversation_with_the_refused_answer_and_the_complaint() -> None:
    asked = replace(REQUEST, messages=(UserMessage(content="How many?"),))
    _, _, llm = await run_meter(
        completion_of('{"m": 1}'),
        completion_of(""),
        completion_of('{"n": 9}'),
        completion_of('{"n": 3}'),
        request=asked,
    )
    prompts = [request.messages for request in llm.requests]
    for earlier, later in itertools.pairwise(prompts):
        assert later[: len(earlier)] == earlier, "a server finds each prompt in its prefix cache"
    assert [len(messages) for messages in prompts] == [1, 3, 3, 5], "an empty answer has nothing to show"
    assert prompts[1][1] == AssistantMessage(content='{"m": 1}')
    assert prompts[1][2].content.startswith("This answer cannot be used: n is missing\n")
    assert prompts[3][3:] != prompts[1][1:]
    assert "n is too large" in prompts[3][4].content


async def test_without_repair_the_same_request_is_sent_again() -> None:
    llm = Replay([completion_of('{"m": 1}'), completion_of('{"m": 1}'), completion_of('{"n": 3}')])
    assert await Meter(llm).request(lambda attempt: REQUEST, read, 3, repair=False) == 3
    assert llm.requests == [REQUEST] * 3


async def test_a_model_that_repeats_its_refused_answer_is_not_asked_a_third_time() -> None:
    answer, _, llm = await run_meter(*[completion_of('{"n": 9}')] * 5)
    assert answer == "judge: nothing usable in 2 attempts: n is too large; the model repeats its answer"
    assert len(llm.requests) == 2


async def test_an_unreachable_model_is_not_a_bad_answer() -> None:
    class Dead(Replay):
        async def complete(self, request: Request) -> Completion:
            raise LLMError("gone")

    meter = Meter(Dead([]))
    with pytest.raises(LLMError):
        await meter.request(lambda attempt: REQUEST, read, 3)
    assert meter.usage.requests == 0
