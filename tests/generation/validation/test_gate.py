"""The gate: the judge also rejects what execution accepts. Who decides, for which reason, whose fault, what is counted.

The votes are given; what follows from them is worked out by hand.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import get_args

import pytest

from core.dialogue import Dialogue, Verdict
from core.messages import AssistantMessage
from core.settings import UserError
from generation.environments.base import DomainEnvironment
from generation.llm.base import Completion, Request
from generation.llm.contexts import JudgeContext
from generation.llm.meter import Meter
from generation.metrics.judge_agreement import AgreementTally
from generation.stages import Validation
from generation.validation.judge import Gate
from generation.validation.validate import validate
from tests.generation.helpers.pipeline_runs import SCENE, FinishedRun


@dataclass
class Votes:
    """A judge whose vote v of every task is the v-th character: + valid, - invalid, ? unreadable."""

    votes: str
    name: str = "votes"
    seen: list[str] = field(default_factory=list)

    async def complete(self, request: Request) -> Completion:
        assert isinstance(request.context, JudgeContext)
        vote = int(request.key.split("/")[-2])
        bullets = [
            {"index": index, "rubric_class": "NonCritical", "passed": True}
            for index, _ in enumerate(request.context.task.rubric.bullets, start=1)
        ]
        valid = self.votes[vote] == "+"
        answer = {
            "bullets": bullets,
            "reasoning": f"vote {vote}",
            "judgment": "valid" if valid else "invalid",
            "blame": "none" if valid else "user",
        }
        text = "I cannot say." if self.votes[vote] == "?" else json.dumps(answer)
        return Completion(AssistantMessage(content=text), model=self.name)

    async def close(self) -> None: ...


async def judged(
    dialogue: Dialogue, environment: DomainEnvironment, votes: str, gate: Gate
) -> tuple[Dialogue, Verdict]:
    meter = Meter(Votes(votes))
    validated = await validate(dialogue, environment, meter, SCENE, True, len(votes), 1, gate)
    assert validated.verdict
    return validated, validated.verdict


@pytest.mark.parametrize(
    ("votes", "gate", "reason"),
    [
        ("-", "off", None),
        ("---", "off", None),
        ("+", "majority", None),
        ("-", "majority", "vote 0"),
        ("+-+", "majority", None),
        ("-+-", "majority", "vote 0"),
        ("+--", "majority", "vote 1"),
        ("?--", "majority", "vote 1"),
        ("+++", "unanimous", None),
        ("+-+", "unanimous", "vote 1"),
        ("++-", "unanimous", "vote 2"),
        ("--+", "unanimous", "vote 0"),
        ("++?", "unanimous", "the judge's answer is unreadable: "),
    ],
)
async def test_the_gate_rejects_what_execution_accepts(
    executed: FinishedRun, environments: dict[str, DomainEnvironment], votes: str, gate: Gate, reason: str | None
) -> None:
    dialogue = next(d for d in executed.accepted if len(d.tasks) > 1)
    validated, verdict = await judged(dialogue, environments[dialogue.domain], votes, gate)
    assert all(check.passed for check in verdict.checks)
    assert verdict.accepted is (reason is None)
    assert len(verdict.reasons) == (len(dialogue.tasks) if reason else 0)
    assert all(given.startswith(f"judge: {reason}") for given in verdict.reasons)
    blame = "judge" if "?" in votes and gate == "unanimous" else "user"
    assert verdict.blame == (blame if reason else None)
    assert validated.state == dialogue.state, "the proof by execution stays"


async def test_the_gate_leaves_the_agreement_of_judge_and_execution_as_it_is(
    executed: FinishedRun, environments: dict[str, DomainEnvironment]
) -> None:
    """Two dialogues that execution accepts, of which the majority rejects one, and one that execution rejects."""
    accepted = executed.accepted
    rejected = [r.dialogue for r in executed.rejected if r.dialogue and r.dialogue.stop == "complete"]
    results = []
    for gate in get_args(Gate):
        tally = AgreementTally()
        for dialogue, votes in ((accepted[0], "++-"), (accepted[1], "-+-"), (rejected[0], "+++")):
            tally.add((await judged(dialogue, environments[dialogue.domain], votes, gate))[0])
        results.append(tally.result())
    agreement = results[0]
    assert agreement
    counts = (agreement.both_valid, agreement.judge_only, agreement.execution_only, agreement.both_invalid)
    assert counts == (1, 1, 1, 0)
    assert results == [agreement] * 3


def test_an_unknown_gate_is_named() -> None:
    with pytest.raises(UserError, match=r"stages.validation.gate.*'off', 'majority' or 'unanimous'.*given: 'strict'"):
        Validation(votes=1, attempts=1, gate="strict")
