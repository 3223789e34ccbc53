"""Converts a finished inspect sample into a trial record, and a failed one into notes and messages of a transcript."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from inspect_ai.event import ModelEvent
from inspect_ai.log import EvalSample
from inspect_ai.model import ChatMessageAssistant
from pydantic_core import to_jsonable_python

from core.schemas import schema_error
from core.server_protocol import total
from evaluation.tau2.settings import Tau2Request
from evaluation.trials import TrialRecord

ENDED = "served_ended"
"""Key in a sample's store: why no more requests are sent for it, {"reason", "message"}."""
MARKS = {"###STOP###": "stop", "###TRANSFER###": "transfer", "###OUT-OF-SCOPE###": "out_of_scope"}
"""Marks with which the user simulator ends a dialogue, and the stop reasons that they mean."""


def trial_record(sample: EvalSample, request: Tau2Request) -> TrialRecord:
    """The trial's record. A sample's id is domain/task/trial."""
    domain, name, trial = str(sample.id).split("/")
    ended = sample.store.get(ENDED) or {}
    events = [event for event in sample.events if isinstance(event, ModelEvent)]
    replies = [event for event in events if event.role != "user" and not event.error]
    error = _infrastructure_error(sample, ended, events)
    user_stop = _user_stop(sample)
    rewarded = all(score.value == "C" for score in (sample.scores or {}).values())
    calls = [(call, event.tools) for event in replies for call in event.output.message.tool_calls or ()]
    usages = [event.output.usage for event in replies]
    return TrialRecord(
        benchmark="tau2",
        harness=request.settings.harness,
        category=domain,
        task_id=name,
        trial=int(trial),
        model=request.endpoint.model,
        success=None if error else user_stop is not None and rewarded,
        infrastructure_error=error,
        stop_reason="infrastructure" if error else user_stop or ended.get("reason", "unfinished"),
        truncations=sum(event.output.stop_reason == "max_tokens" for event in replies),
        calls=len(calls),
        valid_calls=sum(_fits(call, tools) for call, tools in calls),
        sampling=request.endpoint.sampling,
        simulator=request.simulator.model,
        prompt_tokens=total(usage and usage.input_tokens for usage in usages),
        completion_tokens=total(usage and usage.output_tokens for usage in usages),
        seconds=round(sum(event.working_time or 0.0 for event in replies), 3),
    )


def trajectory(sample: EvalSample) -> list[dict[str, Any]]:
    """The messages of both sides and their tools, in order: {"role": the side, "message": inspect's message}."""
    stored: list[Any] = next((value for key, value in sample.store.items() if key.endswith(":trajectory")), [])
    turns: list[dict[str, Any]] = to_jsonable_python(stored, exclude_none=True)
    return turns


def failure_notes(sample: EvalSample, trial: TrialRecord) -> list[str]:
    """Why the trial failed: the failed checks, and the actual and expected changes of the database."""
    failed = [score for score in (sample.scores or {}).values() if score.value != "C"]
    notes = [f"failed check: {score.explanation}" for score in failed]
    if trial.stop_reason not in MARKS.values():
        notes.insert(0, f"the user never ended the dialogue ({trial.stop_reason}), which officially scores 0")
    return [*notes, *(_database_differences(sample.store) if failed else ())]


def _database_differences(store: Mapping[str, Any]) -> Iterator[str]:
    """Compares the trial's database with the expected one, which the scorer keeps.

    As JSON a copied-on-read database (evaluation.tau2.inspect_worker.databases) consists of its changes.
    """
    databases = {key: to_jsonable_python(value) for key, value in store.items() if key.endswith(":db")}
    gold = [changes for key, changes in databases.items() if ":expected_db_" in key]
    final = [changes for key, changes in databases.items() if ":expected_db_" not in key]
    for actual, expected in zip(final, gold, strict=False):  # telecom has no expected database
        for kind in sorted(actual.keys() | expected.keys()):
            got, wanted = actual.get(kind, {}), expected.get(kind, {})
            for key in sorted(got.keys() | wanted.keys()):
                if got.get(key) != wanted.get(key):
                    yield f"{kind} {key}: got {_entity_text(got.get(key))}, expected {_entity_text(wanted.get(key))}"


def _entity_text(entity: Any) -> str:
    return "no change" if entity is None else json.dumps(entity, ensure_ascii=False)


def chat(turns: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A trajectory in OpenAI's chat format, but with the sides as roles: user, assistant, and the tools of each."""
    messages = []
    for turn in turns:
        side, message = turn["role"], turn["message"]
        if message["role"] == "tool":
            side = "tool" if side == "assistant" else "tool of the user"
        calls = [
            {"function": {"name": call["function"], "arguments": json.dumps(call["arguments"], ensure_ascii=False)}}
            for call in message.get("tool_calls") or ()
        ]
        text, reasoning = _text_and_reasoning(message["content"])
        failure = (message.get("error") or {}).get("message")
        messages.append({"role": side, "content": failure or text, "reasoning_content": reasoning, "tool_calls": calls})
    return messages


def _text_and_reasoning(content: str | list[dict[str, Any]]) -> tuple[str, str]:
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
    text = "\n".join(part["text"] for part in parts if part["type"] == "text")
    return text, "\n".join(part["reasoning"] for part in parts if part["type"] == "reasoning")


def _infrastructure_error(sample: EvalSample, ended: dict[str, str], events: list[ModelEvent]) -> str | None:
    """Why the trial was not completed, or None: a failed request, or an exception of the harness or its scorer."""
    if ended:
        return ended["message"] if ended["reason"] == "infrastructure" else None
    errors = [event.error for event in events if event.error]
    if errors or sample.error or not sample.scores:
        return errors[0] if errors else sample.error.message if sample.error else "the trial has no score"
    return None


def _user_stop(sample: EvalSample) -> str | None:
    """The stop reason with which the user simulator ended the dialogue; None if it did not."""
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
