"""Uses of exported tasks: verifiers and inspect give the verdicts of our own validation."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import inspect_ai
import pytest
from inspect_ai.model import get_model

from core.journal import read_jsonl
from core.settings import UserError
from generation.scripted.llm import ScriptedLLM
from generation.worlds.inspect_task import world_task
from generation.worlds.task_line import TaskLine
from generation.worlds.worlds import Played, Worlds
from scripts import generate as generate_script
from tests.evaluation.helpers.replay import ReplayServer
from tests.helpers.paths import ROOT
from tests.scripts.helpers.export_runs import export, run_stage
from tests.scripts.helpers.known_agents import AGENTS, in_process, served

TASKS = 20


@pytest.fixture(scope="module")
def verdicts(worlds_folder: Path, task_lines: list[TaskLine]) -> dict[str, dict[str, Played]]:
    """Agent -> task -> what our own validation says of it."""

    async def play(worlds: Worlds, name: str) -> dict[str, Played]:
        return {line.task_id: await worlds.play(line.start, in_process(name, line)) for line in task_lines[:TASKS]}

    with Worlds.open(worlds_folder) as worlds:
        return {name: asyncio.run(play(worlds, name)) for name in AGENTS}


@pytest.fixture(scope="module")
def server(task_lines: list[TaskLine]) -> Iterator[ReplayServer]:
    server = ReplayServer(served(task_lines))
    yield server
    server.close()


def rewards(played: dict[str, Played]) -> dict[str, float]:
    return {task_id: verdict.reward for task_id, verdict in played.items()}


def test_only_the_right_agent_is_rewarded(task_lines: list[TaskLine], verdicts: dict[str, dict[str, Played]]) -> None:
    assert len(verdicts["gold"]) == TASKS
    assert {task_id: played.reasons for task_id, played in verdicts["gold"].items() if not played.solved} == {}
    assert set(rewards(verdicts["silent"]).values()) == {0.0}
    broken = [
        played
        for played in verdicts["careless"].values()
        if any(check.name == "policy" and not check.passed for check in played.checks)
    ]
    assert broken, "no task that the policy decides"
    assert {played.reward for played in broken} == {0.0}


def test_a_task_starts_where_its_dialogue_had_led(
    task_lines: list[TaskLine], verdicts: dict[str, dict[str, Played]]
) -> None:
    later = [line for line in task_lines[:TASKS] if len(line.start.tasks) > 1]
    assert later
    for line in later:
        played = verdicts["gold"][line.task_id].dialogue
        assert played.messages[: len(line.start.messages)] == line.start.messages
        assert len(played.task_starts) == len(line.start.tasks)


def test_inspect_gives_the_same_verdicts(
    worlds_folder: Path, server: ReplayServer, verdicts: dict[str, dict[str, Played]], tmp_path: Path
) -> None:
    for name in AGENTS:
        model = get_model(f"openai-api/served/{name}", base_url=server.base_url, api_key="none")
        (log,) = inspect_ai.eval(
            world_task(worlds_folder), model=model, limit=TASKS, log_dir=str(tmp_path), display="none", max_retries=0
        )
        assert log.status == "success", log.error
        assert log.samples
        assert {str(s.id): s.scores["proof"].value for s in log.samples if s.scores} == rewards(verdicts[name]), name


def test_inspect_counts_pass_hat_k(worlds_folder: Path, server: ReplayServer, tmp_path: Path) -> None:
    model = get_model("openai-api/served/gold", base_url=server.base_url, api_key="none")
    task = world_task(worlds_folder, epochs=2)
    (log,) = inspect_ai.eval(task, model=model, limit=2, log_dir=str(tmp_path), display="none", max_retries=0)
    assert log.results
    assert [score.reducer for score in log.results.scores] == ["mean", "pass_k_1", "pass_k_2"]
    assert {score.metrics["accuracy"].value for score in log.results.scores} == {1.0}


@pytest.fixture(scope="module")
def verifiers() -> Path:
    """The environment of verifiers. Skipped where no package index can be reached, not where pins conflict."""
    built = subprocess.run([ROOT / "scripts/setup_verifiers.sh"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert "No solution found" not in built.stderr, built.stderr
    if built.returncode:
        pytest.skip(f"verifiers cannot be installed: {built.stderr.strip()[-300:]}")
    return ROOT / ".venv-verifiers/bin/vf-eval"


@pytest.mark.slow
def test_verifiers_gives_the_same_rewards(
    verifiers: Path, exported: Path, server: ReplayServer, verdicts: dict[str, dict[str, Played]], tmp_path: Path
) -> None:
    environment = {**os.environ, "PYTHONPATH": f"{exported / 'rl'}:{ROOT}", "HOME": str(tmp_path)}
    for name in AGENTS:
        options = ("--model", name, "--client.base-url", server.base_url, "-n", str(TASKS), "--no-push", "--no-rich")
        command = [verifiers, "user_oriented_tasks", *options, "--output-dir", tmp_path, "--run.name", name]
        done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        episodes = [json.loads(line) for line in (tmp_path / name / "traces.jsonl").read_text().splitlines()]
        traces = [trace for episode in episodes for trace in episode["traces"]]
        assert all(trace["ok"] for trace in traces)
        scores = {trace["task"]["data"]["id"]: trace["rewards"]["solved"]["score"] for trace in traces}
        assert scores == rewards(verdicts[name]), name


def test_an_agent_sees_neither_goal_nor_solution(
    worlds_folder: Path, server: ReplayServer, task_lines: list[TaskLine], tmp_path: Path
) -> None:
    line = next(line for line in task_lines if line.task.kind == "plain" and line.task.mutates)
    model = get_model("openai-api/served/gold", base_url=server.base_url, api_key="none")
    before = len(server.requests)
    (log,) = inspect_ai.eval(
        world_task(worlds_folder),
        model=model,
        sample_id=line.task_id,
        log_dir=str(tmp_path),
        display="none",
        max_retries=0,
    )
    assert log.samples
    seen = json.dumps(server.requests[before], ensure_ascii=False) + json.dumps(log.samples[0].metadata)
    assert line.task.goal not in seen
    assert "gold_calls" not in seen
    assert not any(criterion in seen for criterion in line.task.rubric.criteria)


def test_tasks_of_dual_control_keep_the_users_tools_and_past_actions(tmp_path: Path) -> None:
    options = ("profile=small", "pipeline=user_oriented_dual", "n=6", "tracking.mode=disabled", "report=null")
    run_stage(generate_script, "generate", tmp_path, *options)
    folder = export(tmp_path, "as=[inspect]") / "inspect/worlds"
    lines = list(read_jsonl(folder / "tasks.jsonl", TaskLine))
    assert any(line.start.user_actions for line in lines), "no task after one in which the user acted"

    async def play(worlds: Worlds) -> dict[str, Played]:
        return {line.task_id: await worlds.play(line.start, ScriptedLLM(error_rate=0.0)) for line in lines}

    with Worlds.open(folder) as worlds:
        verdicts = asyncio.run(play(worlds))
    assert {task_id: played.reasons for task_id, played in verdicts.items() if not played.solved} == {}


def test_tasks_need_a_run(executed_outputs: Path) -> None:
    path = executed_outputs / "generate/latest/user_oriented_exec/dialogues.jsonl"
    before = sorted((executed_outputs / "export").glob("*"))
    with pytest.raises(UserError, match=r"as=\[rl\] needs the tools and databases"):
        export(executed_outputs, "as=[sft,rl]", f"data={path}")
    assert sorted((executed_outputs / "export").glob("*")) == before
