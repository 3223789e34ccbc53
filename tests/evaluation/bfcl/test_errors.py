"""BFCL on bad days: servers that fail in every way, and runs that are killed. What is lost is no score; a resumed run ends with the
figures of an undisturbed one."""

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

from evaluation.bfcl.benchmark import run
from evaluation.bfcl.categories import aggregate
from evaluation.bfcl.worker.memory import prerequisites, restore
from evaluation.known_answers.bfcl_model import GroundTruth, half_broken, number
from tests.evaluation.helpers.bfcl_runs import PYTHON, Serve, needs_bfcl, outcome, settings
from tests.evaluation.helpers.replay import Reply
from tests.helpers.paths import ROOT

QUESTIONS = ("memory_rec_sum_140-notetaker-10", "memory_rec_sum_141-notetaker-11")
TASKS = {
    "simple_python": tuple(f"simple_python_{n}" for n in range(6)),
    "irrelevance": tuple(f"irrelevance_{n}" for n in range(6)),
    "multi_turn_base": ("multi_turn_base_29", "multi_turn_base_38"),
    "memory_rec_sum": QUESTIONS,
}
ENDLESS = ("irrelevance_2", "multi_turn_base_29", "memory_rec_sum_prereq_34-notetaker-2")
HALF = {name: number(name) % 2 == 0 for ids in TASKS.values() for name in ids}
"""What a model whose every second answer is wrong scores, undisturbed."""


@pytest.fixture(scope="module")
def truth() -> GroundTruth:
    return GroundTruth(PYTHON)


def notes(requests: list[dict[str, Any]]) -> set[str]:
    """What the memory said when a question was asked."""
    return {
        body["messages"][0]["content"]
        for body in requests
        if "prereq" not in body["request_id"] and "memory" in body["request_id"]
    }


def in_order(memory: str) -> bool:
    """Whether each of the five conversations before the questions left its note once, in turn."""
    places = [memory.find(f"[memory_rec_sum_prereq_{n}-notetaker-{n - 32}]") for n in range(32, 37)]
    return -1 not in places and places == sorted(places) and memory.count("[memory_rec_sum_prereq_") == 5


class Ill:
    """A brain that fails in its own way."""

    def __init__(self, way: str, brain: Callable[[dict[str, Any]], Reply]) -> None:
        self.way = way
        self.brain = brain
        self.count = 0
        self.die: Callable[[], None] = lambda: None

    def __call__(self, body: dict[str, Any]) -> Reply:
        self.count += 1
        task = body["request_id"].split("/")[1]
        if self.way == "a third of requests" and self.count % 3 == 0:
            return {"status": 500, "message": "not now"}
        if self.way == "dies half-way" and self.count == 12:
            self.die()
        if self.way == "never ends" and task in ENDLESS:
            return {"hang": True}
        return self.brain(body)


@needs_bfcl
@pytest.mark.slow
@pytest.mark.parametrize("way", ["dead", "dies half-way", "a third of requests", "never ends"])
def test_what_a_server_loses_is_no_score_and_is_made_up_for(
    way: str, serve: Serve, truth: GroundTruth, tmp_path: Path
) -> None:
    model = half_broken(truth)
    ill = Ill(way, model)
    server = serve(ill)
    ill.die = server.die
    if way == "dead":
        server.close()
    records = run(server.endpoint(concurrency=4), settings(TASKS, timeout_s=2.0), tmp_path, trials=1)
    found = outcome(records)
    lost = {name for name, success in found.items() if success is None}
    assert lost
    assert all(found[name] == HALF[name] for name in HALF if name in found and name not in lost), (
        "what was held is right"
    )
    assert all(record.infrastructure_error for record in records if record.success is None)
    if way == "dead":
        assert lost == set(HALF)
        assert set(aggregate(records).values()) == {None}
    if way == "never ends":
        assert lost == {"irrelevance_2", "multi_turn_base_29", *QUESTIONS}
        errors = {record.task_id: str(record.infrastructure_error) for record in records}
        assert "did not end within 2 s" in errors["irrelevance_2"]
        assert "its prerequisite memory_rec_sum_prereq_34-notetaker-2 was lost" in errors[QUESTIONS[0]]

    well = serve(model)
    again = run(well.endpoint(), settings(TASKS), tmp_path, trials=1)
    assert outcome(again) == HALF
    assert not {body["request_id"].split("/")[1] for body in well.requests} & (set(found) - lost), (
        "nothing is held twice"
    )
    if any(name in lost for name in QUESTIONS):
        assert all(map(in_order, notes(well.requests)))


@needs_bfcl
@pytest.mark.slow
def test_a_killed_run_goes_on_from_the_ids_that_are_there(serve: Serve, truth: GroundTruth, tmp_path: Path) -> None:
    """kill -9 in the middle of the conversations that fill the memory, with other tasks in flight."""
    reached, killed = threading.Event(), threading.Event()

    def brain(body: dict[str, Any]) -> Reply:
        if "prereq_34-notetaker-2" in body["request_id"]:
            reached.set()
            if not killed.is_set():
                return {"hang": True}  # or the worker might be through before it is ended
        return truth(body)

    server = serve(brain)
    owner = (
        "import sys; sys.path.insert(0, 'tests/evaluation'); from pathlib import Path; from bfcl_runs import settings; "
        "from evaluation.bfcl.benchmark import run; from evaluation.endpoint import Endpoint; "
        f"run(Endpoint(base_url={server.base_url!r}, model='m', concurrency=2), settings({TASKS!r}), Path({str(tmp_path)!r}), 1)"
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
    records = run(server.endpoint(), settings(TASKS), tmp_path, trials=1)
    assert outcome(records) == dict.fromkeys(HALF, True)
    later = server.requests[before:]
    assert not done & {body["request_id"].split("/")[1] for body in later}
    assert notes(later)
    assert all(map(in_order, notes(later)))


def test_a_memory_goes_back_to_the_last_conversation_that_counts(tmp_path: Path) -> None:
    """The run was killed after the third conversation was in the memory and before its result was written."""
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
    (checkpoints / f"{names[1]}.json").unlink()  # answered, but too long for the model: it left nothing
    restore(tmp_path, chains, set(names[:2]))
    assert memory.read_text() == names[0]
    restore(tmp_path, chains, set())
    assert not memory.exists()
