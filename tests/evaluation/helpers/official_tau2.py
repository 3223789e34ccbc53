"""A stand-in for the official tau2 program: takes its arguments and writes results.json as release 1.0.1 does.

Its trials end in every way. One fails for reasons of infrastructure when first run; a second run goes on where the first ended.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any


def parse(words: list[str]) -> dict[str, Any]:
    assert words[0] == "run"
    found: dict[str, Any] = {}
    name = ""
    for word in words[1:]:
        if word.startswith("--"):
            name = word
            found[name] = []
        else:
            found[name].append(word)
    return {name: values if name == "--task-ids" else (values or [True])[0] for name, values in found.items()}


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


def ending(task: str, first: bool) -> dict[str, Any]:
    """termination_reason, reward_info and info of a task's trial, by the task's number."""
    broken = {"termination_reason": "infrastructure_error", "reward_info": None, "messages": []}
    unmet = {"nl_assertion": "It is kind.", "met": False, "justification": "It was not."}
    untold = {"info": "42", "met": False, "justification": "Information '42' not communicated."}
    cut = {"reward_basis": None, "reward_breakdown": None, "info": {"note": "Simulation terminated prematurely."}}
    ends: dict[str, dict[str, Any]] = {
        "0": {"reward_info": reward(1.0)},
        "1": {"reward_info": reward(0.0, communicate_checks=[untold])},
        "2": broken | {"info": {"error": "connection refused"}} if first else {"reward_info": reward(1.0)},
        "3": {"termination_reason": "max_steps", "reward_info": reward(0.0, **cut)},
        "4": broken | {"info": {"error": "Hosted_vllmException - maximum model length is 8192"}},
        "5": {"reward_info": reward(0.0, nl_assertions=[unmet], reward_breakdown={"DB": 1.0, "NL_ASSERTION": 0.0})},
    }
    call = {"id": "c", "name": "get_user", "arguments": {"user_id": "ü"}, "requestor": "assistant"}
    said = [
        message("assistant", "Hi! How can I help you today?"),
        message("user", "Hi."),
        message("assistant", None, tool_calls=[call], usage={"prompt_tokens": 10, "completion_tokens": 5}),
        message("tool", "{}", requestor="assistant"),
        message("assistant", "Bye.", usage={"prompt_tokens": 20, "completion_tokens": 3}, generation_time_seconds=0.5),
        message("user", "###STOP###", usage={"prompt_tokens": 7, "completion_tokens": 7}),
    ]
    return {"termination_reason": "user_stop", "messages": said, "info": None, **ends[task]}


def main() -> None:
    given = parse(sys.argv[1:])
    place = Path(given["--save-to"])
    keys = {name: os.environ[name] for name in os.environ if name.startswith(("OPENAI_", "HOSTED_", "LITELLM_PROXY"))}
    with (place / "calls.jsonl").open("a") as file:
        file.write(json.dumps({"arguments": given, "environment": keys}) + "\n")
    first = not (place / "results.json").exists()
    simulations = [
        {"id": f"{task}-{trial}", "task_id": task, "trial": trial, **ending(task, first)}
        for trial in range(int(given["--num-trials"]))
        for task in given["--task-ids"]
    ]
    info = {"git_commit": "unknown", "num_trials": int(given["--num-trials"])}
    (place / "results.json").write_text(json.dumps({"info": info, "tasks": [], "simulations": simulations}))


if __name__ == "__main__":
    main()
