"""What a held τ² sample of inspect's amounts to: its trial record, and a readable transcript where it failed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from inspect_ai.event import ModelEvent
from inspect_ai.log import EvalSample
from inspect_ai.model import ChatMessageAssistant
from pydantic_core import to_jsonable_python

from core.schemas import schema_error
from evaluation.tau2.settings import Tau2Request
from evaluation.trials import TrialRecord

ENDED = "served_ended"
"""In a sample's store: why no more requests were sent for it, {"reason", "message"}."""
MARKS = {"###STOP###": "stop", "###TRANSFER###": "transfer", "###OUT-OF-SCOPE###": "out_of_scope"}


def record(sample: EvalSample, request: Tau2Request) -> TrialRecord:
    """The trial's record; a sample's id is domain/task/trial."""
    domain, name, trial = str(sample.id).split("/")
    ended = sample.store.get(ENDED) or {}
    events = [event for event in sample.events if isinstance(event, ModelEvent)]
    replies = [event for event in events if event.role != "user" and not event.error]
    error = _infrastructure_error(sample, ended, events)
    mark = _mark(sample)
    reward = all(score.value == "C" for score in (sample.scores or {}).values())
    calls = [(call, event.tools) for event in replies for call in event.output.message.tool_calls or ()]
    usage = [event.output.usage for event in replies if event.output.usage]
    return TrialRecord(
        benchmark="tau2",
        harness=request.settings.harness,
        category=domain,
        task_id=name,
        trial=int(trial),
        model=request.endpoint.model,
        success=None if error else mark is not None and reward,
        infrastructure_error=error,
        stop_reason="infrastructure" if error else mark or ended.get("reason", "unfinished"),
        truncations=sum(event.output.stop_reason == "max_tokens" for event in replies),
        calls=len(calls),
        valid_calls=sum(_fits(call, tools) for call, tools in calls),
        sampling=request.endpoint.sampling,
        simulator=request.simulator.model,
        prompt_tokens=sum(counted.input_tokens for counted in usage),
        completion_tokens=sum(counted.output_tokens for counted in usage),
        seconds=round(sum(event.working_time or 0.0 for event in replies), 3),
    )


def trajectory(sample: EvalSample) -> list[dict[str, Any]]:
    """What both sides and their tools said, in order: {"role": whose side it is, "message": inspect's message}."""
    found: list[Any] = next((value for key, value in sample.store.items() if key.endswith(":trajectory")), [])
    turns: list[dict[str, Any]] = to_jsonable_python(found, exclude_none=True)
    return turns


def notes(sample: EvalSample, trial: TrialRecord) -> list[str]:
    """Why the trial failed: which checks did, and for a database what was changed and what should have been."""
    unmarked = trial.stop_reason not in MARKS.values()
    never = [f"the user never ended the dialogue ({trial.stop_reason}), which officially scores 0"] if unmarked else []
    failed = [score for score in (sample.scores or {}).values() if score.value != "C"]
    checks = [f"failed check: {score.explanation}" for score in failed]
    return [*never, *checks, *(_database_lines(sample.store) if failed else ())]


def _database_lines(store: Mapping[str, Any]) -> Iterator[str]:
    """As JSON a lent database (evaluation.tau2.inspect_worker.databases) is what was changed in it; the scorer keeps the expected one."""
    databases = {key: to_jsonable_python(value) for key, value in store.items() if key.endswith(":db")}
    gold = [changes for key, changes in databases.items() if ":expected_db_" in key]
    tried = [changes for key, changes in databases.items() if ":expected_db_" not in key]
    for made, expected in zip(tried, gold, strict=False):  # telecom is not scored so
        for kind in sorted(made.keys() | expected.keys()):
            mine, theirs = made.get(kind, {}), expected.get(kind, {})
            for key in sorted(mine.keys() | theirs.keys()):
                if mine.get(key) != theirs.get(key):
                    yield f"{kind} {key}: made {_shown(mine.get(key))}, expected {_shown(theirs.get(key))}"


def _shown(entity: Any) -> str:
    return "no change" if entity is None else json.dumps(entity, ensure_ascii=False)


def chat(turns: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A trajectory in OpenAI's chat format, except that roles are the sides: user, assistant, and the tools of either."""
    messages = []
    for turn in turns:
        side, message = turn["role"], turn["message"]
        if message["role"] == "tool":
            side = "tool" if side == "assistant" else "tool of the user"
        calls = [
            {"function": {"name": call["function"], "arguments": json.dumps(call["arguments"], ensure_ascii=False)}}
            for call in message.get("tool_calls") or ()
        ]
        text, thought = _parts(message["content"])
        failure = (message.get("error") or {}).get("message")
        messages.append({"role": side, "content": failure or text, "reasoning_content": thought, "tool_calls": calls})
    return messages


def _parts(content: str | list[dict[str, Any]]) -> tuple[str, str]:
    """(words, thoughts)."""
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
    words = "\n".join(part["text"] for part in parts if part["type"] == "text")
    return words, "\n".join(part["reasoning"] for part in parts if part["type"] == "reasoning")


def _infrastructure_error(sample: EvalSample, ended: dict[str, str], events: list[ModelEvent]) -> str | None:
    """Why the trial could not be held, if so: a failed request, or an exception of the harness or its scorer."""
    if ended:
        return ended["message"] if ended["reason"] == "infrastructure" else None
    errors = [event.error for event in events if event.error]
    if errors or sample.error or not sample.scores:
        return errors[0] if errors else sample.error.message if sample.error else "the trial has no score"
    return None


def _mark(sample: EvalSample) -> str | None:
    """How the user simulator ended the dialogue, None if it did not."""
    last = sample.messages[-1] if sample.messages else None
    if not isinstance(last, ChatMessageAssistant):
        return None
    return next((reason for mark, reason in MARKS.items() if mark in last.text), None)


def _fits(call: Any, tools: Any) -> bool:
    """Whether a call names a declared tool and its arguments fit that tool's schema."""
    schemas = {tool.name: tool.parameters.model_dump(exclude_none=True) for tool in tools}
    return (
        call.parse_error is None
        and call.function in schemas
        and schema_error(call.arguments, schemas[call.function]) is None
    )
