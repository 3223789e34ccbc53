"""Verified, not only judged: what the environment can decide is decided by execution; the LRM judge runs beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from core.dialogue import Check, Dialogue, Judgment, StateProof, Task, Verdict, calls
from core.messages import AssistantMessage, ContractError
from generation.environments.base import DomainEnvironment
from generation.llm.meter import Meter
from generation.tasks.mentions import mentions_value
from generation.tasks.proof import ProofError, execute
from generation.validation.blame import blame
from generation.validation.judge import judge_task


@dataclass(frozen=True)
class Replay:
    """A dialogue's calls made again on a fresh environment: the snapshots at which its tasks began, the state hashes at their
    ends, the proof, and whether all results were those recorded."""

    snapshots: tuple[bytes, ...]
    hashes: tuple[str, ...]
    proof: StateProof
    faithful: bool


async def validate(
    dialogue: Dialogue,
    domain_environment: DomainEnvironment,
    judge: Meter,
    executable: bool,
    votes: int = 1,
    attempts: int = 1,
) -> Dialogue:
    """The dialogue with its verdict and, where calls are really executed, the proof of its state. One whose tasks were not all
    played, or that has none, is refused: nothing says what it should have come to."""
    if dialogue.stop != "complete":
        return broken_off(dialogue)
    if len(dialogue.task_starts) < max(1, len(dialogue.tasks)):
        return _unfinished(
            dialogue, f"unplayed: {len(dialogue.task_starts)} of its {len(dialogue.tasks)} tasks were played"
        )
    checks = [Check(name="finished", passed=True), _lawful(dialogue)]
    judgments: list[Judgment] = []
    if checks[-1].passed:
        if executable:
            again = await replay(dialogue, domain_environment)
            checks += await outcomes(dialogue, domain_environment, again)
            checks.append(_replays(dialogue, again))
            dialogue = dialogue.model_copy(update={"state": again.proof})
        judgments = [
            await judge_task(task, dialogue.part(number), dialogue.dialogue_id, judge, votes, attempts)
            for number, task in enumerate(dialogue.tasks)
        ]
    return _with_verdict(dialogue, checks, judgments, executable)


def broken_off(dialogue: Dialogue) -> Dialogue:
    """A dialogue that came to no end, refused for its stop reason. Its transcript's form is not what is to blame."""
    return _unfinished(dialogue, dialogue.stop)


def _unfinished(dialogue: Dialogue, why: str) -> Dialogue:
    return _with_verdict(dialogue, [Check(name="finished", passed=False, detail=why)], [], False)


def _with_verdict(
    dialogue: Dialogue, checks: Sequence[Check], judgments: Sequence[Judgment], executable: bool
) -> Dialogue:
    reasons = [f"{check.name}: {check.detail}" for check in checks if not check.passed]
    if not reasons:
        # The judge decides only of tasks that execution could not prove.
        judged = [j for j, task in zip(judgments, dialogue.tasks, strict=True) if not (executable and task.gold_calls)]
        reasons = [f"judge: {judgment.reasoning}" for judgment in judged if judgment.judgment == "invalid"]
    verdict = Verdict(
        accepted=not reasons,
        reasons=tuple(reasons),
        blame=blame(dialogue, checks, judgments, executable) if reasons else None,
        checks=tuple(checks),
        judgments=tuple(judgments),
    )
    return dialogue.model_copy(update={"verdict": verdict})


def _lawful(dialogue: Dialogue) -> Check:
    try:
        dialogue.check()
    except ContractError as error:
        return Check(name="contract", passed=False, detail=str(error))
    return Check(name="contract", passed=True)


def _replays(dialogue: Dialogue, again: Replay) -> Check:
    same = again.faithful and (dialogue.state is None or dialogue.state == again.proof)
    return Check(name="replay", passed=same, detail="" if same else "the calls made again give another state or result")


async def outcomes(dialogue: Dialogue, domain_environment: DomainEnvironment, again: Replay) -> list[Check]:
    """For each task with gold calls: is the state at its end the one that they make, and was every value told?"""
    checks: list[Check] = []
    for number, task in enumerate(dialogue.tasks):
        if task.gold_calls:
            detail = await _misstated(task, domain_environment, again.snapshots[number], again.hashes[number])
            checks.append(Check(name=f"state of task {number}", passed=not detail, detail=detail))
            said = " ".join(m.content for m in dialogue.part(number) if isinstance(m, AssistantMessage))
            untold = [value for value in task.told_values if not mentions_value(said, value)]
            detail = f"never told: {', '.join(untold)}" if untold else ""
            checks.append(Check(name=f"told in task {number}", passed=not untold, detail=detail))
    return checks


async def _misstated(task: Task, domain_environment: DomainEnvironment, snapshot: bytes, state_hash: str) -> str:
    """What is wrong with the state in which a task ended, or nothing."""
    before = domain_environment.open(snapshot)
    try:
        trace = await execute(task.gold_calls, before)
    except ProofError as error:
        return str(error)
    finally:
        before.close()
    return "" if trace.hashes[-1] == state_hash else "the state is not the one that the gold calls make"


async def replay(dialogue: Dialogue, domain_environment: DomainEnvironment) -> Replay:
    """Make all calls of the dialogue again on a fresh environment; what was given from elsewhere is not replayed."""
    environment = domain_environment.open()
    try:
        initial, faithful = environment.state_hash(), True
        snapshots: list[bytes] = []
        hashes: list[str] = []
        for number in range(len(dialogue.task_starts)):
            snapshots.append(environment.snapshot())
            for name, arguments, recorded in calls(dialogue.part(number)):
                faithful &= (await environment.call(name, arguments)).content == recorded
            hashes.append(environment.state_hash())
        proof = StateProof(initial_hash=initial, final_hash=environment.state_hash(), diff=environment.state_diff())
        return Replay(tuple(snapshots), tuple(hashes), proof, faithful)
    finally:
        environment.close()
