"""Tools that a model simulates: nothing is executed, so nothing is proved; a ledger sees to it that they do not contradict
themselves."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from core.messages import Message, ToolSpec, UserMessage
from core.schemas import schema_error
from core.settings import UserError
from generation.environments.base import PastCall, ToolResult
from generation.environments.simulated.ledger import Ledger
from generation.environments.simulated.reference_time import drawn_time, stated_time
from generation.llm.base import Completion, RejectedAnswerError, Request
from generation.llm.contexts import ToolSimulatorContext
from generation.llm.meter import Meter
from generation.llm.parsing.json_text import first_json
from generation.prompts import render
from generation.specs.json_values import json_or_text
from generation.tools.toolset import Toolset

_ERROR = {
    "type": "object",
    "properties": {"error": {"type": "string"}},
    "required": ["error"],
    "additionalProperties": False,
}
_KINDS: tuple[type[dict[str, Any]], type[list[Any]]] = (dict, list)
_FENCE = re.compile(r"^```\w*\n(.*)\n```$", re.DOTALL)


@dataclass(frozen=True)
class SimulatedEnvironmentFactory:
    """`attempts` bounds how often an answer is asked for that fits its schema and contradicts nothing. The model is shown the last
    `transcript_messages` messages of user and assistant, and up to `calls_shown` earlier calls about the same things."""

    attempts: int = 4
    transcript_messages: int = 8
    calls_shown: int = 12
    executable: bool = False
    engine: str | None = None

    def __post_init__(self) -> None:
        for name, least in (("attempts", 1), ("transcript_messages", 0), ("calls_shown", 0)):
            value = getattr(self, name)
            if not isinstance(value, int) or value < least:
                raise UserError(
                    f"environment simulated: {name}={value!r} was given; a whole number from {least} is expected"
                )

    def domain_environment(self, toolset: Toolset, meter: Meter, dialogue_id: str) -> SimulatedDomainEnvironment:
        return SimulatedDomainEnvironment(toolset.domain, toolset.tools, meter, dialogue_id, self)

    def close(self) -> None:
        """EnvironmentFactory hold nothing."""


@dataclass(frozen=True)
class SimulatedDomainEnvironment:
    domain: str
    tools: tuple[ToolSpec, ...]
    meter: Meter
    dialogue_id: str
    settings: SimulatedEnvironmentFactory

    def open(self, snapshot: bytes | None = None) -> SimulatedEnvironment:
        return SimulatedEnvironment(self, Ledger((n, a, c) for n, a, c in json.loads(snapshot or b"[]")))

    def close(self) -> None:
        """Nothing is held."""


class SimulatedEnvironment:
    """Its state is the calls so far with their answers. A reading call that was made before, with no change since that could
    concern it, is no new state."""

    executable = False

    def __init__(self, domain_environment: SimulatedDomainEnvironment, ledger: Ledger) -> None:
        self.domain_environment = domain_environment
        self.tools = domain_environment.tools
        self._ledger = ledger

    async def call(self, name: str, arguments: dict[str, Any], transcript: Sequence[Message] = ()) -> ToolResult:
        """Raises UnusableAnswerError where no attempt gives a value that fits, LLMError where no model answers."""
        if problem := self._refusal(name, arguments):
            return _result(json.dumps({"error": problem}, ensure_ascii=False))
        content = self._ledger.recorded(name, arguments)
        if content is None:
            content = await _Question(
                self.domain_environment, self._ledger, self._tool(name), arguments, transcript
            ).ask()
            self._ledger.record(name, arguments, content)
        return _result(content)

    async def retrace(self, calls: Sequence[PastCall]) -> bool:
        """Takes the recorded answers as they are, whoever gave them; calls that were refused are none."""
        for name, arguments, content in calls:
            if not self._refusal(name, arguments) and self._ledger.recorded(name, arguments) != content:
                self._ledger.record(name, arguments, content)
        return True

    def _tool(self, name: str) -> ToolSpec:
        return next(tool for tool in self.tools if tool.name == name)

    def _refusal(self, name: str, arguments: dict[str, Any]) -> str | None:
        if name not in {tool.name for tool in self.tools}:
            return f"unknown tool {name!r}; known: {', '.join(sorted(t.name for t in self.tools))}"
        problem = self._tool(name).argument_error(arguments)
        return f"arguments of {name} do not fit: {problem}" if problem else None

    def snapshot(self) -> bytes:
        return json.dumps(self._ledger.calls, ensure_ascii=False).encode()

    def fork(self) -> SimulatedEnvironment:
        return self.domain_environment.open(self.snapshot())

    def state_hash(self) -> str:
        return hashlib.sha256(self.snapshot()).hexdigest()

    def state_diff(self) -> tuple[str, ...]:
        """Empty: a simulated tool changes nothing that could be looked at."""
        return ()

    def reset(self) -> None:
        self._ledger = Ledger()

    def close(self) -> None:
        """Nothing is held."""


@dataclass
class _Question:
    """One call put to the model, until it gives a value that fits. `refused` is its last answer that contradicted others: what is
    known of the records in it is shown as well."""

    domain_environment: SimulatedDomainEnvironment
    ledger: Ledger
    tool: ToolSpec
    arguments: dict[str, Any]
    transcript: Sequence[Message]
    refused: Any = None

    async def ask(self) -> str:
        """The value as JSON text."""
        return await self.domain_environment.meter.request(
            self._request, self._read, self.domain_environment.settings.attempts
        )

    def _request(self, attempt: int, complaint: str) -> Request:
        settings = self.domain_environment.settings
        known = self.ledger.known(self.tool.name, self.arguments, self.refused)
        spoken = [m for m in self.transcript if m.role in ("user", "assistant") and m.content.strip()]
        prompt = render(
            "tool_simulator",
            domain=self.domain_environment.domain,
            tool=self.tool,
            calls=self.ledger.relevant(self.tool.name, self.arguments, settings.calls_shown),
            transcript=spoken[len(spoken) - min(settings.transcript_messages, len(spoken)) :],
            stated=stated_time(self.transcript),
            now=drawn_time(self.domain_environment.dialogue_id),
            known=known,
            complaint=complaint,
            arguments=self.arguments,
        )
        return Request(
            role="tool_simulator",
            messages=(UserMessage(content=prompt),),
            key=f"{self.domain_environment.dialogue_id}/tool/{len(self.ledger.calls)}/{attempt}",
            affinity=self.domain_environment.dialogue_id,
            context=ToolSimulatorContext(self.tool, self.arguments, known),
            json_schema=_or_error(self.tool.returns),
        )

    async def _read(self, completion: Completion) -> str:
        try:
            value = read_value(completion.message.content, self.tool.returns)
        except ValueError as error:
            raise ValueError(f"{self.tool.name}: {error}") from None
        if problem := self.ledger.contradiction(self.tool.name, self.arguments, value):
            self.refused = value
            self.domain_environment.meter.flaws["tool_simulator/contradiction"] += 1
            raise RejectedAnswerError(f"{self.tool.name}: {problem}")
        return json.dumps(value, ensure_ascii=False)


def read_value(text: str, schema: dict[str, Any] | None) -> Any:
    """The JSON value in a model's answer, of any kind that the schema allows, or {"error": why}; without a schema an object or an
    array. Raises ValueError that says why nothing in the answer will do."""
    problems: list[str] = []
    for value in _candidates(text, problems):
        problem = schema_error(value, {"type": ["object", "array"]} if schema is None else schema)
        if not problem or schema_error(value, _ERROR) is None:
            json.dumps(
                value, ensure_ascii=False, allow_nan=False
            ).encode()  # NaN is no JSON, half a surrogate pair no UTF-8
            return value
        problems.append(problem)
    raise ValueError(problems[0])


def _candidates(text: str, problems: list[str]) -> list[Any]:
    """The whole text as JSON, a code fence taken off; else the first object and the first array in it."""
    fenced = _FENCE.match(text.strip())
    try:
        return [json.loads(fenced[1] if fenced else text)]
    except (ValueError, RecursionError):
        found: list[Any] = []
    for kind in _KINDS:
        try:
            found.append(first_json(text, kind, partial=False))
        except ValueError as error:
            problems.append(str(error))
    if found:
        problems.clear()
    return found


def _or_error(schema: dict[str, Any] | None) -> dict[str, Any] | None:
    """The output schema, for guided decoding, with room for an error; definitions stay where references look for them."""
    if schema is None or schema_error({"error": "x"}, schema) is None:
        return schema
    shared: dict[str, Any] = {key: schema[key] for key in ("$defs", "definitions") if key in schema}
    return {"anyOf": [{key: part for key, part in schema.items() if key not in shared}, _ERROR], **shared}


def _result(content: str) -> ToolResult:
    value = json_or_text(content)  # what another program's tools returned may be no JSON
    return ToolResult(content, value, error=isinstance(value, dict) and bool(value.get("error")))
