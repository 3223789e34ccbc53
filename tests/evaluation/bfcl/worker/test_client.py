"""The client of BFCL's worker: retries, limits and kinds of failure."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from evaluation.bfcl.worker import client as bfcl_client
from evaluation.bfcl.worker.client import Client, ContextExceededError, Limits, UnansweredError
from evaluation.bfcl.worker.tool_calls import as_history, fits, objection
from tests.evaluation.helpers.bfcl_runs import Serve
from tests.evaluation.helpers.replay import Reply, say
from tests.helpers.refusals import OF_CONTEXT, body

BODY = {"model": "m", "messages": []}
REFUSED: Reply = {"status": 500, "message": "not now"}


@pytest.fixture(autouse=True)
def short_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bfcl_client, "BACKOFF_S", 0.01)


def client_of(
    serve: Serve, policy: Callable[[dict[str, Any]], Reply], **limits: Any
) -> tuple[Client, list[dict[str, Any]]]:
    server = serve(policy)
    values = {"concurrency": 2, "retries": 2, "timeout_s": 10.0, "patience": 100} | limits
    return Client(server.base_url, "key", Limits(**values)), server.requests


def test_a_failed_request_is_retried_and_then_fails(serve: Serve) -> None:
    replies = iter([REFUSED, REFUSED, say("Hello."), REFUSED, REFUSED, REFUSED])
    client, requests = client_of(serve, lambda body: next(replies))
    answer = client.complete(BODY, "bfcl/a/0/0")
    assert answer["choices"][0]["message"]["content"] == "Hello."
    assert [body["request_id"] for body in requests] == ["bfcl/a/0/0"] * 3
    with pytest.raises(UnansweredError, match=r"HTTP 500.*not now"):
        client.complete(BODY, "b")
    assert len(requests) == 6


def retry_after(seconds: str, status: int = 429) -> Reply:
    return {"status": status, "message": "too many", "headers": {"Retry-After": seconds}}


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_respected_and_not_counted_as_a_retry(
    status: int, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(bfcl_client.time, "sleep", waits.append)
    headers = ["7", "3600", "0", "Fri, 31 Dec 9999 23:59:59 GMT", "Thu, 01 Jan 1970 00:00:00 GMT"]
    replies = iter([*(retry_after(header, status) for header in headers), say("Hello.")])
    client, requests = client_of(serve, lambda body: next(replies), retries=0, timeout_s=600.0)
    assert client.complete(BODY, "a")["choices"]
    assert waits == [7.0, 60.0, 0.01, 60.0, 0.01]
    assert len(requests) == 6


@pytest.mark.parametrize(
    ("reply", "sent"),
    [(retry_after("9"), 2), (retry_after("soon"), 2), (retry_after("0", 500), 2), (retry_after("0", 400), 1)],
)
def test_a_retry_after_beyond_the_time_limit_or_unparsable_counts_as_a_retry(
    reply: Reply, sent: int, serve: Serve
) -> None:
    client, requests = client_of(serve, lambda body: reply, retries=1, timeout_s=5.0)
    with pytest.raises(UnansweredError, match="too many"):
        client.complete(BODY, "a")
    assert len(requests) == sent


def test_an_error_with_status_200_is_retried(serve: Serve) -> None:
    error = {"error": {"message": "the server behind is gone", "code": 502}}
    replies = iter([{"answer": error}, say("Hello."), *[{"answer": error}] * 3])
    client, requests = client_of(serve, lambda body: next(replies))
    assert client.complete(BODY, "a")["choices"]
    with pytest.raises(UnansweredError, match=r"HTTP 200: .*behind is gone"):
        client.complete(BODY, "a")
    assert len(requests) == 5


@pytest.mark.parametrize("wrapped", [False, True], ids=["plain", "wrapped"])
@pytest.mark.parametrize("server", OF_CONTEXT)
def test_a_refused_length_is_the_models_failure(server: str, wrapped: bool, serve: Serve) -> None:
    status, refusal = OF_CONTEXT[server]
    text = body(refusal)
    reply = {"answer": json.loads(text)} if wrapped else {"status": status, "message": text}
    client, requests = client_of(serve, lambda _: reply)
    with pytest.raises(ContextExceededError):
        client.complete(BODY, "a")
    assert len(requests) == 1


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        (400, "tool_choice is unknown", UnansweredError),
        (401, "no key", UnansweredError),
    ],
)
def test_a_refusal_is_not_retried(serve: Serve, status: int, message: str, kind: type[Exception]) -> None:
    client, requests = client_of(serve, lambda body: {"status": status, "message": message})
    with pytest.raises(kind, match=message):
        client.complete(BODY, "a")
    assert len(requests) == 1


def test_an_answer_that_never_ends_is_cut_off(serve: Serve) -> None:
    """A byte arrives now and then, so no single read times out."""
    client, _ = client_of(serve, lambda body: {"hang": True}, retries=0, timeout_s=0.5)
    started = time.monotonic()
    with pytest.raises(UnansweredError, match=r"did not end within 0\.5 s"):
        client.complete(BODY, "a")
    assert time.monotonic() - started < 30.0, "a loose bound: only that it ends is tested"


def test_a_dead_server_gets_no_more_requests(serve: Serve) -> None:
    broken = [True]
    client, requests = client_of(serve, lambda body: REFUSED if broken[0] else say("Hello."), retries=0, patience=3)
    for failures in (2, 3):  # an answer in between resets the count
        broken[0] = True
        for _ in range(failures):
            with pytest.raises(UnansweredError, match="HTTP 500"):
                client.complete(BODY, "a")
        broken[0] = False
        if failures < 3:
            client.complete(BODY, "a")
    with pytest.raises(UnansweredError, match="not sent: 3 requests in a row"):
        client.complete(BODY, "a")
    assert len(requests) == 6


@pytest.mark.parametrize(
    "calls", [[{"function": {"name": "f"}}], [{"function": {"name": "f", "arguments": {"a": 1}}}], [7]]
)
def test_an_invalid_chat_completion_is_not_an_answer(serve: Serve, calls: list[Any]) -> None:
    client, _ = client_of(serve, lambda body: {"content": None, "tool_calls": calls})
    with pytest.raises(UnansweredError, match="not a chat completion"):
        client.complete(BODY, "a")


def test_only_declared_names_may_be_evaluated() -> None:
    tools = {"ls": {"a"}, "cat": {"file_name"}}
    assert objection("ls", '{"a": true}', tools) is None
    assert objection("ls", "{", tools) is None, "the official decoder rejects it before anything runs"
    assert objection("ls", "[1]", tools) is None
    assert objection("rm", "{}", tools) == "name 'rm' is not defined"
    assert objection("cat", '{"file_name": "a", "a": 1}', tools) == "cat() got an unexpected keyword argument 'a'"


def test_valid_calls_name_a_declared_tool_and_fit_its_schema() -> None:
    declared = {
        "f": {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]},
        "g": {"type": "float"},
    }
    assert [fits("f", text, declared) for text in ('{"n": 1}', '{"n": "1"}', "{}", "{")] == [True, False, False, False]
    assert not fits("h", "{}", declared)
    assert not fits("g", "{}", declared), "nothing fits an invalid schema"


def test_the_history_keeps_reasoning_and_replaces_arguments_that_servers_refuse() -> None:
    calls = [
        {"id": "x", "function": {"name": "f", "arguments": '{"n": 1}'}},
        {"function": {"name": "g", "arguments": "[1]"}},
    ]
    history = as_history({"content": None, "tool_calls": calls}, "Well.")
    assert (history["reasoning"], history["reasoning_content"]) == ("Well.", "Well.")
    assert [(call["id"], call["function"]["arguments"]) for call in history["tool_calls"]] == [
        ("x", '{"n": 1}'),
        ("call_1", "{}"),
    ]
