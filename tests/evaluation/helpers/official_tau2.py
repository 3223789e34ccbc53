"""A stand-in for the official tau2 program: takes its arguments and writes results.json in the format of release 1.0.1.

Its trials end in every possible way. One has an infrastructure error in the first run; a second run resumes the first.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any


def parse(arguments: list[str]) -> dict[str, Any]:
    assert arguments[0] == "run"
    options: dict[str, Any] = {}
    name = ""
    for argument in arguments[1:]:
        if argument.startswith("--"):
            name = argument
            options[name] = []
        else:
            options[name].append(argument)
    return {name: values if name == "--task-ids" else (values or [True])[0] for name, values in options.items()}


def reward(value: float, **more: Any) -> dict[str, Any]:
    return {
        "reward": value,
        "db_check": {"db_match": value == 1.0, "db_reward": value},
        "env_assertions": [],
        "action_checks": [],
        "nl_assertions": None,
        "communicate_checks": None,
        "reward_basis": ["DB", "COMMUNICATE"],
        "reward_breakdown": {"DB": value, "COMMUNICATE": 1.0},
        "info": {"env": None},
        **more,
    }


def message(role: str, content: str | None, **more: Any) -> dict[str, Any]:
    return {
        "role": role,
        "content": content,
        "tool_calls": None,
        "usage": None,
        "generation_time_seconds": None,
        **more,
    }


def ending(task: str, first_run: bool) -> dict[str, Any]:
    """The end of a trial of task number `task`: termination_reason, messages, reward_info and info."""
    errored = {"termination_reason": "infrastructure_error", "reward_info": None, "messages": []}
    unmet = {"nl_assertion": "It is kind.", "met": False, "justification": "It was not."}
    uncommunicated = {"info": "42", "met": False, "justification": "Information '42' not communicated."}
    no_reward = {"reward_basis": None, "reward_breakdown": None, "info": {"note": "Simulation terminated prematurely."}}
    endings: dict[str, dict[str, Any]] = {
        "0": {"reward_info": reward(1.0)},
        "1": {"reward_info": reward(0.0, communicate_checks=[uncommunicated])},
        "2": errored | {"info": {"error": "connection refused"}} if first_run else {"reward_info": reward(1.0)},
        "3": {"termination_reason": "max_steps", "reward_info": reward(0.0, **no_reward)},
        "4": errored | {"info": {"error": "Hosted_vllmException - exceeds the available context size"}},
        "5": {"reward_info": reward(0.0, nl_assertions=[unmet], reward_breakdown={"DB": 1.0, "NL_ASSERTION": 0.0})},
    }
    call = {"id": "c", "name": "get_user", "arguments": {"user_id": "ü"}, "requestor": "assistant"}
    messages = [
        message("assistant", "Hi! How can I help you today?"),
        message("user", "Hi."),
        message("assistant", None, tool_calls=[call], usage={"prompt_tokens": 10, "completion_tokens": 5}),
        message("tool", "{}", requestor="assistant"),
        message("assistant", "Bye.", usage={"prompt_tokens": 20, "completion_tokens": 3}, generation_time_seconds=0.5),
        message("user", "###STOP###", usage={"prompt_tokens": 7, "completion_tokens": 7}),
    ]
    return {"termination_reason": "user_stop", "messages": messages, "info": None, **endings[task]}


def main() -> None:
    options = parse(sys.argv[1:])
    directory = Path(options["--save-to"])
    keys = {name: os.environ[name] for name in os.environ if name.startswith(("OPENAI_", "HOSTED_", "LITELLM_PROXY"))}
    with (directory / "calls.jsonl").open("a") as file:
        file.write(json.dumps({"arguments": options, "environment": keys}) + "\n")
    first_run = not (directory / "results.json").exists()
    simulations = [
        {"id": f"{task}-{trial}", "task_id": task, "trial": trial, **ending(task, first_run)}
        for trial in range(int(options["--num-trials"]))
        for task in options["--task-ids"]
    ]
    info = {"git_commit": "unknown", "num_trials": int(options["--num-trials"])}
    (directory / "results.json").write_text(json.dumps({"info": info, "tasks": [], "simulations": simulations}))


if __name__ == "__main__":
    main()
