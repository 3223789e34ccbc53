"""The check of a server's parsers, against a server that answers as servers with the wrong parsers do."""

from __future__ import annotations

from typing import Any

import pytest

from core.server_check import check_server
from core.settings import UserError
from tests.core.helpers.chat_servers import MODEL, ChatServer, answering, called, said

WORDS = said("A library lends books.")
REFUSES_TOOLS = (400, '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set')
HERMES = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n</tool_call>'


def check(tool: Any, plain: Any, prompt: list[str] | None = None, **options: Any) -> tuple[str, ...]:
    with answering(ChatServer(tool, plain, prompt)) as server:
        return check_server(server.url, MODEL, **options)


def test_a_server_whose_parsers_fit_has_no_warnings_and_gets_the_same_fields_as_every_request() -> None:
    body = {"temperature": 0.6, "max_tokens": 9000, "chat_template_kwargs": {"enable_thinking": False}}
    with answering(ChatServer(called(), said("A library lends books.", "The user asks about libraries."))) as server:
        assert check_server(server.url, MODEL, "key", body) == ()
    assert len(server.seen) == 2
    for sent in server.seen:
        assert sent["chat_template_kwargs"] == {"enable_thinking": False}
        assert (sent["model"], sent["temperature"], sent["max_tokens"]) == (MODEL, 0.6, 2048)
    assert sum("tools" in sent for sent in server.seen) == 1


@pytest.mark.parametrize(
    ("text", "parser", "seen"),
    [
        (HERMES, "hermes", "<tool_call>"),
        (f"I will look it up.\n{HERMES}", "hermes", "<tool_call>"),
        (
            "<tool_call>\n<function=get_weather>\n<parameter=city>\nParis\n</parameter>\n</function>\n</tool_call>",
            "qwen3_coder",
            "<function=",
        ),
        (
            "<tool_call>get_weather\n<arg_key>city</arg_key>\n<arg_value>Paris</arg_value>\n</tool_call>",
            "glm45",
            "<tool_call>",
        ),
        ('[TOOL_CALLS][{"name": "get_weather", "arguments": {"city": "Paris"}}]', "mistral", "[TOOL_CALLS]"),
        ('[TOOL_CALLS]get_weather[ARGS]{"city": "Paris"}', "mistral", "[TOOL_CALLS]"),
        ('<|python_tag|>{"name": "get_weather", "parameters": {"city": "Paris"}}', "llama3_json", "<|python_tag|>"),
        (
            '<|channel|>commentary to=functions.get_weather <|constrain|>json<|message|>{"city": "Paris"}<|call|>',
            "openai",
            "<|channel|>",
        ),
        (
            "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>get_weather\n```json\n"
            '{"city": "Paris"}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>',
            "deepseek_v3",
            "<｜tool▁calls▁begin｜>",
        ),
    ],
)
def test_a_call_that_the_server_left_in_the_text_is_an_error_that_names_the_parser(
    text: str, parser: str, seen: str
) -> None:
    with pytest.raises(UserError) as error:
        check(said(text), WORDS)
    assert "left the tool call in the text" in str(error.value)
    assert f"--enable-auto-tool-choice --tool-call-parser {parser} (seen: {seen})" in str(error.value)
    (warning,) = check(said(text), WORDS, reads_markup=True)
    assert f"--tool-call-parser {parser} " in warning


@pytest.mark.parametrize(
    "text",
    [
        "It is sunny in Paris.",
        "",
        '```json\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n```',
        '<tool_call>\n{"name": get_weather, "arguments": {"city": "Paris"}}\n</tool_call>',
        '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Par',
        "<tool_call> of </think> [TOOL_CALLS] lending <function=",
    ],
)
def test_a_weak_model_that_does_not_call_or_breaks_its_call_is_only_a_warning(text: str) -> None:
    (warning,) = check(said(text), WORDS)
    assert "did not call the tool" in warning


def test_a_server_that_refuses_tools_is_an_error() -> None:
    for options in ({}, {"reads_markup": True}):
        with pytest.raises(UserError, match=r"refuses requests with tools: HTTP 400: .auto. tool choice requires"):
            check(REFUSES_TOOLS, WORDS, **options)


@pytest.mark.parametrize(
    ("text", "parser"),
    [
        ("The user asks what it is for.\n</think>\n\nA library lends books.", "qwen3"),
        ("<think>\nThe user asks.\n</think>\n\nA library lends books.", "qwen3"),
        ("[THINK]The user asks.[/THINK]A library lends books.", "mistral"),
        ("<seed:think>The user asks.</seed:think>A library lends books.", "seed_oss"),
        ("<|channel|>analysis<|message|>The user asks.<|end|><|start|>assistant<|channel|>final", "openai_gptoss"),
        ("analysisThe user asks.assistantfinalA library lends books.", "openai_gptoss"),
    ],
)
def test_reasoning_that_the_server_left_in_the_text_is_an_error_that_names_the_parser(text: str, parser: str) -> None:
    with pytest.raises(UserError, match=f"left the reasoning in the text: .*--reasoning-parser {parser} "):
        check(called(), said(text))
    (warning,) = check(called(), said(text), reads_markup=True)
    assert f"--reasoning-parser {parser} " in warning


@pytest.mark.parametrize("content", [None, "", " \n"])
def test_an_answer_swallowed_as_reasoning_is_an_error(content: str | None) -> None:
    swallowed = said(content, "A library lends books.")
    for options in ({}, {"reads_markup": True}):
        with pytest.raises(UserError, match=r"takes the whole answer for reasoning.*'A library lends books\.'"):
            check(called(), swallowed, **options)
    closed = ["assistant", "\n", "<think>", "\n\n", "</think>", "\n\n"]
    with pytest.raises(UserError, match="takes the whole answer for reasoning"):
        check(called(), swallowed, closed)


def test_a_model_whose_prompt_opens_its_reasoning_and_that_never_closes_it_is_weak() -> None:
    (warning,) = check(called(), said(None, "buch buch buch"), ["<|im_start|>", "assistant", "Ċ", "<think>", "Ċ"])
    assert "ended its answer within its reasoning, as untrained models do" in warning


def test_an_answer_that_was_cut_off_proves_nothing() -> None:
    cut = said(None, "Let me think about it", "length")
    warnings = check(cut, cut)
    assert len(warnings) == 2
    assert all("cut off" in warning for warning in warnings)


@pytest.mark.parametrize("reply", [(500, "out of memory"), (429, "busy"), (400, "maximum context length is 64 tokens")])
def test_a_server_that_does_not_answer_is_left_to_the_requests_that_follow(reply: tuple[int, str]) -> None:
    warnings = check(reply, reply)
    assert [f"HTTP {reply[0]}" in warning for warning in warnings] == [True, True]
    assert len(check(reply, WORDS)) == 1


def test_a_server_that_is_down_is_left_to_the_requests_that_follow() -> None:
    with answering(ChatServer(called(), WORDS)) as server:
        url = server.url
    assert len(check_server(url, MODEL)) == 2
