"""Grades recorded trials with the official evaluator, which makes their calls again on fresh environments.

A request is {"trials": [{"key", "domain", "task_id", "termination_reason", "messages"}, …], "output"}; messages are in
the official format. A line of the output is {"key", "reward", "info", "difference"}.

The evaluator accepts a trial only if every call returns what was recorded. Where another harness words a result
differently, the results are taken from the official environment instead, and `difference` quotes the first that
differs: the state that the calls lead to is the official one either way.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from loguru import logger
from tau2.data_model.simulation import SimulationRun
from tau2.data_model.tasks import Task
from tau2.evaluator.evaluator import EvaluationType, evaluate_simulation
from tau2.registry import registry

JsonObject = dict[str, Any]


def run(request: JsonObject) -> None:
    logger.remove()
    logger.add(sys.stderr, level="ERROR")
    tasks: dict[str, dict[str, Task]] = {}
    with Path(request["output"]).open("w", encoding="utf-8") as file:
        for trial in request["trials"]:
            domain = trial["domain"]
            if domain not in tasks:
                tasks[domain] = {task.id: task for task in registry.get_tasks_loader(domain)("base")}
            graded = _grade(domain, tasks[domain][trial["task_id"]], trial)
            file.write(json.dumps({"key": trial["key"], **graded}) + "\n")
            file.flush()


def _grade(domain: str, task: Task, trial: JsonObject) -> JsonObject:
    times = dict.fromkeys(("start_time", "end_time"), "") | {"duration": 0.0}
    fields = {"id": trial["key"], "task_id": task.id, "termination_reason": trial["termination_reason"], **times}
    simulation = SimulationRun(**fields, messages=trial["messages"])
    difference = None
    try:
        reward = _reward(domain, task, simulation)
    except ValueError:
        difference = _take_official_results(domain, task, simulation)
        if difference is None:
            raise
        reward = _reward(domain, task, simulation)
    return {"reward": reward.reward, "info": reward.model_dump(mode="json"), "difference": difference}


def _reward(domain: str, task: Task, simulation: SimulationRun) -> Any:
    return evaluate_simulation(simulation, task, EvaluationType.ALL, solo_mode=False, domain=domain)


def _take_official_results(domain: str, task: Task, simulation: SimulationRun) -> str | None:
    """Replaces the recorded results by those of the official environment; the first that differs, None if none does."""
    environment = registry.get_env_constructor(domain)()
    initial = task.initial_state
    environment.set_state(
        initialization_data=initial.initialization_data if initial else None,
        initialization_actions=initial.initialization_actions if initial else None,
        message_history=[],
    )
    calls: list[Any] = []
    difference = None
    for position, message in enumerate(simulation.messages):
        if message.role == "tool":
            call = calls.pop(0)
            official = environment.get_response(call)
            if difference is None and _value(official.content) != _value(message.content):
                difference = f"{call.name}: recorded {message.content!r}, official {official.content!r}"
            simulation.messages[position] = official
        else:
            calls = list(message.tool_calls or ())
    return difference


def _value(content: str) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        return content
