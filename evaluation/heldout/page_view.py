"""A held-out dialogue as a page shows it, with the marks that generated dialogues have."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from core.dialogue import Check, Dialogue, Verdict
from core.page.contents import Transcript
from generation.dialogue.personas import UserSettings
from generation.outcomes import Outcome
from generation.policies.violations import Violation
from generation.report.replaying import Replayed
from generation.report.transcript import transcript_of

_BROKEN_RULE = re.compile(r"(\w+) \(message (\d+)\) breaks (\w+)")
"""As generation.validation.outcome records it in the check "policy"."""


def dialogue_transcript(dialogue: Dialogue, checks: Sequence[Check], config: Mapping[str, Any]) -> Transcript:
    """The tasks with what was met of them, and the messages with marks. `checks` are the recorded ones, `config` is the
    run's: it has the user simulator's rules, whose faults are marked. Nothing is executed again."""
    verdict = Verdict(accepted=all(check.passed for check in checks), checks=tuple(checks))
    outcome = Outcome(
        dialogue_id=dialogue.dialogue_id,
        status="accepted" if verdict.accepted else "rejected",
        dialogue=dialogue.model_copy(update={"verdict": verdict}),
    )
    details = [check.detail for check in checks if check.name == "policy"]
    replayed = Replayed(violations=tuple(_violations(dialogue, " ".join(details))))
    return transcript_of(outcome, "heldout", _users(config), replayed, frozenset())


def _violations(dialogue: Dialogue, detail: str) -> Iterator[Violation]:
    """The broken rules that a check names, at each call of its message and tool."""
    for tool, message, rule_id in _BROKEN_RULE.findall(detail):
        position = int(message)
        for call in getattr(dialogue.messages[position], "tool_calls", None) or ():
            if call.name == tool:
                yield Violation(position, call.id, tool, rule_id)


def _users(config: Mapping[str, Any]) -> UserSettings | None:
    """None for a run of a version with other settings."""
    try:
        return UserSettings.model_validate(config["benchmarks"]["heldout"]["user"])
    except (KeyError, ValidationError):
        return None
