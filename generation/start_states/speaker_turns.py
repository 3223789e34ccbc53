"""Parses conversations that list turns of speakers into messages of OpenAI's format: those of the Schema-Guided
Dialogue set (and MultiWOZ 2.2, which has its format), and those of ABCD."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from core.messages import ContractError

SPEAKER_KEYS = ("turns", "original")
_ROLES = {"user": "user", "customer": "user", "system": "assistant", "agent": "assistant"}


def speaker_messages(raw: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The conversation under "turns" (objects with `speaker` and `utterance`) or "original" (pairs of speaker and
    text); empty without either. The calls that a turn's frames or ABCD's "delexed" state become calls with their
    results. Raises ContractError for a speaker or a turn that is not known."""
    turns, pairs = (raw.get(key) for key in SPEAKER_KEYS)
    if isinstance(turns, list) and turns:
        return [message for number, turn in enumerate(turns) for message in _turn(turn, number)]
    if isinstance(pairs, list) and pairs:
        states = raw.get("delexed")
        aligned = states if isinstance(states, list) and len(states) == len(pairs) else [None] * len(pairs)
        return [
            message
            for number, (pair, state) in enumerate(zip(pairs, aligned, strict=True))
            for message in _pair(pair, state, number)
        ]
    return []


def _turn(turn: Any, number: int) -> Iterator[dict[str, Any]]:
    """A turn's service calls, their results, and what was said."""
    if not isinstance(turn, dict) or not isinstance(turn.get("utterance"), str):
        raise ContractError(f"turn {number} has no utterance", "unreadable")
    role, frames = _role(turn.get("speaker"), number), turn.get("frames") or []
    called = [frame for frame in frames if isinstance(frame, dict) and isinstance(frame.get("service_call"), dict)]
    if called and role != "assistant":
        raise ContractError(f"turn {number}: the user calls a service", "unreadable")
    if called:
        calls = [(frame["service_call"].get("method"), frame["service_call"].get("parameters")) for frame in called]
        results = [json.dumps(frame.get("service_results") or [], ensure_ascii=False) for frame in called]
        yield from _answered_calls(calls, results, number)
    yield {"role": role, "content": turn["utterance"]}


def _pair(pair: Any, state: Any, number: int) -> Iterator[dict[str, Any]]:
    """What a speaker said, or the agent's action as a call whose result is what was shown."""
    if not (isinstance(pair, list | tuple) and len(pair) == 2 and all(isinstance(part, str) for part in pair)):
        raise ContractError(f"turn {number} is not a pair of speaker and text", "unreadable")
    speaker, text = pair
    if speaker != "action":
        yield {"role": _role(speaker, number), "content": text}
        return
    targets = state.get("targets") if isinstance(state, dict) else None
    if not (isinstance(targets, list) and len(targets) > 3 and isinstance(targets[2], str)):
        raise ContractError(f'turn {number}: "delexed" does not say which action {text!r} is', "unknown content")
    yield from _answered_calls([(targets[2], {"values": targets[3]})], [text], number)


def _answered_calls(calls: Sequence[tuple[Any, Any]], results: Sequence[str], number: int) -> Iterator[dict[str, Any]]:
    """One message with all calls (name, arguments), then a result each."""
    ids = [f"turn_{number}_{position}" for position in range(len(calls))]
    functions = [{"name": name, "arguments": arguments or {}} for name, arguments in calls]
    tool_calls = [{"id": call_id, "function": function} for call_id, function in zip(ids, functions, strict=True)]
    yield {"role": "assistant", "content": "", "tool_calls": tool_calls}
    for call_id, result in zip(ids, results, strict=True):
        yield {"role": "tool", "tool_call_id": call_id, "content": result}


def _role(speaker: Any, number: int) -> str:
    role = _ROLES.get(str(speaker).casefold())
    if role is None:
        raise ContractError(f"turn {number}: the speaker {speaker!r} is not known", "roles out of order")
    return role
