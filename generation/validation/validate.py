"""Validation (Stage 3): execution decides wherever the environment can execute; the LRM judge runs alongside."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from core.dialogue import Check, Dialogue, Judgment, PlannedCall, StateProof, Task, Verdict
from core.dual_control import UserAction
from core.messages import AssistantMessage, ContractError
from generation.environments.base import DomainEnvironment, Environment
from generation.llm.meter import Meter
from generation.policies.violations import Violation, broken_rules
from generation.prompts.scene import Scene
from generation.tasks.execution import ProofError, execute
from generation.tasks.mentions import mentions_value
from generation.validation.blame import blame
from generation.validation.conduct import conduct
from generation.validation.judge import Gate, judge_task, rejection

SHOWN_CHANGES = 3
"""How many lines of a wrong state are shown."""


@dataclass(frozen=True)
class Replay:
    """A dialogue's calls, replayed on a fresh environment: the snapshot at each task's start, the state hash at its
    end, the messages whose calls changed the state, these calls as (message, id), the broken rules of the policy, the
    proof, and whether every result was the recorded one."""

    snapshots: tuple[bytes, ...]
    hashes: tuple[str, ...]
    changed_at: frozenset[int]
    changes: frozenset[tuple[int, str]]
    violations: tuple[Violation, ...]
    proof: StateProof
    faithful: bool


async def validate(
    dialogue: Dialogue,
    domain_environment: DomainEnvironment,
    judge: Meter,
    scene: Scene,
    executable: bool,
    votes: int = 1,
    attempts: int = 1,
    gate: Gate = "off",
) -> Dialogue:
    """The dialogue with its verdict and, in an executable environment, its state proof. With a `gate`, the judge can
    also reject what execution accepts. A dialogue without tasks, or with tasks that were not played, is rejected: its
    outcome has nothing to be checked against. Raises LLMError."""
    if dialogue.stop != "complete":
        return broken_off(dialogue)
    if len(dialogue.task_starts) < max(1, len(dialogue.tasks)):
        return _unfinished(
            dialogue, f"unplayed: {len(dialogue.task_starts)} of its {len(dialogue.tasks)} tasks were played"
        )
    checks = [Check(name="finished", passed=True), _contract(dialogue)]
    judgments: list[Judgment] = []
    if checks[-1].passed:
        if executable:
            replayed = await replay(dialogue, domain_environment)
            checks += await outcomes(dialogue, domain_environment, replayed)
            checks += policy_check(dialogue, replayed)
            checks.append(_replays(dialogue, replayed))
            dialogue = dialogue.model_copy(update={"state": replayed.proof})
        judgments = [
            await judge_task(
                task, dialogue.part(number), scene, dialogue.dialogue_id, judge, votes, attempts, dialogue.policy
            )
            for number, task in enumerate(dialogue.tasks)
        ]
    return _with_verdict(dialogue, checks, judgments, rejections(dialogue, judgments, executable, gate))


def broken_off(dialogue: Dialogue) -> Dialogue:
    """A dialogue that stopped early, rejected with its stop reason, whatever the form of its transcript."""
    return _unfinished(dialogue, dialogue.stop)


def _unfinished(dialogue: Dialogue, why: str) -> Dialogue:
    return _with_verdict(dialogue, [Check(name="finished", passed=False, detail=why)], [], {})


def rejections(dialogue: Dialogue, judgments: Sequence[Judgment], executable: bool, gate: Gate) -> dict[int, Judgment]:
    """Number of a task -> the judgment that rejects it. The majority decides tasks that execution could not prove, the
    gate all others."""
    rejecting: dict[int, Judgment] = {}
    for number, judgment in enumerate(judgments):
        proved = executable and dialogue.tasks[number].is_proved
        if vote := rejection(judgment, gate if proved else "majority"):
            rejecting[number] = vote
    return rejecting


def _with_verdict(
    dialogue: Dialogue, checks: Sequence[Check], judgments: Sequence[Judgment], rejecting: Mapping[int, Judgment]
) -> Dialogue:
    reasons = [f"{check.name}: {check.detail}" for check in checks if not check.passed]
    reasons = reasons or [f"judge: {judgment.reasoning}" for judgment in rejecting.values()]
    verdict = Verdict(
        accepted=not reasons,
        reasons=tuple(reasons),
        blame=blame(dialogue, checks, rejecting) if reasons else None,
        checks=tuple(checks),
        judgments=tuple(judgments),
    )
    return dialogue.model_copy(update={"verdict": verdict})


def _contract(dialogue: Dialogue) -> Check:
    try:
        dialogue.check()
    except ContractError as error:
        return Check(name="contract", passed=False, detail=str(error))
    return Check(name="contract", passed=True)


def _replays(dialogue: Dialogue, replayed: Replay) -> Check:
    same = replayed.faithful and (dialogue.state is None or dialogue.state == replayed.proof)
    return Check(name="replay", passed=same, detail="" if same else "the calls made again give another state or result")


async def outcomes(dialogue: Dialogue, domain_environment: DomainEnvironment, replayed: Replay) -> list[Check]:
    """The checks of each proved task: its gold calls lead to its final state, the agent mentioned every value, and did
    what this kind of request takes (generation.validation.conduct)."""
    checks: list[Check] = []
    for number, task in enumerate(dialogue.tasks):
        if task.is_proved:
            detail = await _state_problem(task, domain_environment, replayed, number)
            checks.append(Check(name=f"state of task {number}", passed=not detail, task=number, detail=detail))
            answers = " ".join(m.content for m in dialogue.part(number) if isinstance(m, AssistantMessage))
            missing = [value for value in task.told_values if not mentions_value(answers, value)]
            detail = f"never told: {', '.join(missing)}" if missing else ""
            checks.append(Check(name=f"told in task {number}", passed=not missing, task=number, detail=detail))
            checks += conduct(dialogue, number, replayed.changed_at)
    return checks


def policy_check(dialogue: Dialogue, replayed: Replay) -> list[Check]:
    """Whether the agent kept the policy's rules; no check without a policy."""
    if dialogue.policy is None:
        return []
    broken = [
        f"{violation.tool} (message {violation.position}) breaks {violation.rule_id}"
        for violation in replayed.violations
    ]
    return [Check(name="policy", passed=not broken, detail="; ".join(broken))]


async def _state_problem(task: Task, domain_environment: DomainEnvironment, replayed: Replay, number: int) -> str:
    """Why the state in which a task ended is wrong, or ""."""
    before = domain_environment.open(replayed.snapshots[number])
    try:
        trace = await execute(task.gold_calls, before)
        if trace.hashes[-1] == replayed.hashes[number]:
            return ""
        found = _diff_after(domain_environment, replayed, number)
        wrong = difference(await _wanted(trace.calls, before), found)
        return "; ".join(["the state is not the one that the gold calls make", *wrong])
    except ProofError as error:
        return str(error)
    finally:
        before.close()


async def _wanted(gold_calls: Sequence[PlannedCall], before: Environment) -> tuple[str, ...]:
    """The difference of the state after these calls, made on a fork, which has no injected faults."""
    fork = before.fork()
    try:
        for call in gold_calls:
            await fork.call(call.tool, call.arguments)
        return fork.state_diff()
    finally:
        fork.close()


def _diff_after(domain_environment: DomainEnvironment, replayed: Replay, number: int) -> tuple[str, ...]:
    """The difference of the state after a task."""
    if number + 1 == len(replayed.snapshots):
        return replayed.proof.diff
    environment = domain_environment.open(replayed.snapshots[number + 1])
    try:
        return environment.state_diff()
    finally:
        environment.close()


def difference(wanted: Sequence[str], found: Sequence[str]) -> Iterator[str]:
    """In words, what a state's difference lacks and has too much, with at most SHOWN_CHANGES lines each."""
    for heading, lines in (
        ("missing", Counter(wanted) - Counter(found)),
        ("too much", Counter(found) - Counter(wanted)),
    ):
        shown = [*lines.elements()][:SHOWN_CHANGES]
        more = lines.total() - len(shown)
        if shown:
            yield f"{heading}: {', '.join(shown)}{f' and {more} more' if more else ''}"


async def _repeats(action: UserAction, environment: Environment) -> bool:
    """Whether what the user did, done again, returns the same."""
    return (await environment.call(action.tool, action.arguments)).content == action.result


async def replay(dialogue: Dialogue, domain_environment: DomainEnvironment) -> Replay:
    """Replay all calls of both sides on a fresh environment, except those of imported messages."""
    environment = domain_environment.open()
    try:
        initial, faithful = environment.state_hash(), True
        snapshots: list[bytes] = []
        hashes: list[str] = []
        changes: set[tuple[int, str]] = set()
        broken: list[Violation] = []
        policy, now = dialogue.policy, dialogue.provenance.now or ""
        for number in range(len(dialogue.task_starts)):
            snapshots.append(environment.snapshot())
            state = environment.state_hash()
            pending = list(dialogue.actions(number))
            for position, call, arguments, recorded in dialogue.executed(number):
                while pending and pending[0].message < position:
                    faithful &= await _repeats(pending.pop(0), environment)
                    state = environment.state_hash()
                if policy:
                    before = dialogue.messages[:position]
                    rules = await broken_rules(policy, call.name, arguments, environment, before, now)
                    broken += [Violation(position, call.id, call.name, rule.rule_id) for rule in rules]
                faithful &= (await environment.call(call.name, arguments)).content == recorded
                if environment.state_hash() != state:
                    changes.add((position, call.id))
                    state = environment.state_hash()
            for action in pending:
                faithful &= await _repeats(action, environment)
            hashes.append(environment.state_hash())
        proof = StateProof(initial_hash=initial, final_hash=environment.state_hash(), diff=environment.state_diff())
        changed_at = frozenset(position for position, _ in changes)
        return Replay(tuple(snapshots), tuple(hashes), changed_at, frozenset(changes), tuple(broken), proof, faithful)
    finally:
        environment.close()
