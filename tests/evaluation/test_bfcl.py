"""BFCL against a server that replays the official ground truth, rightly, wrongly, or not at all."""

from __future__ import annotations

import ast
import json
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from replay import Brain, ReplayServer, Reply, call, say

from core.sampling import Sampling
from core.settings import UserError
from evaluation.bfcl import BfclSettings, aggregate, run
from evaluation.endpoint import Endpoint
from evaluation.results import TrialRecord

REPOSITORY = Path(__file__).parents[2]
PYTHON = REPOSITORY / ".venv-bfcl/bin/python"
TASKS = {
    "simple_python": ("simple_python_1", "simple_python_18"),
    "parallel": ("parallel_7", "parallel_75"),
    "multiple": ("multiple_2", "multiple_29"),
    "irrelevance": ("irrelevance_8", "irrelevance_49"),
    "live_relevance": ("live_relevance_3-3-0", "live_relevance_2-2-0"),
    "multi_turn_base": ("multi_turn_base_29", "multi_turn_base_38"),
}

Serve = Callable[[Brain], ReplayServer]
needs_bfcl = pytest.mark.skipif(not PYTHON.is_file(), reason="BFCL's own environment is not built (make setup)")


def settings(tasks: dict[str, tuple[str, ...]], **more: Any) -> BfclSettings:
    return BfclSettings(smoke=tasks, python=PYTHON, retries=0, attempts=1, **more)


class GroundTruth:
    """Answers as the official ground truth has it; recognises a task by its first user message."""

    def __init__(self, tasks: dict[str, tuple[str, ...]]) -> None:
        data = next(REPOSITORY.glob(".venv-bfcl/lib/python3*/site-packages/bfcl_eval/data"))
        self.tasks: dict[str, tuple[str, Any]] = {}
        for category, ids in tasks.items():
            entries = _lines(data / f"BFCL_v4_{category}.json")
            answers = data / "possible_answer" / f"BFCL_v4_{category}.json"
            truth = {line["id"]: line["ground_truth"] for line in _lines(answers)} if answers.is_file() else {}
            for entry in entries:
                if entry["id"] in ids:
                    opening = next(m["content"] for m in entry["question"][0] if m["role"] == "user")
                    self.tasks[opening] = (entry["id"], truth.get(entry["id"]))

    def name(self, body: dict[str, Any]) -> str:
        return self._task(body)[0]

    def __call__(self, body: dict[str, Any]) -> Reply:
        name, truth = self._task(body)
        if name.startswith("multi_turn"):
            if body["messages"][-1]["role"] != "user":
                return say("Done.")
            turn = sum(message["role"] == "user" for message in body["messages"]) - 1
            return call(*(_parse(text, body["tools"]) for text in truth[turn]), reasoning=f"turn {turn}")
        if "irrelevance" in name:
            return say("None of my tools can do that.")
        if "relevance" in name:
            return call((body["tools"][0]["function"]["name"], {}))
        return call(*(_accepted(answer) for answer in truth))

    def _task(self, body: dict[str, Any]) -> tuple[str, Any]:
        return self.tasks[next(m["content"] for m in body["messages"] if m["role"] == "user")]


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def _accepted(answer: dict[str, dict[str, list[Any]]]) -> tuple[str, dict[str, Any]]:
    ((name, parameters),) = answer.items()
    return name.replace(".", "_"), {key: values[0] for key, values in parameters.items() if values[0] != ""}


def _parse(text: str, tools: list[dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    expression = ast.parse(text, mode="eval").body
    assert isinstance(expression, ast.Call)
    assert isinstance(expression.func, ast.Name)
    name = expression.func.id
    (order,) = (list(t["function"]["parameters"]["properties"]) for t in tools if t["function"]["name"] == name)
    positional = dict(zip(order, expression.args, strict=False))
    named = {keyword.arg: keyword.value for keyword in expression.keywords if keyword.arg}
    return name, {key: ast.literal_eval(value) for key, value in (positional | named).items()}


def outcome(records: Iterable[TrialRecord]) -> dict[str, bool | None]:
    return {record.task_id: record.success for record in records}


@needs_bfcl
@pytest.mark.slow
def test_ground_truth_passes_and_a_spoilt_answer_fails_exactly_there(serve: Serve, tmp_path: Path) -> None:
    truth = GroundTruth(TASKS)
    spoilt = {ids[1] for ids in TASKS.values()}
    opened: Counter[str] = Counter()

    def answer(body: dict[str, Any]) -> Reply:
        name = truth.name(body)
        opened[name] += all(message["role"] != "assistant" for message in body["messages"])
        if opened[name] == 1 or name not in spoilt:
            return truth(body)
        return call((body["tools"][0]["function"]["name"], {})) if name.startswith("irrelevance") else say("No.")

    server = serve(answer)
    both = run(server.endpoint(), settings(TASKS), tmp_path, trials=2)
    names = [name for ids in TASKS.values() for name in ids]
    assert outcome(r for r in both if r.trial == 0) == dict.fromkeys(names, True)
    assert outcome(r for r in both if r.trial == 1) == {name: name not in spoilt for name in names}
    assert aggregate([r for r in both if r.trial == 0])["multi_turn"] == 1.0
    assert aggregate(both) == {
        "non_live": 0.75,
        "live": None,
        "multi_turn": 0.75,
        "irrelevance": 0.75,
        "relevance": 0.75,
    }
    _check_wire(server.requests, both)


def _check_wire(requests: list[dict[str, Any]], records: list[TrialRecord]) -> None:
    sent = requests[0]
    assert (sent["model"], sent["temperature"], sent["top_p"], sent["top_k"], sent["max_tokens"]) == (
        "replay_model/x",
        0.7,
        0.9,
        20,
        256,
    )
    assert len({body["seed"] for body in requests}) == len(requests), "each request has a seed of its own"
    replies = [m for body in requests for m in body["messages"] if m["role"] == "assistant" and m.get("tool_calls")]
    assert replies
    assert all(m["reasoning"] == m["reasoning_content"] == f"turn {m['reasoning'][-1]}" for m in replies)
    multi_turn = next(r for r in records if r.task_id == "multi_turn_base_29")
    assert (multi_turn.calls, multi_turn.valid_calls, multi_turn.stop_reason) == (4, 4, "stop")
    assert multi_turn.completion_tokens > 5


@needs_bfcl
@pytest.mark.slow
def test_a_dead_server_is_not_scored_and_is_tried_again(serve: Serve, dead_endpoint: Endpoint, tmp_path: Path) -> None:
    tasks = {"irrelevance": TASKS["irrelevance"], "simple_python": TASKS["simple_python"]}
    records = run(dead_endpoint, settings(tasks), tmp_path, trials=1)
    assert len(records) == 4
    assert {record.success for record in records} == {None}
    assert all("APIConnectionError" in str(record.infrastructure_error) for record in records)
    assert set(aggregate(records).values()) == {None}
    for path in (tmp_path / "trials.jsonl", next(tmp_path.rglob("*_irrelevance_result.json"))):
        with path.open("a") as file:
            file.write('{"benchmark": "bf')  # as a killed process leaves it
    again = run(serve(GroundTruth(tasks)).endpoint(), settings(tasks), tmp_path, trials=1)
    assert outcome(again) == {name: True for ids in tasks.values() for name in ids}


@needs_bfcl
@pytest.mark.slow
def test_hostile_and_hopeless_models_fail_without_harm(serve: Serve, tmp_path: Path) -> None:
    """A task for each way to fail: code for a tool name, code for an argument name, a context too long, an endless loop."""
    names = tuple(f"multi_turn_base_{number}" for number in (29, 37, 38, 41))
    tasks = {"multi_turn_base": names, "irrelevance": TASKS["irrelevance"][:1]}
    truth = GroundTruth(tasks)
    planted = tmp_path / "planted"
    code = f"__import__('os').mkfifo({str(planted)!r})"
    refusal = "This model's maximum context length is 8192 tokens. However, your request has 9000 input tokens."

    def answer(body: dict[str, Any]) -> Reply:
        name = truth.name(body)
        if name == names[0]:
            told = body["messages"][-1]
            return say("I see.") if told["role"] == "tool" else call((f"{code} or print", {}), ("ls", {}))
        if name == names[1]:
            return say("I see.") if body["messages"][-1]["role"] == "tool" else call(("ls", {f"a={code},b": 1}))
        if name == names[2]:
            return call(("ls", {}))
        return {"status": 400, "message": refusal}

    server = serve(answer)
    records = {r.task_id: r for r in run(server.endpoint(), settings(tasks, max_steps=3), tmp_path / "run", trials=1)}
    assert not planted.exists()
    assert {record.success for record in records.values()} == {False}, (
        "not even irrelevance is passed by a refused request"
    )
    assert records[names[2]].stop_reason == "max_steps"
    assert records[names[3]].stop_reason == records["irrelevance_8"].stop_reason == "context_length"
    assert (records[names[0]].calls, records[names[0]].valid_calls) == (6, 3)
    assert records[names[0]].harness.endswith("3 steps")
    told = [m["content"] for body in server.requests for m in body["messages"] if m["role"] == "tool"]
    assert any("'undeclared_tool' is not defined" in content for content in told), "the model is told what went wrong"


def record(category: str, number: int, success: bool) -> TrialRecord:
    return TrialRecord(
        benchmark="bfcl",
        harness="h",
        category=category,
        task_id=f"{category}_{number}",
        trial=0,
        model="m",
        success=success,
        stop_reason="stop",
        sampling=Sampling(),
    )


def test_aggregates_follow_the_official_weights() -> None:
    records = [record("simple_python", n, True) for n in range(4)] + [record("simple_java", 0, False)]
    records += [record("multiple", 0, True), record("multiple", 1, False), record("irrelevance", 0, True)]
    records += [record("live_simple", 0, False)] + [record("live_multiple", n, True) for n in range(3)]
    figures = aggregate(records)
    assert figures["non_live"] == pytest.approx(0.5), "mean of simple (1 + 0)/2 and multiple 1/2"
    assert figures["live"] == pytest.approx(0.75), "weighted by count"
    assert figures["irrelevance"] == 1.0
    assert figures["multi_turn"] is None


def test_wrong_settings_name_what_is_wrong(tmp_path: Path) -> None:
    endpoint = Endpoint(base_url="http://127.0.0.1:1/v1", model="m")
    with pytest.raises(UserError, match=r"simple_pyhton.*simple_python"):
        run(endpoint, BfclSettings(smoke={"simple_pyhton": ()}), tmp_path, trials=1)
    with pytest.raises(UserError, match="make setup"):
        run(endpoint, BfclSettings(python=tmp_path / "none"), tmp_path, trials=1)
