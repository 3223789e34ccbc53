"""Uses of exported tasks: verifiers and inspect give the verdicts of our own validation, and every format loads."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import inspect_ai
import pytest
from hydra import compose, initialize_config_dir
from inspect_ai.model import get_model

from core.dialogue import Dialogue
from core.journal import read_jsonl
from core.manifest import read_manifest
from core.settings import UserError
from generation.export.preferences import Pair, StartingWith
from generation.export.report import Report
from generation.export.task_hash import HASHES, TaskHash, set_hash
from generation.start_states.start_states import read_dialogue
from generation.worlds.inspect_task import world_task
from generation.worlds.task_line import TaskLine
from generation.worlds.worlds import Played, Worlds
from scripts import export as export_script
from scripts import generate as generate_script
from scripts.launch import CONF
from tests.evaluation.helpers.replay import ReplayServer
from tests.helpers.paths import ROOT
from tests.scripts.helpers.known_agents import AGENTS, in_process, served

TASKS = 20


def run(script: Any, name: str, outputs: Path, *overrides: str) -> Path:
    """Run a stage in this process; returns its newest finished run."""
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        script.main(compose(name, [f"outputs={outputs}", *overrides]))
    return (outputs / name / "latest").resolve()


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generation run with policies and every kind of request. The full system message states the time, which tells
    the dialogues apart."""
    outputs = tmp_path_factory.mktemp("outputs")
    prompts = "variety.system_prompts={full: 1.0, brief: 0.0, rules_first: 0.0, none: 0.0}"
    options = ("profile=small", "pipeline=user_oriented_exec", "n=16", "domains.names=[clinic,gym,library]", prompts)
    run(generate_script, "generate", outputs, *options, "policy_rules=6", "tracking.mode=disabled", "report=null")
    return outputs


@pytest.fixture(scope="module")
def export(outputs: Path) -> Path:
    return run(export_script, "export", outputs, "benchmarks=[]", "as=[sft,rl,inspect]")


@pytest.fixture(scope="module")
def folder(export: Path) -> Path:
    """A folder of worlds."""
    return export / "inspect/worlds"


@pytest.fixture(scope="module")
def lines(folder: Path) -> list[TaskLine]:
    return list(read_jsonl(folder / "tasks.jsonl", TaskLine))


@pytest.fixture(scope="module")
def verdicts(folder: Path, lines: list[TaskLine]) -> dict[str, dict[str, Played]]:
    """Agent -> task -> what our own validation says of it."""

    async def play(worlds: Worlds, name: str) -> dict[str, Played]:
        return {line.task_id: await worlds.play(line.start, in_process(name, line)) for line in lines[:TASKS]}

    with Worlds.open(folder) as worlds:
        return {name: asyncio.run(play(worlds, name)) for name in AGENTS}


@pytest.fixture(scope="module")
def server(lines: list[TaskLine]) -> Iterator[ReplayServer]:
    server = ReplayServer(served(lines))
    yield server
    server.close()


def rewards(played: dict[str, Played]) -> dict[str, float]:
    return {task_id: one.reward for task_id, one in played.items()}


def test_only_the_right_agent_is_rewarded(lines: list[TaskLine], verdicts: dict[str, dict[str, Played]]) -> None:
    assert len(verdicts["gold"]) == TASKS
    assert {task_id: one.reasons for task_id, one in verdicts["gold"].items() if not one.solved} == {}
    assert set(rewards(verdicts["silent"]).values()) == {0.0}
    broken = [
        one for one in verdicts["careless"].values() if any(c.name == "policy" and not c.passed for c in one.checks)
    ]
    assert broken, "no task that the policy decides"
    assert {one.reward for one in broken} == {0.0}


def test_a_task_starts_where_its_dialogue_had_led(
    lines: list[TaskLine], verdicts: dict[str, dict[str, Played]]
) -> None:
    later = [line for line in lines[:TASKS] if len(line.start.tasks) > 1]
    assert later
    for line in later:
        played = verdicts["gold"][line.task_id].dialogue
        assert played.messages[: len(line.start.messages)] == line.start.messages
        assert len(played.task_starts) == len(line.start.tasks)


def test_inspect_gives_the_same_verdicts(
    folder: Path, server: ReplayServer, verdicts: dict[str, dict[str, Played]], tmp_path: Path
) -> None:
    for name in AGENTS:
        model = get_model(f"openai-api/served/{name}", base_url=server.base_url, api_key="none")
        (log,) = inspect_ai.eval(
            world_task(folder), model=model, limit=TASKS, log_dir=str(tmp_path), display="none", max_retries=0
        )
        assert log.status == "success", log.error
        assert log.samples
        assert {str(s.id): s.scores["proof"].value for s in log.samples if s.scores} == rewards(verdicts[name]), name


def test_inspect_counts_pass_hat_k(folder: Path, server: ReplayServer, tmp_path: Path) -> None:
    model = get_model("openai-api/served/gold", base_url=server.base_url, api_key="none")
    task = world_task(folder, epochs=2)
    (log,) = inspect_ai.eval(task, model=model, limit=2, log_dir=str(tmp_path), display="none", max_retries=0)
    assert log.results
    assert [score.reducer for score in log.results.scores] == ["mean", "pass_k_1", "pass_k_2"]
    assert {score.metrics["accuracy"].value for score in log.results.scores} == {1.0}


@pytest.fixture(scope="module")
def verifiers() -> Path:
    """The environment of verifiers. Skipped where no package index can be reached."""
    built = subprocess.run([ROOT / "scripts/setup_verifiers.sh"], cwd=ROOT, capture_output=True, text=True, check=False)
    if built.returncode:
        pytest.skip(f"verifiers cannot be installed: {built.stderr.strip()[-300:]}")
    return ROOT / ".venv-verifiers/bin/vf-eval"


@pytest.mark.slow
def test_verifiers_gives_the_same_rewards(
    verifiers: Path, export: Path, server: ReplayServer, verdicts: dict[str, dict[str, Played]], tmp_path: Path
) -> None:
    environment = {**os.environ, "PYTHONPATH": f"{export / 'rl'}:{ROOT}", "HOME": str(tmp_path)}
    for name in AGENTS:
        options = ("--model", name, "--client.base-url", server.base_url, "-n", str(TASKS), "--no-push", "--no-rich")
        command = [verifiers, "user_oriented_tasks", *options, "--output-dir", tmp_path, "--run.name", name]
        done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        episodes = [json.loads(line) for line in (tmp_path / name / "traces.jsonl").read_text().splitlines()]
        traces = [trace for episode in episodes for trace in episode["traces"]]
        assert all(trace["ok"] for trace in traces)
        found = {trace["task"]["data"]["id"]: trace["rewards"]["solved"]["score"] for trace in traces}
        assert found == rewards(verdicts[name]), name


def test_an_agent_sees_neither_goal_nor_solution(
    folder: Path, server: ReplayServer, lines: list[TaskLine], tmp_path: Path
) -> None:
    line = next(line for line in lines if line.task.kind == "plain" and line.task.mutates)
    model = get_model("openai-api/served/gold", base_url=server.base_url, api_key="none")
    before = len(server.requests)
    (log,) = inspect_ai.eval(
        world_task(folder), model=model, sample_id=line.task_id, log_dir=str(tmp_path), display="none", max_retries=0
    )
    assert log.samples
    seen = json.dumps(server.requests[before], ensure_ascii=False) + json.dumps(log.samples[0].metadata)
    assert line.task.goal not in seen
    assert "gold_calls" not in seen
    assert not any(criterion in seen for criterion in line.task.rubric.criteria)


def test_one_hash_stands_for_the_tasks_of_all_uses(export: Path, lines: list[TaskLine]) -> None:
    report = Report.model_validate_json((export / "report.json").read_text())
    listed = list(read_jsonl(export / HASHES, TaskHash))
    assert report.tasks.hash == set_hash(line.task_hash for line in listed)
    assert report.tasks.hash in (export / "README.md").read_text()
    assert read_manifest(export).results["tasks"]["hash"] == report.tasks.hash
    by_task = {f"{line.dialogue_id}/{line.task}": line.task_hash for line in listed}
    assert all(by_task[line.task_id] == line.task_hash for line in lines)
    assert report.uses == {"sft": report.pipelines["user_oriented_exec"].kept, "rl": len(lines), "inspect": len(lines)}
    in_package = read_jsonl(export / "rl/user_oriented_tasks/worlds/tasks.jsonl", TaskLine)
    assert list(in_package) == lines


def test_tasks_of_an_earlier_export_are_left_out(outputs: Path, export: Path, tmp_path: Path) -> None:
    hashes = list(read_jsonl(export / HASHES, TaskHash))
    first = hashes[0]
    kept = tmp_path / HASHES
    kept.write_text(first.model_dump_json() + "\n")
    held_out = run(export_script, "export", outputs, "benchmarks=[]", f"held_out=[{kept}]")
    removed = [json.loads(line) for line in (held_out / "removed.jsonl").read_text().splitlines()]
    assert {line["why"] for line in removed} == {"tasks"}
    assert first.dialogue_id in {line["dialogue_id"] for line in removed}
    left = {line.task_hash for line in read_jsonl(held_out / HASHES, TaskHash)}
    assert first.task_hash not in left
    assert left | {first.task_hash} <= {line.task_hash for line in hashes}
    with pytest.raises(UserError, match=r"none of .* remains"):
        run(export_script, "export", outputs, "benchmarks=[]", f"held_out={export}")
    with pytest.raises(UserError, match="held_out=/nowhere was given"):
        run(export_script, "export", outputs, "benchmarks=[]", "held_out=/nowhere")


def test_preferences_are_pairs_that_execution_decides(outputs: Path, folder: Path, tmp_path: Path) -> None:
    """Both messages are played again from the fork, here by the agent that knows the task."""
    exported = run(export_script, "export", outputs, "benchmarks=[]", "as=[preferences]")
    pairs = list(read_jsonl(exported / "preferences/pairs.jsonl", Pair))
    assert {"changed before asking"} <= {pair.why for pair in pairs}
    rows = datasets.load_dataset(str(exported), "preferences", split="train", cache_dir=str(tmp_path))
    assert len(rows) == len(pairs)
    assert {"prompt", "chosen", "rejected", "tools"} <= set(rows.column_names)
    given = {
        d.dialogue_id: d for d in read_jsonl(outputs / "generate/latest/user_oriented_exec/dialogues.jsonl", Dialogue)
    }

    async def replays(worlds: Worlds, pair: Pair) -> tuple[bool, bool]:
        original = given[pair.dialogue_id]
        known = in_process("gold", worlds.tasks[f"{pair.dialogue_id}/{pair.task}"])
        fork = worlds.tasks[f"{pair.dialogue_id}/{pair.task}"].start.model_copy(
            update={"messages": pair.prompt, "task_starts": original.task_starts[: pair.task + 1], "stop": "open"}
        )
        chosen, rejected = [
            await worlds.play(fork, StartingWith(message, known)) for message in (*pair.chosen, *pair.rejected)
        ]
        return chosen.solved, rejected.solved

    with Worlds.open(folder) as worlds:
        early = [pair for pair in pairs if pair.why == "changed before asking"]
        for pair in early[:3]:
            assert asyncio.run(replays(worlds, pair)) == (True, False), pair
    for pair in pairs:
        assert pair.prompt[-1].role in ("user", "tool")
        assert pair.chosen != pair.rejected
        assert not any(message.reasoning_content for message in (*pair.chosen, *pair.rejected))


def test_tasks_need_a_run(outputs: Path) -> None:
    path = outputs / "generate/latest/user_oriented_exec/dialogues.jsonl"
    with pytest.raises(UserError, match="needs the tools and databases"):
        run(export_script, "export", outputs, "benchmarks=[]", "as=[rl]", f"data={path}")


@pytest.mark.parametrize("form", ["openai", "sharegpt", "hermes"])
def test_a_format_reads_back_as_the_same_dialogue(form: str, outputs: Path, tmp_path: Path) -> None:
    """With the loader of `datasets`, and as start states, which read all of them."""
    exported = run(export_script, "export", outputs, "benchmarks=[]", f"format={form}")
    (split,) = datasets.load_dataset(str(exported), cache_dir=str(tmp_path)).values()
    given = {d["dialogue_id"]: d for d in map(json.loads, (exported / "data/user_oriented_exec.jsonl").open())}
    assert len(split) == len(given)
    for row in split:
        if form == "hermes":
            system = row["conversations"].pop(0)
            stated = system["value"].rpartition("</tools>")[0].rpartition("<tools>")[2]
            assert json.loads(stated) == json.loads(row["tools"])
        late = row.pop("late_tools")
        read = read_dialogue({key: value for key, value in row.items() if value is not None}, "x")
        original = read_dialogue(given[row["id"]], "x")
        assert [tool.name for tool in read.tools] == [tool.name for tool in original.tools]
        assert json.loads(late) == original.late_tools
        reasoned = form != "sharegpt"  # it has no place for reasoning
        assert spoken(read, reasoned) == spoken(original, reasoned)


def spoken(dialogue: Any, reasoned: bool) -> list[Any]:
    """All messages but the system's and a closing one of the user."""
    messages = [message for message in dialogue.messages if message.role != "system"]
    messages = messages[:-1] if messages[-1].role == "user" else messages
    return [
        (
            message.role,
            message.content,
            [(call.name, call.parsed()) for call in getattr(message, "tool_calls", None) or ()],
            getattr(message, "reasoning_content", None) if reasoned else None,
        )
        for message in messages
    ]


def test_session_traces_have_the_hubs_fields(outputs: Path, tmp_path: Path) -> None:
    exported = run(export_script, "export", outputs, "benchmarks=[]", "format=traces")
    files = sorted((exported / "traces/user_oriented_exec").iterdir())
    given = [json.loads(line) for line in (exported / "data/user_oriented_exec.jsonl").open()]
    assert [file.stem for file in files] == [dialogue["dialogue_id"] for dialogue in given]
    header, *rest = [json.loads(line) for line in files[0].open()]
    assert (header["type"], header["id"]) == ("session", given[0]["dialogue_id"])
    assert header["harness"]
    for line, message in zip(rest, given[0]["messages"], strict=True):
        assert line.keys() == {"type", "message"}
        assert line["message"].keys() <= {"role", "content", "reasoningContent", "toolCalls", "toolCallId"}
        assert (line["message"]["role"], line["message"]["content"]) == (message["role"], message["content"])
        assert line["message"].get("toolCallId") == message.get("tool_call_id")
        assert [c["id"] for c in line["message"].get("toolCalls", [])] == [
            c["id"] for c in message.get("tool_calls") or []
        ]
    read = datasets.load_dataset(
        "json",
        data_files=[str(file) for file in files],
        split="train",
        parse_agent_traces=False,
        cache_dir=str(tmp_path),
    )
    assert sum(line["type"] == "session" for line in read) == len(given)
