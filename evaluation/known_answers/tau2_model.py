"""τ²'s gold actions as a model that plays both sides, and one that greets and waits.

A request's id says whose it is: tau2/domain/task/trial/side/step (evaluation.tau2.inspect_worker sends it as X-Request-Id).
"""

from __future__ import annotations

from itertools import groupby
from typing import Any

from evaluation.known_answers.server import Reply, call, say
from evaluation.tau2.tasks import DOMAINS, tasks

GREETING, OPENING, LEAVING = "Hello, how can I help you?", "Hello, I need your help.", "Thank you. ###STOP###"


def whose(body: dict[str, Any]) -> tuple[str, str, str]:
    """(domain, task, side) of a request."""
    _, domain, rest = body["request_id"].split("/", 2)
    task, _, side, _ = rest.rsplit("/", 3)
    return domain, task, side


class GoldActions:
    """Each side makes its own gold calls in the official order, waiting for the other's to be made; in the end the
    assistant tells what must be told, and the user leaves. What a side has done it reads off its own messages."""

    def __init__(self) -> None:
        self._plans = {(domain, name): Plan(task) for domain in DOMAINS for name, task in tasks(domain).items()}

    def __call__(self, body: dict[str, Any]) -> Reply:
        domain, task, side = whose(body)
        plan = self._plans[domain, task]
        roles = [message["role"] for message in body["messages"]]
        done = roles.count("tool")
        spoken = sum(m["role"] == "assistant" and not m.get("tool_calls") for m in body["messages"])
        if done < plan.due(side, spoken):
            action = plan.actions(side)[done]
            return call((action["name"], action["arguments"]), reasoning="The gold action is next.")
        if side == "user":
            return say(LEAVING if spoken >= plan.turns else OPENING)
        return say(f"{GREETING} {' '.join(plan.told)}")


class Plan:
    """A task's gold actions as turns that user and assistant take, the user first; the first turns may be empty."""

    def __init__(self, task: dict[str, Any]) -> None:
        criteria = task["evaluation_criteria"]
        self.told: list[str] = criteria.get("communicate_info") or []
        gold: list[dict[str, Any]] = criteria["actions"] or []
        runs = [(side, list(actions)) for side, actions in groupby(gold, key=self._side)]
        if not runs or runs[0][0] != "user":
            runs.insert(0, ("user", []))
        self._runs = {side: [actions for who, actions in runs if who == side] for side in ("user", "agent")}
        self.turns = max(1, *map(len, self._runs.values()))

    @staticmethod
    def _side(action: dict[str, Any]) -> str:
        return "user" if action.get("requestor") == "user" else "agent"

    def actions(self, side: str) -> list[dict[str, Any]]:
        return [action for run in self._runs[side] for action in run]

    def due(self, side: str, spoken: int) -> int:
        """How many of its calls a side has made before it speaks for the `spoken`+1st time."""
        return sum(map(len, self._runs[side][: spoken + 1]))


def nothing(body: dict[str, Any]) -> Reply:
    """The assistant greets and never acts; the user greets, hears it out and leaves."""
    spoken = any(message["role"] == "assistant" for message in body["messages"])
    if whose(body)[2] == "user":
        return say(LEAVING if spoken else OPENING)
    return say(GREETING)
