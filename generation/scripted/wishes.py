"""The words of special requests, which the stand-in's writer, user and agent share: a wish without what is withheld,
and the wish before it was changed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from core.dialogue import Task
from core.messages import Message, UserMessage
from core.policy import ConfirmRule, Policy
from generation.policies.comparisons import governs

WANTS = "The user wants to "
CHANGED_MIND = ("I have changed my mind:", "On second thoughts,", "Sorry, I have to correct myself:")
TRY_AGAIN = (
    "I have just read that your service was extended. Please try it again: {0}.",
    "Your system has got new functions by now, it says here. So please {0}.",
)
WITHDRAWAL = "forget that I wanted to {0}"
WITHDRAWALS = (
    f"Oh, I do not know that. Then {WITHDRAWAL}.",
    f"Hm, in that case {WITHDRAWAL}, please.",
    f"That is too complicated. Please {WITHDRAWAL}.",
)
ACCEPTING = (
    "I see. That is a pity, but thank you.",
    "All right, then that is how it is. Thanks anyway.",
    "I understand. Thank you for telling me.",
)


def reduced(goal: str, task: Task) -> str:
    """A subgoal without its withheld values: "change the city of X to Oslo" -> "change the city of X"; "the loan with
    the due on 2025-06-02" -> "the loan"."""
    for value in task.withheld:
        if goal.endswith(f" to {value}"):
            goal = goal.removesuffix(f" to {value}")
        else:
            goal = re.sub(rf" with the (?:(?! with the )[^.])+? {re.escape(value)}(?!\w)", "", goal)
    return goal


def without_value(goal: str) -> str:
    """The subgoal without its new value ('change the city of customer 3'), or '' if it has none."""
    return goal.rsplit(" to ", 1)[0] if goal.startswith("change ") and " to " in goal else ""


def first_goal(task: Task) -> str:
    """The subgoal before the user changed their mind."""
    return task.first_wish.removeprefix(WANTS).removesuffix(".")


def as_wanted(task: Task, messages: Sequence[Message]) -> Task:
    """The task as the user wants it now: before a change of mind, its first wish."""
    said = "\n".join(message.content for message in messages if isinstance(message, UserMessage))
    if task.kind != "changed" or task.subgoals[0].casefold() in said.casefold():
        return task
    last = task.plan[-1]
    first = last.model_copy(update={"arguments": last.arguments | task.first_arguments})
    return task.model_copy(update={"subgoals": (first_goal(task),), "plan": (*task.plan[:-1], first)})


def confirm_rule(policy: Policy | None, tool: str, arguments: dict[str, Any]) -> bool:
    """Whether the user must agree before the assistant makes this call."""
    rules = [rule for rule in policy.rules if isinstance(rule, ConfirmRule)] if policy else []
    return any(tool in rule.tools and governs(rule.when, arguments, "") for rule in rules)
