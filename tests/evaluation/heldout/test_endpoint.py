"""The held-out benchmark against a server: what was lost is no score, and what was held is not held again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

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
from tests.evaluation.helpers.heldout import Make, hold
from tests.evaluation.helpers.replay import AnswerPolicy, ReplayServer, call, say

Serve = Callable[[AnswerPolicy], ReplayServer]


def context(server: ReplayServer, generation: Path | None, trials: int = 1) -> EvaluationContext:
    return EvaluationContext(server.endpoint(), trials, generation)


def test_an_agent_that_does_nothing_scores_nothing(
    settings: dict[str, Any], heldout: Make, generation: Path, tmp_path: Path, serve: Serve
) -> None:
    server = serve(lambda body: say("I am here to help."))
    records = heldout(settings).run(context(server, generation), tmp_path)
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
def test_garbage_is_the_models_failure(
    reply: dict[str, Any], stop: str, valid: int, settings: dict[str, Any], heldout: Make, tmp_path: Path, serve: Serve
) -> None:
    settings |= {"dialogues": 2, "categories": ["unseen_databases"]}
    records = heldout(settings).run(context(serve(lambda body: dict(reply)), None), tmp_path)
    assert [(r.success, r.stop_reason, r.valid_calls) for r in records] == [(False, stop, valid)] * 2
    assert {r.truncations for r in records} == {int("cut off" in stop)}


def test_what_was_lost_to_infrastructure_is_held_later_and_what_was_held_is_not_held_again(
    settings: dict[str, Any],
    heldout: Make,
    generation: Path,
    tmp_path: Path,
    serve: Serve,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(RetryPolicy, "wait_s", lambda *_: 0.0)
    ill = True

    def brain(body: dict[str, Any]) -> dict[str, Any]:
        broken = ill and "library" in body["messages"][0]["content"]
        return {"status": 500, "message": "out of memory"} if broken else say("I am here to help.")

    benchmark, server = heldout(settings), serve(brain)
    first = benchmark.run(context(server, generation), tmp_path)
    lost = [record for record in first if record.success is None]
    assert {r.axes["database"] for r in lost} == {"library"}
    assert all("out of memory" in str(record.infrastructure_error) for record in lost)
    summary = summarize(first, (1,))
    assert (summary.infrastructure_errors, summary.trials) == (len(lost), 12 - len(lost))
    alone = summarize(lost, (1,))
    assert (alone.pass_at, alone.valid_call_rate) == ({1: None}, None)
    ill = False
    before = len(server.requests)
    second = benchmark.run(context(server, generation), tmp_path)
    assert [r.key for r in second] == [r.key for r in first]
    assert {r.success for r in second} == {False}
    assert {"library" in body["messages"][0]["content"] for body in server.requests[before:]} == {True}


def test_a_server_that_never_was_there_is_a_clear_error_and_no_score(
    settings: dict[str, Any], heldout: Make, tmp_path: Path, dead_endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RetryPolicy, "wait_s", lambda *_: 0.0)
    settings |= {"categories": ["unseen_databases"]}
    with pytest.raises(UserError, match=f"no OpenAI-compatible server answers at {dead_endpoint.base_url}"):
        heldout(settings).run(EvaluationContext(dead_endpoint, 1), tmp_path)
    assert (tmp_path / "trials.jsonl").read_text() == ""


class Deaf(ScriptedLLM):
    """A partner who cannot do one thing."""

    def __init__(self, role: str) -> None:
        super().__init__()
        self.role = role

    async def complete(self, request: Request) -> Completion:
        completion = await super().complete(request)
        return Completion(AssistantMessage(content="no idea")) if request.role == self.role else completion


def test_tasks_that_cannot_be_written_end_the_run(
    settings: dict[str, Any], heldout: Make, tmp_path: Path, serve: Serve
) -> None:
    server = serve(lambda body: say("Hello."))
    benchmark = heldout(settings | {"categories": ["unseen_databases"], "dialogues": 1}, Deaf("task_writer"))
    with pytest.raises(UserError, match="no task could be written for unseen_databases in 30 attempts"):
        benchmark.run(context(server, None), tmp_path)
    assert server.requests == []


class Fickle(ScriptedLLM):
    """A task writer who refuses every second time that it is asked, whatever for."""

    asked = 0

    async def complete(self, request: Request) -> Completion:
        completion = await super().complete(request)
        self.asked += request.role == "task_writer"
        refuses = request.role == "task_writer" and self.asked % 2 == 0
        return Completion(AssistantMessage(content="no idea")) if refuses else completion


@pytest.mark.parametrize("waves", [30, 1])
def test_every_model_and_every_resumed_run_gets_the_same_tasks_of_a_fickle_writer(
    waves: int, settings: dict[str, Any], heldout: Make, tmp_path: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heldout_tasks, "_WAVES", waves)
    settings |= {"categories": ["unseen_databases"], "dialogues": 3, "tasks": settings["tasks"] | {"attempts": 1}}
    writer, server = Fickle(), serve(lambda body: say("Hello."))
    tasks, asked = [], []
    for model in ("first", "second", "first"):
        given = EvaluationContext(server.endpoint(), 1, shared=tmp_path / "shared")
        tasks.append([record.key for record in heldout(settings, writer).run(given, tmp_path / model)])
        asked.append(writer.asked)
    assert len(tasks[0]) == 3 if waves > 1 else 0 < len(tasks[0]) < 3, "a cell may stay short"
    assert tasks == [tasks[0]] * 3
    assert asked == [asked[0]] * 3, "what was refused is not asked for again"


@pytest.mark.parametrize("role", ["tool_maker", "task_writer"])
def test_a_partner_who_does_not_answer_ends_the_run(
    role: str, settings: dict[str, Any], heldout: Make, tmp_path: Path
) -> None:
    class Away(ScriptedLLM):
        async def complete(self, request: Request) -> Completion:
            if request.role == role:
                raise LLMError("nobody is there")
            return await super().complete(request)

    benchmark = heldout(settings | {"categories": ["unseen_databases"]}, Away())
    with pytest.raises(UserError, match=r"who (makes the tools|writes the tasks) does not answer: .*nobody is there"):
        hold(ScriptedLLM(), benchmark, None, tmp_path)


def test_a_user_who_cannot_speak_is_not_the_models_failure(
    settings: dict[str, Any], heldout: Make, tmp_path: Path, serve: Serve
) -> None:
    server = serve(lambda body: say("Hello."))
    benchmark = heldout(settings | {"categories": ["unseen_databases"]}, Deaf("user"))
    records = benchmark.run(context(server, None), tmp_path)
    assert {(record.success, record.stop_reason) for record in records} == {(None, "infrastructure")}
    assert all(str(record.infrastructure_error).startswith("user: ") for record in records)
    assert server.requests == []


def test_a_server_that_fails_every_third_request_changes_nothing(
    settings: dict[str, Any],
    heldout: Make,
    generation: Path,
    tmp_path: Path,
    serve: Serve,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(RetryPolicy, "wait_s", lambda *_: 0.0)
    count = 0

    def healthy(body: dict[str, Any]) -> dict[str, Any]:
        return say(f"I see {len(body['messages'])} messages.")

    def ill(body: dict[str, Any]) -> dict[str, Any]:
        nonlocal count
        count += 1
        return {"status": 500, "message": "out of memory"} if count % 3 == 0 else healthy(body)

    held = []
    for name, brain in (("healthy", healthy), ("ill", ill)):
        records = heldout(settings).run(context(serve(brain), generation), tmp_path / name)
        held.append(sorted(record.model_copy(update={"seconds": 0.0}).model_dump_json() for record in records))
    assert held[0] == held[1]


def test_a_server_that_dies_half_way_costs_nothing_once_it_is_back(
    settings: dict[str, Any], heldout: Make, generation: Path, tmp_path: Path, serve: Serve
) -> None:
    def brain(body: dict[str, Any]) -> dict[str, Any]:
        return say(f"I see {len(body['messages'])} messages.")

    def records(directory: Path, server: ReplayServer) -> list[str]:
        held = heldout(settings | {"outage_s": 0.2, "timeout_s": 2}).run(context(server, generation), directory)
        return sorted(record.model_copy(update={"seconds": 0.0}).model_dump_json() for record in held)

    undisturbed = records(tmp_path / "undisturbed", serve(brain))

    def dying(body: dict[str, Any]) -> dict[str, Any]:
        if len(server.requests) == 15:
            server.die()
        return brain(body)

    server = serve(dying)
    with pytest.raises(UserError, match=r"no server has answered for 0\.2 s"):
        records(tmp_path / "disturbed", server)
    lines = (tmp_path / "disturbed" / "trials.jsonl").read_text().splitlines()
    assert len(lines) < 12, len(server.requests)
    assert records(tmp_path / "disturbed", serve(brain)) == undisturbed


@pytest.mark.parametrize("top_k", [0, 20])
def test_top_k_is_left_out_for_servers_that_refuse_it(
    top_k: int, settings: dict[str, Any], heldout: Make, tmp_path: Path, serve: Serve
) -> None:
    def brain(body: dict[str, Any]) -> dict[str, Any]:
        return {"status": 400, "message": "unknown parameter: top_k"} if "top_k" in body else say("Hello.")

    endpoint = serve(brain).endpoint().model_copy(update={"sampling": Sampling(temperature=0.5, top_k=top_k)})
    settings |= {"dialogues": 1, "categories": ["unseen_databases"]}
    (record,) = heldout(settings).run(EvaluationContext(endpoint, 1), tmp_path)
    assert (record.success, "top_k" in str(record.infrastructure_error)) == ((None, True) if top_k else (False, False))
    sent = {"temperature": 0.5, "top_p": 0.95, "max_tokens": 4096}
    assert endpoint.sampling.body() == sent | ({"top_k": top_k} if top_k else {})


def test_trained_databases_need_their_run(
    settings: dict[str, Any], heldout: Make, tmp_path: Path, serve: Serve
) -> None:
    server = serve(lambda body: say(""))
    with pytest.raises(UserError, match="need the generation run"):
        heldout(settings).run(context(server, None), tmp_path)
