"""τ²-bench against servers that fail: infrastructure errors are counted, not scored, and run again on resume."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest

from evaluation.known_answers.tau2_model import GoldActions, greet_and_wait, request_origin
from evaluation.tau2.benchmark import Tau2
from evaluation.tau2.tasks import tasks
from evaluation.trials import TrialRecord
from tests.evaluation.helpers.replay import AnswerPolicy, ReplayServer, Reply
from tests.evaluation.helpers.tau2_runs import run_tau2

GOLD = GoldActions()
Serve = Callable[[AnswerPolicy], ReplayServer]
TASKS = tuple(tasks("telecom"))[4::11]
IDLE = TASKS[1::2]
"""Tasks that fail because the agent only waits, so that outcomes differ."""
ENDLESS = TASKS[0]
"""A task whose answers never end."""


def answer(body: dict[str, Any]) -> Reply:
    return greet_and_wait(body) if request_origin(body)[1] in IDLE else GOLD(body)


class FailingPolicy:
    """Like `answer`, but a third of the requests get an error, one task's answers never end, then the server dies."""

    def __init__(self, dies_after: int) -> None:
        self.dies_after = dies_after
        self.server: ReplayServer | None = None
        self.counts: Counter[str] = Counter()

    def __call__(self, body: dict[str, Any]) -> Reply:
        self.counts[body["request_id"]] += 1
        if self.counts.total() > self.dies_after and self.server:
            self.server.die()
        if request_origin(body)[1] == ENDLESS:
            return {"hang": True}
        # Which ones is independent of the other requests in flight; a retry may succeed.
        if crc32(f"{body['request_id']} {self.counts[body['request_id']]}".encode()) % 3 == 0:
            return {"status": 500, "message": "something broke"}
        return answer(body)


def without_times(records: list[TrialRecord]) -> dict[str, TrialRecord]:
    return {record.key: record.model_copy(update={"seconds": 0.0}) for record in records}


@pytest.mark.slow
def test_infrastructure_errors_are_counted_and_resumed_to_the_same_metrics(serve: Serve, tmp_path: Path) -> None:
    benchmark = Tau2(smoke={"telecom": TASKS}, attempts=1)
    undisturbed = run_tau2(benchmark, serve(answer).endpoint(concurrency=4), tmp_path / "undisturbed")
    assert {record.task_id: record.success for record in undisturbed} == {name: name not in IDLE for name in TASKS}

    failing = FailingPolicy(dies_after=34)
    failing.server = serve(failing)
    hasty = Tau2(smoke={"telecom": TASKS}, attempts=1, retries=1, timeout_s=4.0)
    disturbed = run_tau2(hasty, failing.server.endpoint(concurrency=4), tmp_path / "disturbed")
    errored = [record for record in disturbed if record.success is None]
    reasons = Counter(str(record.infrastructure_error).split(":")[1].strip() for record in errored)
    # Whether requests first exceed their time limit or lose their server depends on timing.
    lost = {"APIConnectionError", "APITimeoutError", "TimeoutError"}
    assert reasons["InternalServerError"], "the failing third"
    assert lost & set(reasons), "the dead server"
    assert set(reasons) <= {"InternalServerError", *lost}
    assert ENDLESS in {record.task_id for record in errored}
    assert len(disturbed) == len(TASKS)
    assert 0 < len(errored) < len(TASKS)
    assert (
        without_times([record for record in disturbed if record not in errored]).items()
        <= without_times(undisturbed).items()
    )

    resumed = run_tau2(benchmark, serve(answer).endpoint(concurrency=4), tmp_path / "disturbed")
    assert without_times(resumed) == without_times(undisturbed)
    lines = (tmp_path / "disturbed" / "trials.jsonl").read_text().count("\n")
    assert lines == len(TASKS) + len(errored), "completed trials do not run again"


@pytest.mark.slow
@pytest.mark.parametrize("usage", [{}, {"usage": {"prompt_tokens": 9, "total_tokens": 30}}], ids=["none", "half"])
def test_trials_are_scored_although_the_server_counts_no_tokens(
    usage: dict[str, Any], serve: Serve, tmp_path: Path
) -> None:
    def uncounted(body: dict[str, Any]) -> Reply:
        choice = {"index": 0, "message": {"role": "assistant", **greet_and_wait(body)}, "finish_reason": "stop"}
        return {"answer": {"id": "r", "model": "m", "choices": [choice], **usage}}

    benchmark = Tau2(smoke={"telecom": TASKS[:1]}, attempts=1, max_steps=4)
    (record,) = run_tau2(benchmark, serve(uncounted).endpoint(), tmp_path)
    assert (record.success, record.prompt_tokens, record.completion_tokens) == (False, None, None)


@pytest.mark.slow
def test_a_context_refusal_within_a_reply_is_the_models_failure(serve: Serve, tmp_path: Path) -> None:
    refusal = {"error": {"message": "prompt is too long", "code": 400}}
    user = serve(answer).endpoint()
    benchmark = Tau2(smoke={"telecom": TASKS[:1]}, attempts=1, user=user)
    (record,) = run_tau2(benchmark, serve(lambda body: {"answer": refusal}).endpoint(), tmp_path)
    assert (record.success, record.stop_reason) == (False, "context_length")
