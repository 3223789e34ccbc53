"""Tools that a model simulates.

Nothing is executed, so nothing is proved; a ledger keeps the answers free of contradictions.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pydantic import Field

from core.messages import Message, ToolSpec, UserMessage
from core.schemas import schema_error
from core.settings import Settings, typed
from generation.environments.base import PastCall, ToolResult
from generation.environments.clock import drawn_time
from generation.environments.simulated.ledger import Ledger
from generation.environments.simulated.tool_errors import EXAMPLE_ERROR, EXAMPLE_ID, error_problem
from generation.llm.base import Completion, RejectedAnswerError, Request
from generation.llm.contexts import ToolSimulatorContext
from generation.llm.meter import Meter
from generation.llm.parsing.json_text import first_json
from generation.prompts import render
from generation.prompts.scene import Scene
from generation.specs.json_values import json_or_text
from generation.specs.structured import structured, with_whole_records
from generation.tools.toolset import Toolset

_ERROR = {
    "type": "object",
    "properties": {"error": {"type": "string"}},
    "required": ["error"],
    "additionalProperties": False,
}
_JSON_CONTAINERS: tuple[type[dict[str, Any]], type[list[Any]]] = (dict, list)
_FENCE = re.compile(r"^```\w*\n(.*)\n```$", re.DOTALL)


class SimulatedEnvironmentSettings(Settings):
    """How the tool simulator is prompted."""

    attempts: int = Field(
        default=4, ge=1, description="requests per tool call until an answer fits its schema and contradicts nothing"
    )
    transcript_messages: int = Field(
        default=8, ge=0, description="last messages of user and assistant shown to the simulator"
    )
    calls_shown: int = Field(
        default=12, ge=0, description="earlier calls about the same things shown to the simulator, at most"
    )


class SimulatedEnvironmentFactory:
    """Implements generation.environments.base.EnvironmentFactory for toolsets of any engine."""

    executable = False
    engine: str | None = None

    def __init__(self, **settings: Any) -> None:
        """Takes the fields of SimulatedEnvironmentSettings. Raises UserError for an unknown or invalid one."""
        self.settings = typed(settings, SimulatedEnvironmentSettings, "environment")

    def for_domain(
        self, toolset: Toolset, meter: Meter, dialogue_id: str, now: str | None = None
    ) -> SimulatedDomainEnvironment:
        scene = Scene(toolset.called, toolset.description, now or drawn_time(dialogue_id, toolset.now))
        return SimulatedDomainEnvironment(toolset, scene, meter, dialogue_id, self.settings)

    def close(self) -> None:
        """No resources to release."""


@dataclass(frozen=True)
class SimulatedDomainEnvironment:
    """A domain's tools as one dialogue's simulator answers them."""

    toolset: Toolset
    scene: Scene
    meter: Meter
    dialogue_id: str
    settings: SimulatedEnvironmentSettings

    @property
    def domain(self) -> str:
        return self.toolset.domain

    @property
    def tools(self) -> tuple[ToolSpec, ...]:
        return self.toolset.tools

    def open(self, snapshot: bytes | None = None) -> SimulatedEnvironment:
        calls = json.loads(snapshot or b"[]")
        return SimulatedEnvironment(self, Ledger((name, arguments, content) for name, arguments, content in calls))

    def close(self) -> None:
        """No resources to release."""


class SimulatedEnvironment:
    """Its state is the calls so far with their answers.

    Repeating a reading call adds nothing to it, unless a change since then may concern that call.
    """

    executable = False

    def __init__(self, domain_environment: SimulatedDomainEnvironment, ledger: Ledger) -> None:
        self.domain_environment = domain_environment
        self.tools = domain_environment.tools
        self._ledger = ledger

    async def call(self, name: str, arguments: dict[str, Any], transcript: Sequence[Message] = ()) -> ToolResult:
        """Raises UnusableAnswerError if no attempt returns a value that fits, LLMError if no model answers."""
        if problem := self._refusal(name, arguments):
            return ToolResult.failed(problem)
        content = self._ledger.recorded_answer(name, arguments)
        if content is None:
            simulated_call = _SimulatedCall(
                self.domain_environment, self._ledger, self._tool(name), arguments, transcript
            )
            content = await simulated_call.answer()
            self._ledger.record(name, arguments, content)
        return _result(content)

    async def retrace(self, calls: Sequence[PastCall]) -> bool:
        """Adopts the recorded answers, whoever gave them, and skips calls that were refused."""
        for name, arguments, content in calls:
            if not self._refusal(name, arguments) and self._ledger.recorded_answer(name, arguments) != content:
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
        """Empty: simulated tools have no state to inspect."""
        return ()

    def reset(self) -> None:
        self._ledger = Ledger()

    def close(self) -> None:
        """No resources to release."""


@dataclass
class _SimulatedCall:
    """One tool call, requested from the model until an answer fits.

    `rejected` is the last value that contradicted earlier answers; the next prompt shows the known facts about its
    records. `complaint` is what the model was told about its last answer.
    """

    domain_environment: SimulatedDomainEnvironment
    ledger: Ledger
    tool: ToolSpec
    arguments: dict[str, Any]
    transcript: Sequence[Message]
    rejected: Any = None
    complaint: str = ""

    @cached_property
    def _returns(self) -> dict[str, Any] | None:
        return with_whole_records(self.tool.returns) if self.tool.returns is not None else None

    async def answer(self) -> str:
        """The value as JSON text."""
        return await self.domain_environment.meter.request(
            self._request, self._read, self.domain_environment.settings.attempts
        )

    def _request(self, attempt: int) -> Request:
        settings = self.domain_environment.settings
        known = self.ledger.known_records(self.tool.name, self.arguments, self.rejected)
        spoken = [
            message for message in self.transcript if message.role in ("user", "assistant") and message.content.strip()
        ]
        prompt = render(
            "tool_simulator",
            scene=self.domain_environment.scene,
            tool=self.tool,
            calls=self.ledger.related_calls(self.tool.name, self.arguments, settings.calls_shown),
            transcript=spoken[len(spoken) - min(settings.transcript_messages, len(spoken)) :],
            known=known,
            arguments=self.arguments,
            example_id=EXAMPLE_ID,
            example_error=EXAMPLE_ERROR,
        )
        return Request(
            role="tool_simulator",
            messages=(UserMessage(content=prompt),),
            key=f"{self.domain_environment.dialogue_id}/tool/{len(self.ledger.calls)}/{attempt}",
            affinity=self.domain_environment.dialogue_id,
            context=ToolSimulatorContext(self.tool, self.arguments, known),
            json_schema=answer_schema(self._returns),
        )

    async def _read(self, completion: Completion) -> str:
        try:
            value = read_value(completion.message.content, self._returns)
        except ValueError as error:
            raise ValueError(self._complain(str(error))) from None
        if wrong_error := self._error_problem(value):
            raise RejectedAnswerError(self._complain(wrong_error))
        if problem := self.ledger.contradiction(self.tool.name, self.arguments, value):
            self.rejected = value
            self.domain_environment.meter.flaws["tool_simulator/contradiction"] += 1
            raise RejectedAnswerError(self._complain(problem))
        return json.dumps(value, ensure_ascii=False)

    def _complain(self, problem: str) -> str:
        self.complaint = f"{self.tool.name}: {problem}"
        return self.complaint

    def _error_problem(self, value: Any) -> str:
        """Why an error cannot be what the tool returned; empty if it can, and for other values."""
        if schema_error(value, _ERROR):
            return ""
        if self.ledger.must_fail(self.tool.name, self.arguments):
            return error_problem(value["error"], self.arguments)
        return error_problem(value["error"], self.arguments, self.complaint, self.rejected is not None)


def read_value(text: str, schema: dict[str, Any] | None) -> Any:
    """The JSON value in a model's answer that fits the schema, or {"error": why}; without a schema, an object or array.

    Raises ValueError with the reason if nothing in the answer fits.
    """
    problems: list[str] = []
    for value in _candidates(text, problems):
        problem = schema_error(value, {"type": ["object", "array"]} if schema is None else schema)
        if not problem or schema_error(value, _ERROR) is None:
            # NaN is not JSON, and a lone surrogate cannot be encoded as UTF-8: either raises ValueError.
            json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
            return value
        problems.append(problem)
    raise ValueError(problems[0])


def _candidates(text: str, problems: list[str]) -> list[Any]:
    """The complete text as JSON, without its code fence; otherwise the first object and the first array in it."""
    fenced = _FENCE.match(text.strip())
    try:
        return [json.loads(fenced[1] if fenced else text)]
    except (ValueError, RecursionError):
        candidates: list[Any] = []
    for kind in _JSON_CONTAINERS:
        try:
            candidates.append(first_json(text, kind, partial=False))
        except ValueError as error:
            problems.append(str(error))
    if candidates:
        problems.clear()
    return candidates


def answer_schema(schema: dict[str, Any] | None) -> dict[str, Any]:
    """The output schema for structured output, extended by {"error": why}; without a schema, any object or array.
    Definitions stay at the root for $refs."""
    if schema is None:
        return {"anyOf": [{"type": "object"}, {"type": "array"}]}
    returns = structured(schema)
    shared: dict[str, Any] = {key: returns.pop(key) for key in ("$defs", "definitions") if key in returns}
    return {"anyOf": [returns, _ERROR], **shared}


def _result(content: str) -> ToolResult:
    value = json_or_text(content)  # a start state's tool results need not be JSON
    return ToolResult(content, value, error=isinstance(value, dict) and bool(value.get("error")))
