"""BFCL with servers that fail in every way, and with killed runs.

Infrastructure errors are not scored, and a resumed run ends with the metrics of an undisturbed one.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evaluation.bfcl.categories import aggregate
from evaluation.bfcl.worker.memory import prerequisites, restore
from evaluation.known_answers.bfcl_model import GroundTruth, half_wrong, task_number
from tests.evaluation.helpers.bfcl_runs import PYTHON, Serve, bfcl, needs_bfcl, outcomes
from tests.evaluation.helpers.replay import UNCOUNTED, AnswerPolicy, Reply
from tests.evaluation.helpers.trials import run_trials
from tests.helpers.paths import ROOT

QUESTIONS = ("memory_rec_sum_140-notetaker-10", "memory_rec_sum_141-notetaker-11")
TASKS = {
    "simple_python": tuple(f"simple_python_{n}" for n in range(6)),
    "irrelevance": tuple(f"irrelevance_{n}" for n in range(6)),
    "multi_turn_base": ("multi_turn_base_29", "multi_turn_base_38"),
    "memory_rec_sum": QUESTIONS,
}
ENDLESS = ("irrelevance_2", "multi_turn_base_29", "memory_rec_sum_prereq_34-notetaker-2")
HALF = {name: task_number(name) % 2 == 0 for ids in TASKS.values() for name in ids}
"""The undisturbed outcomes of a model whose every second answer is wrong."""


@pytest.fixture(scope="module")
def truth() -> GroundTruth:
    return GroundTruth(PYTHON)


def memories(requests: list[dict[str, Any]]) -> set[str]:
    """The memory contents that the questions showed to the model."""
    return {
        body["messages"][0]["content"]
        for body in requests
        if "prereq" not in body["request_id"] and "memory" in body["request_id"]
    }


def in_order(memory: str) -> bool:
    """Whether each of the five prerequisite conversations left its note once, in order."""
    places = [memory.find(f"[memory_rec_sum_prereq_{n}-notetaker-{n - 32}]") for n in range(32, 37)]
    return -1 not in places and places == sorted(places) and memory.count("[memory_rec_sum_prereq_") == 5


class FailingPolicy:
    """Replies like `policy`, except for one kind of failure."""

    def __init__(self, failure: str, policy: AnswerPolicy) -> None:
        self.failure = failure
        self.policy = policy
        self.count = 0
        self.die: Callable[[], None] = lambda: None

    def __call__(self, body: dict[str, Any]) -> Reply:
        self.count += 1
        task = body["request_id"].split("/")[1]
        if self.failure == "a third of requests" and self.count % 3 == 0:
            return {"status": 500, "message": "not now"}
        if self.failure == "dies half-way" and self.count == 12:
            self.die()
        if self.failure == "never ends" and task in ENDLESS:
            return {"hang": True}
        return self.policy(body)


@needs_bfcl
@pytest.mark.slow
@pytest.mark.parametrize("failure", ["dead", "dies half-way", "a third of requests", "never ends"])
def test_infrastructure_errors_are_not_scored_and_run_again_on_resume(
    failure: str, serve: Serve, truth: GroundTruth, tmp_path: Path
) -> None:
    model = half_wrong(truth)
    failing = FailingPolicy(failure, model)
    server = serve(failing)
    failing.die = server.die
    if failure == "dead":
        server.close()
    records = run_trials(bfcl(TASKS, timeout_s=2.0), server.endpoint(concurrency=4), tmp_path)
    first_run = outcomes(records)
    errored = {name for name, success in first_run.items() if success is None}
    assert errored
    assert all(first_run[name] == HALF[name] for name in HALF if name in first_run and name not in errored), (
        "completed trials are right"
    )
    assert all(record.infrastructure_error for record in records if record.success is None)
    if failure == "dead":
        assert errored == set(HALF)
        assert set(aggregate(records).values()) == {None}
    if failure == "never ends":
        assert errored == {"irrelevance_2", "multi_turn_base_29", *QUESTIONS}
        errors = {record.task_id: str(record.infrastructure_error) for record in records}
        assert "did not end within 2 s" in errors["irrelevance_2"]
        assert "its prerequisite memory_rec_sum_prereq_34-notetaker-2 was not answered" in errors[QUESTIONS[0]]

    healthy = serve(model)
    resumed = run_trials(bfcl(TASKS), healthy.endpoint(), tmp_path)
    assert outcomes(resumed) == HALF
    assert not {body["request_id"].split("/")[1] for body in healthy.requests} & (set(first_run) - errored), (
        "no trial runs twice"
    )
    if any(name in errored for name in QUESTIONS):
        assert all(map(in_order, memories(healthy.requests)))


@needs_bfcl
@pytest.mark.slow
def test_a_killed_run_resumes_without_its_answered_tasks(serve: Serve, truth: GroundTruth, tmp_path: Path) -> None:
    """SIGKILL during the conversations that fill the memory, with other tasks in flight."""
    reached, killed = threading.Event(), threading.Event()

    def policy(body: dict[str, Any]) -> Reply:
        if "prereq_34-notetaker-2" in body["request_id"]:
            reached.set()
            if not killed.is_set():
                return {"hang": True}  # else the worker might finish before it is killed
        return truth(body)

    server = serve(policy)
    owner = (
        "from pathlib import Path; from evaluation.endpoint import Endpoint; "
        "from tests.evaluation.helpers.bfcl_runs import bfcl; from tests.evaluation.helpers.trials import run_trials; "
        f"endpoint = Endpoint(base_url={server.base_url!r}, model='m', concurrency=2); "
        f"run_trials(bfcl({TASKS!r}), endpoint, Path({str(tmp_path)!r}))"
    )
    process = subprocess.Popen([sys.executable, "-c", owner], cwd=ROOT)
    assert reached.wait(60)
    process.send_signal(signal.SIGKILL)
    process.wait()
    killed.set()
    before = len(server.requests)
    while time.sleep(1.0) or len(server.requests) > before:  # the worker ends within a second
        before = len(server.requests)
    results = (tmp_path / "trial-0" / "result").rglob("*_result.json")
    done = {json.loads(line)["id"] for path in results for line in path.read_text().split("\n")[:-1]}
    assert done
    records = run_trials(bfcl(TASKS), server.endpoint(), tmp_path)
    assert outcomes(records) == dict.fromkeys(HALF, True)
    later = server.requests[before:]
    assert not done & {body["request_id"].split("/")[1] for body in later}
    assert memories(later)
    assert all(map(in_order, memories(later)))


def test_a_memory_is_restored_to_the_last_answered_conversation(tmp_path: Path) -> None:
    """The run was killed after the memory included the third conversation and before its result was written."""
    checkpoints = tmp_path / "prereq_checkpoints"
    checkpoints.mkdir()
    entries = [
        {
            "id": f"memory_kv_prereq_{n}-s-{n}",
            "scenario": "s",
            "depends_on": [f"memory_kv_prereq_{m}-s-{m}" for m in range(n)],
        }
        for n in range(11)
    ]
    names = [entry["id"] for entry in entries]
    chains = prerequisites([*reversed(entries), {"id": "memory_kv_0-s-0", "scenario": "s", "depends_on": names}])
    assert chains == {"s": names}
    for name in names[:3]:
        (checkpoints / f"{name}.json").write_text(name)
    memory = tmp_path / "s_final.json"
    memory.write_text("torn")
    restore(tmp_path, chains, set(names[:2]))
    assert memory.read_text() == names[1]
    (checkpoints / f"{names[1]}.json").unlink()  # answered, but it exceeded the model's context: no checkpoint
    restore(tmp_path, chains, set(names[:2]))
    assert memory.read_text() == names[0]
    restore(tmp_path, chains, set())
    assert not memory.exists()


@needs_bfcl
@pytest.mark.slow
def test_answers_are_scored_although_the_server_counts_no_tokens(serve: Serve, tmp_path: Path) -> None:
    server = serve(lambda body: {"answer": UNCOUNTED})
    tasks = {"irrelevance": ("irrelevance_0", "irrelevance_1")}
    record, _ = run_trials(bfcl(tasks), server.endpoint(), tmp_path)
    assert (record.success, record.truncations) == (True, 1)
    assert (record.prompt_tokens, record.completion_tokens) == (None, None)
