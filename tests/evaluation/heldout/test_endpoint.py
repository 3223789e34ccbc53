"""The held-out benchmark against servers that work, fail or stop: only completed trials are scored, and only once."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest

from core.messages import AssistantMessage
from core.sampling import Sampling
from core.settings import UserError
from evaluation.benchmark import EvaluationContext
from evaluation.endpoint import Endpoint
from evaluation.heldout import tasks as heldout_tasks
from evaluation.metrics.pass_at_k import summarize
from generation.llm.base import Completion, LLMError, Request
from generation.llm.transport import RetryPolicy
from generation.scripted.llm import ScriptedLLM
from tests.evaluation.helpers.heldout import MakeHeldout, run_heldout
from tests.evaluation.helpers.replay import AnswerPolicy, ReplayServer, call, say

Serve = Callable[[AnswerPolicy], ReplayServer]


def context(server: ReplayServer, generation: Path | None, trials: int = 1) -> EvaluationContext:
    return EvaluationContext(server.endpoint(), trials, (generation,) if generation else ())


def test_an_agent_that_does_nothing_scores_nothing(
    settings: dict[str, Any], heldout: MakeHeldout, generation: Path, tmp_path: Path, serve: Serve
) -> None:
    server = serve(lambda body: say("I am here to help."))
    kwargs = {"enable_thinking": False}
    endpoint = server.endpoint(chat_template_kwargs=kwargs)
    records = heldout(settings).run(EvaluationContext(endpoint, 1, (generation,)), tmp_path)
    assert all(body["chat_template_kwargs"] == kwargs for body in server.requests)
    assert len(records) == 12
    assert {record.success for record in records} == {False}
    assert {record.calls for record in records} == {0}
    assert all(record.prompt_tokens == 10 * (record.completion_tokens // 5) > 0 for record in records)
    body = server.requests[0]
    assert body["tools"]
    assert body["messages"][0]["role"] == "system"
    assert (body["temperature"], body["max_tokens"]) == (0.7, 256)


@pytest.mark.parametrize(
    ("reply", "stop", "valid"),
    [
        (call(("open_door", {})), "agent: no answer after 12 rounds of tool use", 0),
        (call(("get_nothing", "{broken")), "agent: no answer after 12 rounds of tool use", 0),
        (say(""), "agent: the answer is empty", 0),
        (say("It is", finish_reason="length"), "agent: the answer was cut off by the token limit", 0),
    ],
)
def test_unusable_answers_are_the_models_failure(
    reply: dict[str, Any],
    stop: str,
    valid: int,
    settings: dict[str, Any],
    heldout: MakeHeldout,
    tmp_path: Path,
    serve: Serve,
) -> None:
    settings |= {"dialogues": 2, "categories": ["unseen_databases"]}
    records = heldout(settings).run(context(serve(lambda body: dict(reply)), None), tmp_path)
    assert [(r.success, r.stop_reason, r.valid_calls) for r in records] == [(False, stop, valid)] * 2
    assert {r.truncations for r in records} == {int("cut off" in stop)}


def test_infrastructure_errors_are_run_again_and_completed_trials_are_not(
    settings: dict[str, Any],
    heldout: MakeHeldout,
    generation: Path,
    tmp_path: Path,
    serve: Serve,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(RetryPolicy, "wait_s", lambda *_: 0.0)
    failing = True

    def answer(body: dict[str, Any]) -> dict[str, Any]:
        broken = failing and "library" in body["messages"][0]["content"]
        return {"status": 500, "message": "out of memory"} if broken else say("I am here to help.")

    benchmark, server = heldout(settings), serve(answer)
    first = benchmark.run(context(server, generation), tmp_path)
    errors = [record for record in first if record.success is None]
    assert {r.axes["database"] for r in errors} == {"library"}
    assert all("out of memory" in str(record.infrastructure_error) for record in errors)
    summary = summarize(first, (1,))
    assert (summary.infrastructure_errors, summary.trials) == (len(errors), 12 - len(errors))
    alone = summarize(errors, (1,))
    assert (alone.pass_at, alone.valid_call_rate) == ({1: None}, None)
    failing = False
    before = len(server.requests)
    second = benchmark.run(context(server, generation), tmp_path)
    assert [r.key for r in second] == [r.key for r in first]
    assert {r.success for r in second} == {False}
    assert {"library" in body["messages"][0]["content"] for body in server.requests[before:]} == {True}


def test_a_server_that_never_answers_is_an_error_and_no_score(
    settings: dict[str, Any],
    heldout: MakeHeldout,
    tmp_path: Path,
    dead_endpoint: Endpoint,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(RetryPolicy, "wait_s", lambda *_: 0.0)
    settings |= {"categories": ["unseen_databases"]}
    with pytest.raises(UserError, match=f"no OpenAI-compatible server answers at {dead_endpoint.base_url}"):
        heldout(settings).run(EvaluationContext(dead_endpoint, 1), tmp_path)
    assert (tmp_path / "trials.jsonl").read_text() == ""


class UselessIn(ScriptedLLM):
    """A simulator whose answers in one role are unusable."""

    def __init__(self, role: str) -> None:
        super().__init__()
        self.role = role

    async def complete(self, request: Request) -> Completion:
        completion = await super().complete(request)
        return Completion(AssistantMessage(content="no idea")) if request.role == self.role else completion


def test_tasks_that_cannot_be_written_end_the_run(
    settings: dict[str, Any], heldout: MakeHeldout, tmp_path: Path, serve: Serve
) -> None:
    server = serve(lambda body: say("Hello."))
    benchmark = heldout(settings | {"categories": ["unseen_databases"], "dialogues": 1}, UselessIn("task_writer"))
    with pytest.raises(UserError, match="no task could be written for unseen_databases in 30 drafts"):
        benchmark.run(context(server, None), tmp_path)
    assert server.requests == []


class Fickle(ScriptedLLM):
    """A task writer that refuses every second request."""

    requests = 0

    async def complete(self, request: Request) -> Completion:
        completion = await super().complete(request)
        self.requests += request.role == "task_writer"
        refuses = request.role == "task_writer" and self.requests % 2 == 0
        return Completion(AssistantMessage(content="no idea")) if refuses else completion


@pytest.mark.parametrize("max_drafts", [30, 1])
def test_every_model_and_every_resumed_run_gets_the_same_tasks_of_a_fickle_writer(
    max_drafts: int,
    settings: dict[str, Any],
    heldout: MakeHeldout,
    tmp_path: Path,
    serve: Serve,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(heldout_tasks, "MAX_DRAFTS", max_drafts)
    settings |= {"categories": ["unseen_databases"], "dialogues": 3, "tasks": settings["tasks"] | {"attempts": 1}}
    writer, server = Fickle(), serve(lambda body: say("Hello."))
    tasks, requests = [], []
    for model in ("first", "second", "first"):
        own = EvaluationContext(server.endpoint(), 1, shared=tmp_path / "shared")
        tasks.append([record.key for record in heldout(settings, writer).run(own, tmp_path / model)])
        requests.append(writer.requests)
    assert len(tasks[0]) == 3 if max_drafts > 1 else 0 < len(tasks[0]) < 3, "a condition may have fewer dialogues"
    assert tasks == [tasks[0]] * 3
    assert requests == [requests[0]] * 3, "rejected drafts are not requested again"


@pytest.mark.parametrize("role", ["tool_maker", "task_writer"])
def test_a_simulator_that_does_not_answer_ends_the_run(
    role: str, settings: dict[str, Any], heldout: MakeHeldout, tmp_path: Path
) -> None:
    class Away(ScriptedLLM):
        async def complete(self, request: Request) -> Completion:
            if request.role == role:
                raise LLMError("connection refused")
            return await super().complete(request)

    benchmark = heldout(settings | {"categories": ["unseen_databases"]}, Away())
    with pytest.raises(UserError, match=r"the (tool maker|task writer) does not answer: .*connection refused"):
        run_heldout(ScriptedLLM(), benchmark, None, tmp_path)


def test_a_failed_user_simulator_is_not_the_models_failure(
    settings: dict[str, Any], heldout: MakeHeldout, tmp_path: Path, serve: Serve
) -> None:
    server = serve(lambda body: say("Hello."))
    benchmark = heldout(settings | {"categories": ["unseen_databases"]}, UselessIn("user"))
    records = benchmark.run(context(server, None), tmp_path)
    assert {(record.success, record.stop_reason) for record in records} == {(None, "infrastructure")}
    assert all(str(record.infrastructure_error).startswith("user: ") for record in records)
    assert server.requests == []


def test_a_server_that_fails_every_third_request_changes_nothing(
    settings: dict[str, Any],
    heldout: MakeHeldout,
    generation: Path,
    tmp_path: Path,
    serve: Serve,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(RetryPolicy, "wait_s", lambda *_: 0.0)
    refused: set[str] = set()

    def healthy(body: dict[str, Any]) -> dict[str, Any]:
        return say(f"I see {len(body['messages'])} messages.")

    def unreliable(body: dict[str, Any]) -> dict[str, Any]:
        request = json.dumps(body["messages"])
        if crc32(request.encode()) % 3 or request in refused:
            return healthy(body)
        refused.add(request)
        return {"status": 500, "message": "out of memory"}

    runs = []
    for name, policy in (("healthy", healthy), ("unreliable", unreliable)):
        records = heldout(settings).run(context(serve(policy), generation), tmp_path / name)
        runs.append(sorted(record.model_copy(update={"seconds": 0.0}).model_dump_json() for record in records))
    assert runs[0] == runs[1]
    assert len(refused) > 10


def test_a_run_resumes_to_the_same_records_after_the_server_died(
    settings: dict[str, Any], heldout: MakeHeldout, generation: Path, tmp_path: Path, serve: Serve
) -> None:
    def answer(body: dict[str, Any]) -> dict[str, Any]:
        return say(f"I see {len(body['messages'])} messages.")

    def records(directory: Path, server: ReplayServer) -> list[str]:
        run = heldout(settings | {"outage_s": 0.2, "timeout_s": 2}).run(context(server, generation), directory)
        return sorted(record.model_copy(update={"seconds": 0.0}).model_dump_json() for record in run)

    undisturbed = records(tmp_path / "undisturbed", serve(answer))

    def dying(body: dict[str, Any]) -> dict[str, Any]:
        if len(server.requests) == 12:
            server.die()
        return answer(body)

    server = serve(dying)
    with pytest.raises(UserError, match=r"no server has answered for 0\.2 s"):
        records(tmp_path / "disturbed", server)
    lines = (tmp_path / "disturbed" / "trials.jsonl").read_text().splitlines()
    assert len(lines) < 12, len(server.requests)
    assert records(tmp_path / "disturbed", serve(answer)) == undisturbed


@pytest.mark.parametrize("top_k", [0, 20])
def test_top_k_0_is_not_sent(
    top_k: int, settings: dict[str, Any], heldout: MakeHeldout, tmp_path: Path, serve: Serve
) -> None:
    def answer(body: dict[str, Any]) -> dict[str, Any]:
        return {"status": 400, "message": "unknown parameter: top_k"} if "top_k" in body else say("Hello.")

    endpoint = serve(answer).endpoint().model_copy(update={"sampling": Sampling(temperature=0.5, top_k=top_k)})
    settings |= {"dialogues": 1, "categories": ["unseen_databases"]}
    (record,) = heldout(settings).run(EvaluationContext(endpoint, 1), tmp_path)
    assert (record.success, "top_k" in str(record.infrastructure_error)) == ((None, True) if top_k else (False, False))
    sent = {"temperature": 0.5, "top_p": 0.95, "max_tokens": 4096}
    assert endpoint.sampling.body() == sent | ({"top_k": top_k} if top_k else {})


def test_trained_databases_need_their_generation_run(
    settings: dict[str, Any], heldout: MakeHeldout, tmp_path: Path, serve: Serve
) -> None:
    server = serve(lambda body: say(""))
    with pytest.raises(UserError, match="need the generation run"):
        heldout(settings).run(context(server, None), tmp_path)
