"""The verdict on a session that was opened for a task: what execution decides without a user to listen to."""

from __future__ import annotations

from core.dialogue import Check, Dialogue, Verdict
from core.policy import ConfirmRule, Policy
from generation.environments.base import DomainEnvironment
from generation.validation.validate import Replay, outcomes, policy_check, replay

_NEED_A_USER = ("asked in", "kept back in", "first wish in")
"""Checks of `outcomes` that read what a user said, which no one says in a session."""


def without_consent(policy: Policy | None) -> Policy | None:
    """The policy without the rules that ask for a user's consent, which no one can give in a session."""
    if policy is None:
        return None
    rules = tuple(rule for rule in policy.rules if not isinstance(rule, ConfirmRule))
    return policy.model_copy(update={"rules": rules})


async def judge(dialogue: Dialogue, domain_environment: DomainEnvironment) -> tuple[Replay, Verdict]:
    """Replay a dialogue whose last task a session worked on. It is accepted if its calls give the same results again,
    the state is the one that the task's gold calls make, every required value was told, a request to be declined was
    declined, and no rule was broken."""
    replayed = await replay(dialogue, domain_environment)
    last = len(dialogue.tasks) - 1
    checks = [Check(name="replay", passed=replayed.faithful)]
    checks += [
        check
        for check in await outcomes(dialogue, domain_environment, replayed)
        if check.task == last and not check.name.startswith(_NEED_A_USER)
    ]
    checks += policy_check(dialogue, replayed)
    reasons = tuple(f"{check.name}: {check.detail}" for check in checks if not check.passed)
    return replayed, Verdict(accepted=not reasons, reasons=reasons, checks=tuple(checks))
