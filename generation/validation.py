"""Verified, not only judged: what the environment can decide is decided by execution; the LRM judge runs beside it."""

from __future__ import annotations

from core.dialogue import Check, Dialogue, Judgment, StateProof, Task, Verdict
from core.messages import AssistantMessage, ContractError, Message, UserMessage
from generation.environments.base import World
from generation.llm.base import LLM, JudgeContext, Request
from generation.llm.json_text import read_answer
from generation.prompts import render
from generation.proof import ProofError, execute, tells
from generation.rollout import Trajectory

_ANSWER = Judgment.model_json_schema()


async def validate(dialogue: Dialogue, trajectory: Trajectory, world: World, judge: LLM, executable: bool) -> Dialogue:
    """The dialogue with its verdict and, where calls were really executed, the proof of its state."""
    finished = trajectory.stop == "complete"
    checks = [Check(name="finished", passed=finished, detail="" if finished else trajectory.stop)]
    if finished:  # where it broke off, the transcript's form is not what is to blame
        checks.append(_lawful(dialogue))
    if not all(check.passed for check in checks):
        return dialogue.model_copy(update={"verdict": _verdict(checks, [], executable)})
    state = None
    if executable:
        for number, task in enumerate(dialogue.tasks):
            checks += await outcome(number, task, dialogue, trajectory, world)
        state = await replay(dialogue, world)
        same = state is not None and state.final_hash == trajectory.hashes[-1]
        checks.append(
            Check(
                name="replay", passed=same, detail="" if same else "replaying the calls gives another state or result"
            )
        )
    judgments = [
        await _judge(task, _part(dialogue, number), dialogue.dialogue_id, judge)
        for number, task in enumerate(dialogue.tasks)
    ]
    return dialogue.model_copy(update={"verdict": _verdict(checks, judgments, executable), "state": state})


def _verdict(checks: list[Check], judgments: list[Judgment], executable: bool) -> Verdict:
    reasons = [f"{check.name}: {check.detail}" for check in checks if not check.passed]
    if not executable and not reasons:
        reasons = [f"judge: {judgment.reasoning}" for judgment in judgments if judgment.judgment == "invalid"]
    return Verdict(accepted=not reasons, reasons=tuple(reasons), checks=tuple(checks), judgments=tuple(judgments))


def _lawful(dialogue: Dialogue) -> Check:
    try:
        dialogue.check()
    except ContractError as error:
        return Check(name="contract", passed=False, detail=str(error))
    return Check(name="contract", passed=True)


def _part(dialogue: Dialogue, number: int) -> tuple[Message, ...]:
    """The messages of one task."""
    ends = [*dialogue.task_starts[1:], len(dialogue.messages)]
    return dialogue.messages[dialogue.task_starts[number] : ends[number]]


async def outcome(number: int, task: Task, dialogue: Dialogue, trajectory: Trajectory, world: World) -> list[Check]:
    """Whether the state at the task's end is the one its gold calls make, and whether every value was told."""
    before = world.open(trajectory.snapshots[number])
    try:
        trace = await execute(task.gold_calls, before)
        same, detail = (
            trace.hashes[-1] == trajectory.hashes[number],
            "the state is not the one that the gold calls make",
        )
    except ProofError as error:
        same, detail = False, str(error)
    finally:
        before.close()
    said = " ".join(m.content for m in _part(dialogue, number) if isinstance(m, AssistantMessage))
    untold = [value for value in task.told_values if not tells(said, value)]
    return [
        Check(name=f"state of task {number}", passed=same, detail="" if same else detail),
        Check(
            name=f"told in task {number}",
            passed=not untold,
            detail=f"never told: {', '.join(untold)}" if untold else "",
        ),
    ]


async def replay(dialogue: Dialogue, world: World) -> StateProof | None:
    """Make all calls of the dialogue again on a fresh environment. None where any result differs from the recorded one."""
    environment = world.open()
    try:
        initial = environment.state_hash()
        for name, arguments, recorded in dialogue.calls():
            if (await environment.call(name, arguments)).content != recorded:
                return None
        return StateProof(initial_hash=initial, final_hash=environment.state_hash(), diff=environment.state_diff())
    finally:
        environment.close()


async def _judge(task: Task, transcript: tuple[Message, ...], dialogue_id: str, judge: LLM) -> Judgment:
    """The judge's opinion of one task; an unreadable answer counts as "invalid" and says so."""
    request = Request(
        role="judge",
        messages=(UserMessage(content=render("judge", task=task, transcript=transcript)),),
        key=f"{task.task_id}/judge",
        affinity=dialogue_id,
        context=JudgeContext(task, transcript),
        json_schema=_ANSWER,
    )
    try:
        return read_answer((await judge.complete(request)).message.content, Judgment)
    except ValueError as error:
        return Judgment(judgment="invalid", reasoning=f"the judge's answer is unreadable: {error}")
