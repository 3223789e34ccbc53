"""τ²'s telecom with the scripted customer, whose tools act on its device: agents that name the gold steps, and agents
that leave them to the customer."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evaluation.known_answers.server import AnswerPolicy
from evaluation.known_answers.tau2_guide import INSTRUCTIONS, GuideByGoldActions, guide_vaguely, only_greet
from evaluation.tau2.benchmark import Tau2
from evaluation.tau2.tasks import tasks
from evaluation.tau2.user_simulator import SCRIPTED_CUSTOMER
from evaluation.trials import TrialRecord
from tests.evaluation.helpers.replay import ReplayServer
from tests.evaluation.helpers.trials import run_trials

SOME = tuple(tasks("telecom"))[::19]


def run(serve: Callable[[AnswerPolicy], ReplayServer], agent: AnswerPolicy, directory: Path) -> list[TrialRecord]:
    benchmark = Tau2(smoke={"telecom": SOME}, attempts=1, max_steps=100)
    return run_trials(benchmark, serve(agent).endpoint(), directory)


def device_calls(directory: Path) -> dict[str, list[str]]:
    """The calls of each trial's customer."""
    lines = [json.loads(line) for line in (directory / "dialogues.jsonl").read_text().splitlines()]
    return {
        line["trial"]: [
            call["function"]
            for turn in line["trajectory"]
            if turn["role"] == "user"
            for call in turn["message"].get("tool_calls") or ()
        ]
        for line in lines
    }


def gold_steps(task: str) -> list[str]:
    actions = tasks("telecom")[task]["evaluation_criteria"]["actions"]
    return [action["name"] for action in actions if action["requestor"] == "user"]


@pytest.mark.slow
def test_the_customer_takes_the_steps_that_it_is_told_and_no_others(
    serve: Callable[[AnswerPolicy], ReplayServer], tmp_path: Path
) -> None:
    records = run(serve, GuideByGoldActions(), tmp_path / "guide")
    assert {record.simulator for record in records} == {SCRIPTED_CUSTOMER}
    assert [record.task_id for record in records if not record.success] == []
    assert len(records) == len(SOME)
    made = device_calls(tmp_path / "guide")
    assert {record.task_id: made[record.key] for record in records} == {task: gold_steps(task) for task in SOME}
    agents: dict[str, AnswerPolicy] = {"vague": guide_vaguely, "greet": only_greet}
    for name, agent in agents.items():
        idle = run(serve, agent, tmp_path / name)
        assert [record.success for record in idle] == [False] * len(SOME)
        assert {record.blame for record in idle} == {"agent"}
        assert not any(device_calls(tmp_path / name).values()), "it does nothing of its own accord"


def test_every_gold_step_has_an_instruction() -> None:
    actions: list[dict[str, Any]] = [
        action
        for task in tasks("telecom").values()
        for action in task["evaluation_criteria"]["actions"]
        if action["requestor"] == "user"
    ]
    assert {action["name"] for action in actions} == set(INSTRUCTIONS)
