"""Parallel calls: merges independent look-ups that a turn makes one after the other into one message with all calls.

Some models make one call at a time. Where the second look-up needs nothing of the first one's result, both can be made
at once, and models should learn to. Two things are proved before messages are merged: the later call was written
without the earlier result (generation.dialogue.independence), and execution shows that all calls only read, with the
same results and states when made in one go, forwards and backwards.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from random import Random

from pydantic import Field

from core.dialogue import Dialogue
from core.messages import AssistantMessage, ContractError, Message, ToolCall, ToolMessage
from core.provenance import Provenance
from core.settings import Settings
from generation.dialogue.independence import Knowledge, Round, is_independent, rounds
from generation.environments.base import DomainEnvironment, Environment
from generation.specs.naming import changes


class ParallelSettings(Settings):
    """Settings of the parallel stage."""

    share: float = Field(ge=0, le=1, description="share of the groups of independent look-ups that are merged")
    max_calls: int = Field(ge=2, description="calls in one merged message at most")


@dataclass(frozen=True)
class _LookUp:
    """What execution says about a round that only reads: the state before it, and whether one of its calls found
    nothing or failed."""

    snapshot: bytes
    in_vain: bool


async def merge_look_ups(
    dialogue: Dialogue, domain_environment: DomainEnvironment, seed: str, settings: ParallelSettings
) -> Dialogue:
    """The dialogue with a drawn share of its groups of independent look-ups merged, and the counts of both in its
    provenance. Messages taken from a start state stay as they are. A dialogue that breaks the message contract or does
    not replay stays as it is."""
    try:
        dialogue.check()
    except ContractError:
        return dialogue
    if not dialogue.task_starts:
        return dialogue
    start = max(dialogue.given, dialogue.provenance.parent_messages, dialogue.task_starts[0])
    eligible = await _eligible(dialogue, start, domain_environment, settings.max_calls)
    chosen = [group for group in eligible if Random(f"{seed}/parallel/{group[0].position}").random() < settings.share]
    provenance = dialogue.provenance | Provenance(parallel={"eligible": len(eligible), "merged": len(chosen)})
    return _merged(dialogue, chosen).model_copy(update={"provenance": provenance})


async def _eligible(
    dialogue: Dialogue, start: int, domain_environment: DomainEnvironment, max_calls: int
) -> list[list[Round]]:
    candidates = list(rounds(dialogue, start))
    if not any(one.end == other.position for one, other in pairwise(candidates)):
        return []  # no need to execute anything
    look_ups = await _look_ups(dialogue, domain_environment)
    groups = list(_groups(dialogue, candidates, look_ups, max_calls))
    return [g for g in groups if await _reads_in_any_order(g, domain_environment, look_ups[g[0].position].snapshot)]


def _groups(
    dialogue: Dialogue, candidates: Sequence[Round], look_ups: dict[int, _LookUp], max_calls: int
) -> Iterator[list[Round]]:
    """Consecutive look-ups, each independent of those before it in its group, as long as possible from the first on."""
    governed = {tool for rule in dialogue.policy.rules for tool in rule.tools} if dialogue.policy else set()
    group: list[Round] = []
    known = Knowledge(dialogue, 0)
    for each in candidates:
        # A policy may prescribe what has to come before a call.
        free = each.position in look_ups and not governed.intersection(name for name, _ in each.calls)
        if (
            group
            and free
            and group[-1].end == each.position
            and not any(look_ups[earlier.position].in_vain for earlier in group)
            and sum(len(one.calls) for one in (*group, each)) <= max_calls
            and is_independent(each, group, known)
        ):
            group.append(each)
            continue
        if len(group) > 1:
            yield group
        group, known = [each] if free else [], Knowledge(dialogue, each.position)
    if len(group) > 1:
        yield group


async def _look_ups(dialogue: Dialogue, domain_environment: DomainEnvironment) -> dict[int, _LookUp]:
    """The rounds that only read, by position, after all calls of the dialogue were made again; none if a result is
    another one."""
    look_ups: dict[int, _LookUp] = {}
    environment = domain_environment.open()
    try:
        for each in rounds(dialogue, dialogue.task_starts[0]):
            snapshot, state = environment.snapshot(), _state(environment)
            in_vain, reads = False, not any(changes(name) for name, _ in each.calls)
            for (name, arguments), recorded in zip(each.calls, each.results, strict=True):
                result = await environment.call(name, arguments)
                if result.content != recorded.content:
                    return {}
                in_vain |= result.in_vain
                reads = reads and _state(environment) == state
            if reads:
                look_ups[each.position] = _LookUp(snapshot, in_vain)
    finally:
        environment.close()
    return look_ups


async def _reads_in_any_order(group: Sequence[Round], domain_environment: DomainEnvironment, snapshot: bytes) -> bool:
    """Whether the calls, made backwards, leave the state as it is and return what they returned.

    Made forwards, each one left the state as it was, so that in any order every call meets this same state. Made
    backwards too, they show that nothing but the state counts."""
    environment = domain_environment.open(snapshot)
    try:
        state = _state(environment)
        made = [pair for each in group for pair in zip(each.calls, each.results, strict=True)]
        for (name, arguments), recorded in reversed(made):
            if (await environment.call(name, arguments)).content != recorded.content or _state(environment) != state:
                return False
    finally:
        environment.close()
    return True


def _state(environment: Environment) -> tuple[str, tuple[str, ...]]:
    return environment.state_hash(), environment.state_diff()


def _merged(dialogue: Dialogue, groups: Sequence[Sequence[Round]]) -> Dialogue:
    """The dialogue with each group as one round, and all indexes and call ids after the first one moved."""
    if not groups:
        return dialogue
    merged = {group[0].position: group for group in groups}
    inner = {position for group in groups for position in range(group[0].position + 1, group[-1].end)}
    messages: list[Message] = []
    moved: dict[int, int] = {}
    ids: dict[str, str] = {}
    for position, message in enumerate(dialogue.messages):
        if position in inner:
            continue
        moved[position] = len(messages)
        group = merged.get(position, ())
        parts: list[Message] = [_joined(group)] if group else [message]
        parts += [result for each in group for result in each.results]
        for part in parts:
            messages.append(_renumbered(part, len(messages), ids) if position >= min(merged) else part)
    return dialogue.model_copy(
        update={
            "messages": tuple(messages),
            "task_starts": tuple(moved[start] for start in dialogue.task_starts),
            "late_tools": {name: moved[index] for name, index in dialogue.late_tools.items()},
        }
    )


def _joined(group: Sequence[Round]) -> AssistantMessage:
    """One message with all calls, and the contents and thoughts of all in their order, each once."""
    contents = dict.fromkeys(each.message.content for each in group)
    thoughts = dict.fromkeys(each.message.reasoning_content for each in group)
    return AssistantMessage(
        content="\n\n".join(filter(None, contents)),
        reasoning_content="\n\n".join(filter(None, thoughts)) or None,
        tool_calls=tuple(call for each in group for call in each.message.tool_calls or ()),
    )


def _renumbered(message: Message, position: int, ids: dict[str, str]) -> Message:
    """The message at its new index, with call ids as the agent gives them: a dialogue that continues from here finds
    none of its ids used. `ids` maps old ids to new ones."""
    if isinstance(message, ToolMessage):
        return message.model_copy(update={"tool_call_id": ids.get(message.tool_call_id, message.tool_call_id)})
    if not isinstance(message, AssistantMessage) or not message.tool_calls:
        return message
    calls: list[ToolCall] = []
    for number, call in enumerate(message.tool_calls):
        ids[call.id] = f"call_{position}_{number}"
        calls.append(call.model_copy(update={"id": ids[call.id]}))
    return message.model_copy(update={"tool_calls": tuple(calls)})
