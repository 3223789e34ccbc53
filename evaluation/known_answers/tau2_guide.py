"""Agents for τ²'s telecom that meet a user with tools of their own, the scripted customer: one tells it the gold steps
one by one, and one, vaguely, to do what is needed.

Unlike evaluation.known_answers.tau2_model, they play the agent's side alone.
"""

from __future__ import annotations

from typing import Any

from evaluation.known_answers.server import Reply, call, say
from evaluation.known_answers.tau2_model import GREETING, request_origin
from evaluation.tau2.tasks import tasks

INSTRUCTIONS = {
    "disconnect_vpn": "Please disconnect your VPN.",
    "grant_app_permission": "Please grant the {permission} permission to the {app_name} app.",
    "make_payment": "I have sent you a payment request. Please make the payment.",
    "reboot_device": "Now restart your phone, please.",
    "reseat_sim_card": "Please take your SIM card out and reseat it.",
    "reset_apn_settings": "Could you reset your APN settings?",
    "set_network_mode_preference": "Please change your network mode preference to {mode}.",
    "toggle_airplane_mode": "Please turn off Airplane Mode.",
    "toggle_data": "Please turn on mobile data.",
    "toggle_data_saver_mode": "Please turn Data Saver mode off.",
    "toggle_roaming": "I need you to turn on data roaming.",
    "toggle_wifi_calling": "Please turn Wi-Fi Calling off.",
}
"""The gold actions of the user, as instructions: every switch has a state that it must get."""
TRANSFERRED = "You are being transferred to a human agent. Please hold on."
GOODBYE = "Everything is set up now. Have a nice day!"
VAGUE = "Please do whatever is needed on your phone so that it works again."


class GuideByGoldActions:
    """Makes the agent's gold calls and instructs the user to make theirs, in the official order, one at a time."""

    def __init__(self) -> None:
        self._plans = {name: task["evaluation_criteria"]["actions"] or [] for name, task in tasks("telecom").items()}

    def __call__(self, body: dict[str, Any]) -> Reply:
        actions = self._plans[request_origin(body)[1]]
        said = [m.get("content") for m in body["messages"] if m["role"] == "assistant" and not m.get("tool_calls")]
        steps = [_instruction(action) for action in actions if action["requestor"] == "user"]
        done = sum(m["role"] == "tool" for m in body["messages"]) + sum(text in steps for text in said)
        if done == len(actions):
            transferred = bool(actions) and actions[-1]["name"] == "transfer_to_human_agents"
            return say(TRANSFERRED if transferred else GOODBYE)
        action = actions[done]
        if action["requestor"] == "user":
            return say(_instruction(action))
        return call((action["name"], action["arguments"]))


def _instruction(action: dict[str, Any]) -> str:
    return INSTRUCTIONS[action["name"]].format(**action["arguments"])


def guide_vaguely(body: dict[str, Any]) -> Reply:
    """Never says which step to take."""
    return say(VAGUE)


def only_greet(body: dict[str, Any]) -> Reply:
    return say(GREETING)
