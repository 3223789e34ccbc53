"""Answer policies for τ² that play both sides: one performs the gold actions, one only greets and waits.

A request's id identifies its task and side: tau2/domain/task/trial/side/step (evaluation.tau2.inspect_worker sends it
as X-Request-Id).
"""

from __future__ import annotations

from itertools import groupby
from typing import Any

from evaluation.known_answers.server import Reply, call, say
from evaluation.tau2.tasks import DOMAINS, tasks

GREETING, OPENING, LEAVING = "Hello, how can I help you?", "Hello, I need your help.", "Thank you. ###STOP###"


def request_origin(body: dict[str, Any]) -> tuple[str, str, str]:
    """(domain, task, side) of a request; side is "agent" or "user"."""
    _, domain, rest = body["request_id"].split("/", 2)
    task, _, side, _ = rest.rsplit("/", 3)
    return domain, task, side


class GoldActions:
    """Each side makes its gold calls in the official order and waits for those of the other side.

    At the end the assistant communicates the required information and the user leaves. A side's progress is read from
    its own messages.
    """

    def __init__(self) -> None:
        self._plans = {(domain, name): Plan(task) for domain in DOMAINS for name, task in tasks(domain).items()}

    def __call__(self, body: dict[str, Any]) -> Reply:
        domain, task, side = request_origin(body)
        plan = self._plans[domain, task]
        roles = [message["role"] for message in body["messages"]]
        calls_made = roles.count("tool")
        messages_sent = sum(m["role"] == "assistant" and not m.get("tool_calls") for m in body["messages"])
        if side == "agent" and roles[roles[0] == "system"] == "assistant":
            messages_sent -= 1  # the official program greets in the agent's name
        if calls_made < plan.calls_due(side, messages_sent):
            action = plan.actions(side)[calls_made]
            return call((action["name"], action["arguments"]), reasoning="The gold action is next.")
        if side == "user":
            return say(LEAVING if messages_sent >= plan.turns else OPENING)
        return say(f"{GREETING} {' '.join(plan.required_info)}")


class Plan:
    """A task's gold actions as alternating turns of user and agent. The user starts; its first turn may be empty."""

    def __init__(self, task: dict[str, Any]) -> None:
        criteria = task["evaluation_criteria"]
        self.required_info: list[str] = criteria.get("communicate_info") or []
        gold: list[dict[str, Any]] = criteria["actions"] or []
        turns = [(side, list(actions)) for side, actions in groupby(gold, key=self._side)]
        if not turns or turns[0][0] != "user":
            turns.insert(0, ("user", []))
        self._turns = {side: [actions for actor, actions in turns if actor == side] for side in ("user", "agent")}
        self.turns = max(1, *map(len, self._turns.values()))

    @staticmethod
    def _side(action: dict[str, Any]) -> str:
        return "user" if action.get("requestor") == "user" else "agent"

    def actions(self, side: str) -> list[dict[str, Any]]:
        return [action for turn in self._turns[side] for action in turn]

    def calls_due(self, side: str, messages_sent: int) -> int:
        """Number of calls that a side makes before its next message, after `messages_sent` messages."""
        return sum(map(len, self._turns[side][: messages_sent + 1]))


def greet_and_wait(body: dict[str, Any]) -> Reply:
    """The assistant greets and never acts; the user greets, waits for one reply and leaves."""
    opened = any(message["role"] == "assistant" for message in body["messages"])
    if request_origin(body)[2] == "user":
        return say(LEAVING if opened else OPENING)
    return say(GREETING)
