"""Blame for failed τ² dialogues: planted faulty users and agents on real tasks."""

from __future__ import annotations

import json
from typing import Any

import pytest

from evaluation.tau2.blame import find_blame, writes
from evaluation.tau2.tasks import DOMAINS, tasks


def say(role: str, text: str) -> dict[str, Any]:
    return {"role": role, "content": text, "tool_calls": []}


def make(name: str, role: str = "assistant", **arguments: Any) -> list[dict[str, Any]]:
    function = {"name": name, "arguments": json.dumps(arguments)}
    tool = "tool" if role == "assistant" else "tool of the user"
    return [{"role": role, "content": "", "tool_calls": [{"function": function}]}, say(tool, "done")]


def task(*gold: tuple[str, dict[str, Any]], text: str = "", info: tuple[str, ...] = (), by: str = "assistant") -> Any:
    actions = [{"name": name, "arguments": arguments, "requestor": by} for name, arguments in gold]
    instructions = {"reason_for_call": text, "known_info": "You are mei_kim_1, zip 28236.", "unknown_info": None}
    criteria = {"actions": actions, "communicate_info": list(info)}
    return {"user_scenario": {"instructions": instructions}, "evaluation_criteria": criteria}


ORDER = {"order_id": "#W12", "reason": "no longer needed"}
GOAL = "You want to cancel order #W12, which is no longer needed."
CANCELS = task(("get_order_details", {"order_id": "#W12"}), ("cancel_pending_order", ORDER), text=GOAL)
TOLD = say("user", "Please cancel order #W12, it is no longer needed.")
BYE = say("user", "Thank you. ###STOP###")


@pytest.mark.parametrize(
    ("messages", "who", "reason"),
    [
        ([say("user", "Hi."), say("assistant", "Hello."), BYE], "user", "it never said #W12, no longer needed"),
        ([TOLD, say("assistant", "All done."), BYE], "agent", "it never called cancel_pending_order("),
        ([TOLD, say("assistant", "Cancel it, yes or no?"), BYE], "user", "it left the agent's last question open"),
        ([TOLD, *make("transfer_to_human_agents", summary="x"), BYE], "agent", "it transferred the user"),
        (
            [TOLD, *make("cancel_pending_order", order_id="#W12", reason="ordered by mistake"), BYE],
            "agent",
            'it called cancel_pending_order(order_id="#W12", reason="ordered by mistake"), needed was ',
        ),
        (
            [
                say("user", "Cancel #W13, no longer needed."),
                *make("cancel_pending_order", order_id="#W13", reason="no longer needed"),
                BYE,
            ],
            "user",
            "it said #W13, its instructions say #W12",
        ),
        (
            [TOLD, *make("cancel_pending_order", order_id="#W13", reason="no longer needed"), BYE],
            "agent",
            'it called cancel_pending_order(order_id="#W13"',
        ),
        (
            [TOLD, *make("cancel_pending_order", **ORDER), *make("cancel_pending_order", order_id="#W9"), BYE],
            "agent",
            "it did more than the task asks for: cancel_pending_order(",
        ),
    ],
)
def test_the_side_that_went_wrong_is_blamed(messages: list[dict[str, Any]], who: str, reason: str) -> None:
    blamed, why = find_blame(CANCELS, messages, "stop")
    assert (blamed, why[: len(reason)]) == (who, reason)


def test_what_the_agent_looked_up_or_called_with_need_not_be_said() -> None:
    looked_up = [
        say("user", "Cancel my order, it is no longer needed."),
        *make("get_user_details", user_id="mei_kim_1"),
    ]
    looked_up[-1]["content"] = '{"orders": ["#W12"]}'
    assert find_blame(CANCELS, [*looked_up, BYE], "stop")[0] == "agent"


def test_information_that_was_not_told_is_the_agents_failure() -> None:
    asks = task(text="You ask for the price.", info=("1628",))
    assert find_blame(asks, [TOLD, say("assistant", "It is 1,627."), BYE], "stop") == ("agent", "it did not say 1628")
    told = find_blame(asks, [TOLD, say("assistant", "It is $1,628."), BYE], "stop")
    assert told == ("agent", "the final state is wrong although all gold actions were taken")


@pytest.mark.parametrize(
    ("advice", "who"),
    [("Please turn off Airplane Mode.", "user"), ("Please restart your phone.", "agent")],
)
def test_a_step_on_the_users_device_must_be_named_and_taken(advice: str, who: str) -> None:
    step = task(("toggle_airplane_mode", {}), by="user")
    assert find_blame(step, [say("user", "No signal."), say("assistant", advice), BYE], "stop")[0] == who
    taken = [say("assistant", advice), *make("toggle_airplane_mode", "user"), BYE]
    assert find_blame(step, taken, "stop")[1] == "the final state is wrong although all gold actions were taken"


@pytest.mark.parametrize(
    ("messages", "stop", "who"),
    [
        ([TOLD, *make("cancel_pending_order", **ORDER), say("assistant", "Done.")], "max_steps", "user"),
        ([TOLD, say("assistant", "One moment."), say("user", "Well?")], "max_steps", "agent"),
        ([m for n in "123" for m in (say("user", "Hm."), say("assistant", f"Sure, {n}."))], "unfinished", "user"),
        ([m for n in "123" for m in (say("user", f"Hm, {n}."), say("assistant", "Sure."))], "max_steps", "agent"),
        ([TOLD], "context_length", "agent"),
        ([TOLD], "agent_error", "agent"),
        ([TOLD], "too_many_errors", "agent"),
        ([TOLD, say("assistant", "Which one?"), say("user", "###OUT-OF-SCOPE###")], "out_of_scope", "user"),
    ],
)
def test_limits_are_the_fault_of_who_went_round_in_circles(messages: list[dict[str, Any]], stop: str, who: str) -> None:
    assert find_blame(CANCELS, messages, stop)[0] == who


@pytest.mark.parametrize("domain", DOMAINS)
def test_on_every_real_task_a_silent_user_or_an_idle_agent_is_blamed(domain: str) -> None:
    """A user who recites its instructions to an agent that does nothing is never blamed in place of the agent."""
    blamed = []
    for name, official in tasks(domain).items():
        gold = official["evaluation_criteria"]["actions"] or []
        if not any(writes(action["name"]) and action.get("requestor") != "user" for action in gold):
            continue
        told = " ".join(str(part) for part in official["user_scenario"]["instructions"].values())
        idle = [say("user", told), say("assistant", "I see."), BYE]
        assert find_blame(official, idle, "stop")[0] == "agent", name
        blamed.append(find_blame(official, [say("user", "Hi."), say("assistant", "Hello."), BYE], "stop")[0])
    assert len(blamed) >= 30
    assert "user" in blamed or domain == "telecom"
