"""The client against servers that fail: retries, timeouts, refusals, mistakes of the user."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any, cast

import pytest
from aiohttp import web

from core.messages import UserMessage
from core.servers import free_ports
from core.settings import UserError
from generation.llm.base import LLMError
from generation.llm.openai import OpenAILLM
from tests.generation.helpers.misbehaving_servers import REQUEST, Answer, client, reply, serving, status
from tests.helpers.refusals import OF_CONTEXT, body


async def test_retries_are_bounded_and_the_error_quotes_the_last_failure() -> None:
    async with serving(status(503, "engine is dead")) as mock, client(mock.url) as llm:
        with pytest.raises(LLMError, match=r"d1/agent/0: .*HTTP 503: engine is dead \(tried 4 times\)"):
            await llm.complete(REQUEST)
    assert len(mock.seen) == 4


async def test_waits_grow_exponentially_with_jitter(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []

    async def record(seconds: float) -> None:
        if seconds:  # the mock server yields with 0
            waits.append(seconds)

    monkeypatch.setattr("generation.llm.transport.asyncio.sleep", record)
    async with (
        serving(*[status(500)] * 9, lambda _: reply()) as mock,
        client(mock.url, backoff_s=1.0, retries=9) as llm,
    ):
        await llm.complete(REQUEST)
    steps = [min(2.0**i, 60) for i in range(9)]
    assert all(step / 2 <= wait <= step for wait, step in zip(waits, steps, strict=True))
    assert len({round(wait / step, 6) for wait, step in zip(waits[:6], steps, strict=False)}) > 1


@pytest.mark.parametrize(
    "malformed",
    [
        lambda _: web.Response(text="<html>"),
        lambda _: web.json_response([]),
        lambda _: web.json_response({"choices": []}),
        lambda _: web.json_response({"choices": [{"message": {"tool_calls": [{"id": "x"}]}}]}),
        lambda _: web.json_response(None),
    ],
)
async def test_a_malformed_reply_is_retried(malformed: Answer) -> None:
    async with serving(malformed, lambda _: reply()) as mock, client(mock.url) as llm:
        assert (await llm.complete(REQUEST)).message.content == "hello"
        mock.script = [malformed]
        with pytest.raises(LLMError, match="malformed reply"):
            await llm.complete(REQUEST)


async def test_a_server_that_hangs_times_out() -> None:
    async def hang(_: dict[str, Any]) -> web.Response:
        await asyncio.sleep(60)
        return reply()

    async with serving(hang, lambda _: reply(), hang) as mock, client(mock.url, timeout_s=0.2, retries=1) as llm:
        assert (await llm.complete(REQUEST)).message.content == "hello"
        with pytest.raises(LLMError, match=r"TimeoutError|timeout"):
            await llm.complete(REQUEST)
    assert len(mock.seen) == 4


@pytest.mark.parametrize("wrapped", [False, True], ids=["plain", "wrapped"])
@pytest.mark.parametrize("server", OF_CONTEXT)
async def test_a_prompt_that_exceeds_the_context_fails_the_dialogue_not_the_server(server: str, wrapped: bool) -> None:
    code, refusal = OF_CONTEXT[server]
    async with serving(status(200 if wrapped else code, body(refusal))) as mock, client(mock.url) as llm:
        completion = await llm.complete(REQUEST)
    assert (completion.finish_reason, completion.message.content, len(mock.seen)) == ("length", "", 1)


@pytest.mark.parametrize("code", [400, 422, 501])
async def test_a_request_that_can_never_succeed_is_not_retried(code: int) -> None:
    async with serving(status(code, "unsupported schema")) as mock, client(mock.url) as llm:
        with pytest.raises(LLMError, match="unsupported schema"):
            await llm.complete(REQUEST)
    assert len(mock.seen) == 1


@pytest.mark.parametrize("text", ["naïve 漢字 😀 \u2028", "half a pair \ud83d", 'quotes " \\ and \0'])
async def test_any_text_arrives_unchanged(text: str) -> None:
    async with serving() as mock, client(mock.url) as llm:
        await llm.complete(replace(REQUEST, messages=(UserMessage(content=text),)))
    assert mock.dialogues == [text]


async def test_mistakes_of_the_user_are_user_errors() -> None:
    port = free_ports(1)[0]
    async with client(f"http://127.0.0.1:{port}/v1", retries=1) as llm:
        with pytest.raises(UserError, match=f"no OpenAI-compatible server answers at http://127.0.0.1:{port}/v1"):
            await llm.complete(REQUEST)
    async with serving(status(401)) as mock, client(mock.url) as llm:
        with pytest.raises(UserError, match="refuses the key in the variable OPENAI_API_KEY"):
            await llm.complete(REQUEST)
    async with serving() as mock, client(mock.url, model="tinny") as llm:
        with pytest.raises(UserError, match="does not offer the model 'tinny'; did you mean 'tiny'"):
            await llm.complete(REQUEST)
    async with serving(models=("a", "b")) as mock, client(mock.url) as llm:
        with pytest.raises(UserError, match="name one of them"):
            await llm.complete(REQUEST)
    async with serving() as mock, client(mock.url.removesuffix("/v1")) as llm:
        with pytest.raises(UserError, match="does the base URL end in /v1"):
            await llm.complete(REQUEST)
    with pytest.raises(UserError, match="expected a list"):
        OpenAILLM("http://127.0.0.1:8000/v1")
    with pytest.raises(UserError, match=r"unknown config key 'max_in_fligth'; did you mean 'max_in_flight'"):
        OpenAILLM(["http://127.0.0.1:8000/v1"], max_in_fligth=2)
    with pytest.raises(UserError, match=r"unknown config key 'sampling\.temprature'; did you mean 'temperature'"):
        OpenAILLM(["http://127.0.0.1:8000/v1"], sampling={"temprature": 1})
    for setting, roles in {
        "role_sampling": {"juge": {}},
        "role_extra_body": {"juge": {}},
        "structured": ["juge"],
    }.items():
        with pytest.raises(UserError, match=rf"'{setting}\.\S+: Input should be 'tool_maker', .*\(given: 'juge'\)"):
            OpenAILLM(["http://127.0.0.1:8000/v1"], **cast(Any, {setting: roles}))


@pytest.mark.parametrize(
    ("message", "content", "reasoning"),
    [
        ({"content": "hi", "reasoning": "hm"}, "hi", "hm"),
        ({"content": "hi", "reasoning_content": "hm"}, "hi", "hm"),
        ({"content": "<think>\nhm\n</think>\n\nhi"}, "hi", "hm"),
        ({"content": "hm\n</think>\n\nhi"}, "hi", "hm"),
        ({"content": "<think>cut off"}, "", "cut off"),
        ({"content": "<think>\n\n</think>\n\nhi"}, "hi", None),
        ({"content": "hi", "reasoning": None}, "hi", None),
        ({"content": None, "reasoning": "hm"}, "", "hm"),
        ({"content": "the tag </think> named in prose", "reasoning": "hm"}, "the tag </think> named in prose", "hm"),
    ],
)
async def test_reasoning_is_separated_from_the_answer(
    message: dict[str, Any], content: str, reasoning: str | None
) -> None:
    async with serving(lambda _: reply(message)) as mock, client(mock.url) as llm:
        answer = (await llm.complete(REQUEST)).message
    assert (answer.content, answer.reasoning_content) == (content, reasoning)
