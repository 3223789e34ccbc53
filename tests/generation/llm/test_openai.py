"""The client against a single server that misbehaves in every possible way."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any, get_args

import pytest
import yaml
from aiohttp import web
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import OmegaConf

from core.messages import AssistantMessage, ContractError, ToolCall, ToolMessage
from core.settings import UserError
from generation.llm.base import LLMError, Role
from generation.llm.openai import MIN_ANSWER_TOKENS, OpenAILLM
from tests.generation.helpers.misbehaving_servers import REQUEST, TOOL, client, reply, serving, status
from tests.generation.helpers.pipeline_runs import CONF


async def test_a_request_carries_everything_the_server_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "secret")
    call = ToolCall.make("c1", "get_member", {"member_id": 3})
    history = (
        *REQUEST.messages,
        AssistantMessage(reasoning_content="I look.", tool_calls=(call,)),
        ToolMessage(tool_call_id="c1", content="{}"),
    )
    options = {
        "sampling": {"temperature": 0.9},
        "role_sampling": {"agent": {"max_tokens": 5}},
        "strict_tools": True,
        "structured": ["agent"],
    }
    async with (
        serving() as mock,
        client(mock.url, api_key_env="MY_KEY", extra_body={"reasoning_effort": "low"}, **options) as llm,
    ):
        completion = await llm.complete(replace(REQUEST, messages=history, json_schema={"type": "object"}))
    (body,) = mock.seen
    assert mock.authorization == "Bearer secret"
    assert (body["model"], llm.name) == ("tiny", "tiny")
    assert (body["temperature"], body["top_p"], body["max_tokens"]) == (0.9, 0.95, 5)
    assert body["reasoning_effort"] == "low"
    assert body["messages"][2]["reasoning"] == body["messages"][2]["reasoning_content"] == "I look."
    assert body["messages"][2]["tool_calls"][0]["function"] == {"name": "get_member", "arguments": '{"member_id": 3}'}
    assert body["messages"][3] == {"role": "tool", "tool_call_id": "c1", "content": "{}"}
    assert body["tools"][0]["function"] == TOOL.openai()["function"] | {"strict": True}
    assert body["response_format"]["json_schema"]["schema"] == {"type": "object"}
    assert (completion.prompt_tokens, completion.completion_tokens) == (11, 7)
    assert completion.message.content == "hello"


SCHEMA = {"type": "object", "properties": {"done": {"type": "boolean"}}, "required": ["done"]}


async def test_only_answers_in_json_are_constrained_to_a_schema() -> None:
    async with serving() as mock, client(mock.url) as llm:
        for role in get_args(Role):
            await llm.complete(replace(REQUEST, role=role, tools=(), json_schema=SCHEMA))
            await llm.complete(replace(REQUEST, role=role, tools=(), json_schema=None))
    constrained = [body["response_format"]["json_schema"]["name"] for body in mock.seen if "response_format" in body]
    assert set(constrained) == set(get_args(Role)) - {"agent"}
    assert len(constrained) == len(set(constrained))
    async with serving() as mock, client(mock.url, structured=[]) as llm:
        await llm.complete(replace(REQUEST, role="judge", json_schema=SCHEMA))
    assert "response_format" not in mock.seen[0]


async def test_single_roles_may_override_request_fields() -> None:
    common, overrides = {"reasoning_effort": "high", "x": 1}, {"user": {"reasoning_effort": "low"}}
    async with serving() as mock, client(mock.url, extra_body=common, role_extra_body=overrides) as llm:
        for role in ("user", "judge"):
            await llm.complete(replace(REQUEST, role=role))
    assert [(body["reasoning_effort"], body["x"]) for body in mock.seen] == [("low", 1), ("high", 1)]


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (400, "The provided JSON schema contains features not supported by xgrammar."),
        (400, "Unsupported response_format"),
        (422, "guided decoding is not available"),
    ],
)
async def test_a_schema_that_the_server_refuses_is_sent_once(code: int, text: str) -> None:
    def refuse_the_first(body: dict[str, Any]) -> web.Response:
        refused = body.get("response_format", {}).get("json_schema", {}).get("schema") == SCHEMA
        return web.Response(status=code, text=text) if refused else reply()

    other = SCHEMA | {"required": []}
    async with serving(refuse_the_first) as mock, client(mock.url) as llm:
        for schema in (SCHEMA, SCHEMA, other):
            completion = await llm.complete(replace(REQUEST, role="judge", json_schema=schema))
            assert completion.message.content == "hello"
    assert ["response_format" in body for body in mock.seen] == [True, False, False, True]


async def test_other_refusals_do_not_count_against_the_schema() -> None:
    async with serving(status(400, "temperature must be positive")) as mock, client(mock.url) as llm:
        with pytest.raises(LLMError, match="temperature must be positive"):
            await llm.complete(replace(REQUEST, role="judge", json_schema=SCHEMA))
    assert len(mock.seen) == 1


async def test_calls_that_the_server_left_in_the_text_are_extracted_if_the_request_had_tools() -> None:
    message = {"content": '<tool_call>{"name": "get_member", "arguments": {"member_id": 3}}</tool_call>'}
    async with serving(lambda _: reply(message)) as mock, client(mock.url) as llm:
        with_tools = await llm.complete(REQUEST)
        without_tools = await llm.complete(replace(REQUEST, role="user", tools=()))
    assert [call.parsed() for call in with_tools.message.tool_calls or ()] == [{"member_id": 3}]
    assert with_tools.flaws == ("repaired",)
    text = without_tools.message
    assert (text.content, text.tool_calls, without_tools.flaws) == (message["content"], None, ())


async def test_the_shipped_configuration_sends_plain_json() -> None:
    settings = yaml.safe_load((CONF / "llm" / "vllm.yaml").read_text())
    thinking = {"chat_template_kwargs": {"enable_thinking": False}}
    async with serving() as mock:
        changes = {"base_urls": [mock.url], "seed": 0, "extra_body": thinking, "role_extra_body": {"judge": thinking}}
        llm = instantiate(settings | changes)
        await llm.complete(replace(REQUEST, role="judge", json_schema=SCHEMA))
        await llm.close()
    assert mock.seen[0]["chat_template_kwargs"] == {"enable_thinking": False}
    assert mock.seen[0]["response_format"]["json_schema"]["schema"] == SCHEMA


async def test_seeds_depend_on_the_run_and_the_key_alone() -> None:
    async def seeds(run_seed: int, keys: list[str]) -> dict[str, int]:
        async with serving() as mock, client(mock.url, seed=run_seed, max_in_flight=2) as llm:
            await asyncio.gather(*(llm.complete(replace(REQUEST, key=key, affinity=key)) for key in keys))
            await llm.complete(replace(REQUEST, key=keys[0]))
        assert all(0 <= body["seed"] < 2**31 for body in mock.seen)
        assert mock.seen[-1]["seed"] in [body["seed"] for body in mock.seen[:-1]]
        return {key: body["seed"] for key, body in zip(keys, mock.seen, strict=False)}

    keys = [f"d{i}" for i in range(20)]
    first, again, other = await seeds(1, keys), await seeds(1, keys[::-1]), await seeds(2, keys)
    assert set(first.values()) == set(again.values())
    assert len(set(first.values())) == 20
    assert not set(first.values()) & set(other.values())


@pytest.mark.parametrize("failure", [429, 500, 502, 503, 504, 408])
async def test_transient_errors_are_retried(failure: int) -> None:
    async with serving(status(failure), status(failure), lambda _: reply()) as mock, client(mock.url) as llm:
        answer = await llm.complete(REQUEST)
    assert (answer.message.content, answer.retries) == ("hello", 2)
    assert len(mock.seen) == 3


async def test_tool_calls_of_every_dialect() -> None:
    functions = [
        {"name": "get_member", "arguments": '{"member_id": 3}'},
        {"name": "functions.get_member", "arguments": {"member_id": 4}},
        {"name": "get_member<|channel|>commentary", "arguments": None},
        {"name": "get_member", "arguments": '{"member_id": '},
    ]
    calls = [{"id": f"x{i}", "type": "function", "function": function} for i, function in enumerate(functions)]
    del calls[1]["id"]
    message = {"content": None, "tool_calls": calls}
    async with serving(lambda _: reply(message, "tool_calls")) as mock, client(mock.url) as llm:
        completion = await llm.complete(REQUEST)
    parsed = completion.message.tool_calls
    assert parsed is not None
    assert completion.finish_reason == "tool_calls"
    assert {call.name for call in parsed} == {"get_member"}
    assert [call.parsed() for call in parsed[:3]] == [{"member_id": 3}, {"member_id": 4}, {}]
    assert len({call.id for call in parsed}) == 4
    assert parsed[3].function.arguments == '{"member_id": ', "kept as the model wrote it"
    with pytest.raises(ContractError, match="not JSON"):
        parsed[3].parsed()


FAMILIES = ("vllm", "gpt_oss", "qwen3_thinking", "qwen3_instruct")


async def bodies(family: str, **changes: Any) -> dict[str, dict[str, Any]]:
    """Role -> the request that the shipped configuration of this family sends."""
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        config = OmegaConf.to_container(compose("generate", ["profile=tiny", f"llm={family}"]).llm)
    assert isinstance(config, dict)
    async with serving(**changes) as mock:
        llm = instantiate(config | {"base_urls": [mock.url], "seed": 0})
        for role in get_args(Role):
            await llm.complete(replace(REQUEST, role=role))
        await llm.close()
    return dict(zip(get_args(Role), mock.seen, strict=True))


async def test_each_family_sends_what_its_authors_recommend() -> None:
    recommended = {
        "vllm": (None, None, None),
        "gpt_oss": (1.0, 1.0, None),
        "qwen3_thinking": (0.6, 0.95, 20),
        "qwen3_instruct": (0.7, 0.8, 20),
    }
    for family in FAMILIES:
        for body in (await bodies(family)).values():
            assert tuple(body.get(key) for key in ("temperature", "top_p", "top_k")) == recommended[family]
    efforts = {role: body["reasoning_effort"] for role, body in (await bodies("gpt_oss")).items()}
    assert efforts.pop("user") == efforts.pop("tool_simulator") == "low"
    assert set(efforts.values()) == {"medium"}


async def test_budgets_differ_by_role_and_fit_into_the_context_that_the_server_reports() -> None:
    free = await bodies("gpt_oss")
    assert free["tool_maker"]["max_tokens"] > free["agent"]["max_tokens"] >= 8192
    bound = await bodies("gpt_oss", context=10_000)
    assert bound["tool_maker"]["max_tokens"] == 10_000 - MIN_ANSWER_TOKENS
    assert bound["agent"]["max_tokens"] == free["agent"]["max_tokens"]


@pytest.mark.parametrize(
    "refusal",
    [
        "This model's maximum context length is 8192 tokens. However, you requested 9000 tokens (5000 in the messages, "
        "4000 in the completion).",
        "This model's maximum context length is 8192 tokens. However, your request has 5000 input tokens.",
        "`inputs` tokens + `max_new_tokens` must be <= 8192. Given: 5000 `inputs` tokens and 4000 `max_new_tokens`",
        "input length and `max_tokens` exceed context limit: 5000 + 4000 > 8192, decrease input length",
    ],
)
async def test_an_answer_that_does_not_fit_behind_its_prompt_gets_the_room_that_is_left(refusal: str) -> None:
    def serve(body: dict[str, Any]) -> web.Response:
        return web.Response(status=400, text=refusal) if body["max_tokens"] > 3192 else reply()

    async with serving(serve) as mock, client(mock.url, sampling={"max_tokens": 4000}) as llm:
        assert (await llm.complete(REQUEST)).message.content == "hello"
    assert [body["max_tokens"] for body in mock.seen] == [4000, 3192]


@pytest.mark.parametrize(
    "changes", [{"sampling": {"temperature": 0.0}}, {"role_sampling": {"judge": {"temperature": 0}}}]
)
def test_a_model_that_thinks_is_never_greedy(changes: dict[str, Any]) -> None:
    OpenAILLM(["http://127.0.0.1:8000/v1"], **changes)
    with pytest.raises(UserError, match=r"(?:judge|sampling): temperature 0 was given for a model that thinks"):
        OpenAILLM(["http://127.0.0.1:8000/v1"], thinks=True, **changes)


async def test_a_server_error_changes_the_seed_and_other_failures_do_not() -> None:
    """An error of the answer itself would come again with the same seed."""
    script = (status(500, "HarmonyError"), status(429), status(503), lambda _: reply())
    async with serving(*script) as mock, client(mock.url, retries=5) as llm:
        assert (await llm.complete(REQUEST)).retries == 3
    first, after_error, after_busy, last = [body["seed"] for body in mock.seen]
    assert after_error == after_busy
    assert len({first, after_error, last}) == 3
