"""Runs trials with the official orchestrator, agent, user simulator and evaluator.

The official command stops at the first failed request, or scores it 0, and asks on the console before it resumes. So
the official functions are called from here: every trial has its own file in simulations/, in the official format, and
one with a failed request ends with "infrastructure_error" and {"error", "side"} as its info.

A request is {"domains": {name: {"tasks": [ids], "done": [[task, trial], …], "directory"}}, "trials", "seed",
"max_steps", "concurrency", "agent": {"model", "arguments"}, "user": {"model", "arguments"}}; "arguments" are LiteLLM's.
"""

from __future__ import annotations

import hashlib
import json
import random
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from pathlib import Path
from typing import Any

from loguru import logger
from openai import OpenAIError
from tau2.agent.llm_agent import LLMAgent
from tau2.data_model.simulation import TerminationReason
from tau2.registry import registry
from tau2.run import get_tasks, run_task
from tau2.user.user_simulator import UserSimulator

JsonObject = dict[str, Any]
AGENT, USER = "served_agent", "served_user"
TRIAL = "trial"
"""Key in LiteLLM's arguments with which a trial's name reaches its sides."""


class SideError(Exception):
    """A side could not answer. `model_failed` if its server answered, but with calls that cannot be read."""

    def __init__(self, side: str, error: Exception) -> None:
        super().__init__(f"{side}: {type(error).__name__}: {error}")
        self.side = side
        self.model_failed = isinstance(error, ValueError | TypeError) and not isinstance(error, OpenAIError)


class ServedAgent(LLMAgent):
    """The official agent, whose requests have ids and whose errors name it."""

    def generate_next_message(self, message: Any, state: Any) -> Any:
        return _answer(self, "agent", super().generate_next_message, message, state)


class ServedUser(UserSimulator):
    """The official user simulator, whose requests have ids and whose errors name it."""

    def generate_next_message(self, message: Any, state: Any) -> Any:
        return _answer(self, "user", super().generate_next_message, message, state)


def _answer(side: Any, name: str, generate: Any, message: Any, state: Any) -> Any:
    arguments = side.llm_args
    trial = arguments.pop(TRIAL, None) or side.trial
    side.trial, side.step = trial, getattr(side, "step", -1) + 1
    # The id matches lines of the server's log with transcripts.
    arguments["extra_headers"] = {"X-Request-Id": f"tau2/{trial}/{name}/{side.step}"}
    try:
        return generate(message, state)
    except Exception as error:
        raise SideError(name, error) from error


def run(request: JsonObject) -> None:
    """Runs the trials that are not in `done`; returns when each has its file."""
    logger.remove()
    logger.add(sys.stderr, level="WARNING")
    registry.register_agent(ServedAgent, AGENT)
    registry.register_user(ServedUser, USER)
    random.seed(request["seed"])  # as the official command chooses the seed of each trial
    seeds = [random.randint(0, 1_000_000) for _ in range(request["trials"])]
    pending = [trial for name in request["domains"] for trial in _pending(request, name)]
    with ThreadPoolExecutor(request["concurrency"]) as pool:
        for finished in [pool.submit(_trial, request, *trial, seeds[trial[-1]]) for trial in pending]:
            finished.result()


def _pending(request: JsonObject, name: str) -> Iterator[tuple[str, Any, int]]:
    """(domain, task, trial) of a domain's trials that are not done."""
    domain = request["domains"][name]
    directory = Path(domain["directory"])
    (directory / "simulations").mkdir(parents=True, exist_ok=True)
    # The parts of the official results file that are the same for all trials.
    info = {"domain": name} | {key: request[key] for key in ("trials", "seed", "max_steps")}
    _write(directory / "results.json", {"info": info, "simulations": []})
    tasks = {task.id: task for task in get_tasks(name, "base", domain["tasks"])}
    done = {(task, trial) for task, trial in domain["done"]}
    for trial in range(request["trials"]):
        yield from ((name, tasks[task], trial) for task in domain["tasks"] if (task, trial) not in done)


def _trial(request: JsonObject, domain: str, task: Any, trial: int, seed: int) -> None:
    named = {TRIAL: f"{domain}/{task.id}/{trial}"}
    try:
        simulation = run_task(
            domain=domain,
            task=task,
            agent=AGENT,
            user=USER,
            llm_agent=request["agent"]["model"],
            llm_args_agent=deepcopy(request["agent"]["arguments"]) | named,
            llm_user=request["user"]["model"],
            llm_args_user=deepcopy(request["user"]["arguments"]) | named,
            max_steps=request["max_steps"],
            seed=seed,
        ).model_dump(mode="json")
    except Exception as error:
        simulation = _failed(task.id, error)
    name = hashlib.sha256(task.id.encode()).hexdigest()[:16]
    path = Path(request["domains"][domain]["directory"]) / "simulations" / f"{name}-{trial}.json"
    _write(path, simulation | {"trial": trial, "seed": seed})


def _failed(task: str, error: Exception) -> JsonObject:
    """A trial that an exception ended: the model's failure if its calls could not be read, else infrastructure."""
    side = error.side if isinstance(error, SideError) else ""
    failed = {"id": task, "task_id": task, "messages": [], "info": {"error": str(error) or repr(error), "side": side}}
    if side == "agent" and isinstance(error, SideError) and error.model_failed:
        reward = {"reward": 0.0, "info": {"note": str(error)}}
        return failed | {"termination_reason": TerminationReason.AGENT_ERROR.value, "reward_info": reward}
    return failed | {"termination_reason": "infrastructure_error", "reward_info": None}


def _write(path: Path, content: JsonObject) -> None:
    """Writes at once, so that a killed process leaves no incomplete file."""
    part = path.with_suffix(".part")
    part.write_text(json.dumps(content), encoding="utf-8")
    part.replace(path)
