"""The client of BFCL's worker: what it tries again, what it gives up, and what it tells apart."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from evaluation.bfcl.worker import client as bfcl_client
from evaluation.bfcl.worker.client import Client, Limits, TooLongError, UnansweredError
from evaluation.bfcl.worker.tool_calls import as_history, fits, objection
from tests.evaluation.helpers.bfcl_runs import Serve
from tests.evaluation.helpers.replay import Reply, say

BODY = {"model": "m", "messages": []}
REFUSED: Reply = {"status": 500, "message": "not now"}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bfcl_client, "BACKOFF_S", 0.01)


def client_of(
    serve: Serve, brain: Callable[[dict[str, Any]], Reply], **limits: Any
) -> tuple[Client, list[dict[str, Any]]]:
    server = serve(brain)
    given = {"concurrency": 2, "retries": 2, "timeout_s": 10.0, "patience": 100} | limits
    return Client(server.base_url, "key", Limits(**given)), server.requests


def test_a_failed_request_is_tried_again_and_then_given_up(serve: Serve) -> None:
    replies = iter([REFUSED, REFUSED, say("Hello."), REFUSED, REFUSED, REFUSED])
    client, requests = client_of(serve, lambda body: next(replies))
    answer = client.complete(BODY, "bfcl/a/0/0")
    assert answer["choices"][0]["message"]["content"] == "Hello."
    assert [body["request_id"] for body in requests] == ["bfcl/a/0/0"] * 3
    with pytest.raises(UnansweredError, match=r"HTTP 500.*not now"):
        client.complete(BODY, "b")
    assert len(requests) == 6


def bidden(seconds: str, status: int = 429) -> Reply:
    return {"status": status, "message": "too many", "headers": {"Retry-After": seconds}}


@pytest.mark.parametrize("status", [429, 503])
def test_waits_that_the_server_bids_are_kept_and_not_counted(
    status: int, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(bfcl_client.time, "sleep", waits.append)
    bids = ["7", "3600", "0", "Fri, 31 Dec 9999 23:59:59 GMT", "Thu, 01 Jan 1970 00:00:00 GMT"]
    replies = iter([*(bidden(bid, status) for bid in bids), say("Hello.")])
    client, requests = client_of(serve, lambda body: next(replies), retries=0, timeout_s=600.0)
    assert client.complete(BODY, "a")["choices"]
    assert waits == [7.0, 60.0, 0.01, 60.0, 0.01]
    assert len(requests) == 6


@pytest.mark.parametrize(
    ("reply", "sent"), [(bidden("9"), 2), (bidden("soon"), 2), (bidden("0", 500), 2), (bidden("0", 400), 1)]
)
def test_waits_beyond_the_time_and_others_are_tries(reply: Reply, sent: int, serve: Serve) -> None:
    client, requests = client_of(serve, lambda body: reply, retries=1, timeout_s=5.0)
    with pytest.raises(UnansweredError, match="too many"):
        client.complete(BODY, "a")
    assert len(requests) == sent


def test_an_error_that_comes_as_an_answer_is_tried_again(serve: Serve) -> None:
    error = {"error": {"message": "the server behind is gone", "code": 502}}
    replies = iter([{"answer": error}, say("Hello."), *[{"answer": error}] * 3])
    client, requests = client_of(serve, lambda body: next(replies))
    assert client.complete(BODY, "a")["choices"]
    with pytest.raises(UnansweredError, match=r"HTTP 200: .*behind is gone"):
        client.complete(BODY, "a")
    assert len(requests) == 5


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        (400, "This model's maximum context length is 10 tokens", TooLongError),
        (400, "tool_choice is unknown", UnansweredError),
        (401, "no key", UnansweredError),
    ],
)
def test_a_refusal_is_not_tried_again(serve: Serve, status: int, message: str, kind: type[Exception]) -> None:
    client, requests = client_of(serve, lambda body: {"status": status, "message": message})
    with pytest.raises(kind, match=message):
        client.complete(BODY, "a")
    assert len(requests) == 1


def test_an_answer_that_never_ends_is_cut_off(serve: Serve) -> None:
    """Though a byte comes every now and then, so that no single read ever times out."""
    client, _ = client_of(serve, lambda body: {"hang": True}, retries=0, timeout_s=0.5)
    began = time.monotonic()
    with pytest.raises(UnansweredError, match=r"did not end within 0\.5 s"):
        client.complete(BODY, "a")
    assert time.monotonic() - began < 30.0, "not never; how soon is not what is tested"


def test_a_dead_server_is_not_asked_for_ever(serve: Serve) -> None:
    ill = [True]
    client, requests = client_of(serve, lambda body: REFUSED if ill[0] else say("Hello."), retries=0, patience=3)
    for well_after in (2, 3):  # an answer in between begins the count anew
        ill[0] = True
        for _ in range(well_after):
            with pytest.raises(UnansweredError, match="HTTP 500"):
                client.complete(BODY, "a")
        ill[0] = False
        if well_after < 3:
            client.complete(BODY, "a")
    with pytest.raises(UnansweredError, match="not sent: 3 requests in a row"):
        client.complete(BODY, "a")
    assert len(requests) == 6


@pytest.mark.parametrize(
    "calls", [[{"function": {"name": "f"}}], [{"function": {"name": "f", "arguments": {"a": 1}}}], [7]]
)
def test_what_is_no_chat_completion_is_no_answer(serve: Serve, calls: list[Any]) -> None:
    client, _ = client_of(serve, lambda body: {"content": None, "tool_calls": calls})
    with pytest.raises(UnansweredError, match="not a chat completion"):
        client.complete(BODY, "a")


def test_only_declared_names_may_be_evaluated() -> None:
    tools = {"ls": {"a"}, "cat": {"file_name"}}
    assert objection("ls", '{"a": true}', tools) is None
    assert objection("ls", "{", tools) is None, "refused by the official decoder before anything runs"
    assert objection("ls", "[1]", tools) is None
    assert objection("rm", "{}", tools) == "name 'rm' is not defined"
    assert objection("cat", '{"file_name": "a", "a": 1}', tools) == "cat() got an unexpected keyword argument 'a'"


def test_calls_fit_or_do_not() -> None:
    declared = {
        "f": {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]},
        "g": {"type": "float"},
    }
    assert [fits("f", text, declared) for text in ('{"n": 1}', '{"n": "1"}', "{}", "{")] == [True, False, False, False]
    assert not fits("h", "{}", declared)
    assert not fits("g", "{}", declared), "a schema that is none fits nothing"


def test_the_history_keeps_reasoning_and_mends_arguments_that_servers_refuse() -> None:
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
