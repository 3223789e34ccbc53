"""The OpenAI chat format, validated: tool specs, tool calls and the four kinds of message.

`model_dump(exclude_none=True)` of each class is its wire format: one definition serves disk, HTTP and chat templates.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from core.schemas import schema_error, schema_problem


class ContractError(ValueError):
    """A transcript breaks the message contract. The message gives place and problem; `kind` names the broken rule."""

    def __init__(self, message: str, kind: str = "other") -> None:
        super().__init__(message)
        self.kind = kind


class Frozen(BaseModel):
    """Base of the project's data models: immutable; unknown fields are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ToolSpec(Frozen):
    """A function the agent may call. `parameters` and `returns` are JSON Schemas; `returns` is None until predicted."""

    name: str = Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$")
    description: str
    parameters: dict[str, Any]
    returns: dict[str, Any] | None = None

    @field_validator("parameters", "returns")
    @classmethod
    def _is_json_schema(cls, schema: dict[str, Any] | None) -> dict[str, Any] | None:
        if schema is not None and (problem := schema_problem(json.dumps(schema, sort_keys=True))):
            raise ValueError(f"not a JSON Schema: {problem}")
        return schema

    def openai(self) -> dict[str, Any]:
        """Return the function spec in the form that chat templates and OpenAI-compatible servers expect."""
        function = {"name": self.name, "description": self.description, "parameters": self.parameters}
        return {"type": "function", "function": function}

    def argument_error(self, arguments: Any) -> str | None:
        """Return why `arguments` do not fit the parameter schema, or None if they fit."""
        return schema_error(arguments, self.parameters)

    def with_defaults(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments of a call, and for those left out the defaults that the parameter schema names."""
        properties = self.parameters.get("properties", {})
        defaults = {
            name: schema["default"]
            for name, schema in properties.items()
            if isinstance(schema, Mapping) and "default" in schema
        }
        return {**defaults, **arguments}


class FunctionCall(Frozen):
    name: str
    arguments: str = Field(description="a JSON object, as a string")


class ToolCall(Frozen):
    """A tool call in wire format; `id` is unique within a dialogue."""

    id: str
    type: Literal["function"] = "function"
    function: FunctionCall

    @classmethod
    def make(cls, call_id: str, name: str, arguments: dict[str, Any]) -> ToolCall:
        return cls(id=call_id, function=FunctionCall(name=name, arguments=json.dumps(arguments, ensure_ascii=False)))

    @property
    def name(self) -> str:
        return self.function.name

    def parsed(self) -> dict[str, Any]:
        """Parse the arguments. Raises ContractError if they are not a JSON object that can be written as UTF-8: without
        NaN, infinite numbers and escaped lone surrogates."""
        try:
            arguments = json.loads(self.function.arguments)
            json.dumps(arguments, ensure_ascii=False, allow_nan=False).encode()
        except (ValueError, RecursionError) as error:  # also numbers or nesting beyond Python's limits
            raise ContractError(
                f"arguments of {self.name} are not JSON ({error}): {self.function.arguments!r}", "arguments no JSON"
            ) from None
        if not isinstance(arguments, dict):
            raise ContractError(
                f"arguments of {self.name} are not a JSON object: {self.function.arguments!r}", "arguments no JSON"
            )
        return arguments


class SystemMessage(Frozen):
    role: Literal["system"] = "system"
    content: str


class UserMessage(Frozen):
    role: Literal["user"] = "user"
    content: str


class AssistantMessage(Frozen):
    """`content` is shown to the user; `reasoning_content`, the thinking before it, never is."""

    role: Literal["assistant"] = "assistant"
    content: str = ""
    reasoning_content: str | None = None
    tool_calls: tuple[ToolCall, ...] | None = None


class ToolMessage(Frozen):
    role: Literal["tool"] = "tool"
    tool_call_id: str
    content: str


Message = Annotated[SystemMessage | UserMessage | AssistantMessage | ToolMessage, Field(discriminator="role")]


def check_transcript(
    messages: Sequence[Message], tools: Sequence[ToolSpec], late_tools: Mapping[str, Any] | None = None
) -> None:
    """Check the message contract. Raises ContractError unless roles alternate as in _MAY_FOLLOW, every tool call names
    a tool that is declared and offered by then, fits its schema, has a unique id and is answered exactly once before
    the next message, and the dialogue ends with an assistant's answer or a user message.

    `late_tools` maps declared tools to the index of the user message from which on they are offered."""
    late_tools = late_tools or {}
    declared = {tool.name: tool for tool in tools}
    _check_late_tools(late_tools, declared, messages)
    pending: list[str] = []
    seen: set[str] = set()
    previous = "start"
    for position, message in enumerate(messages):
        where = f"message {position} ({message.role})"
        if isinstance(message, ToolMessage):
            if message.tool_call_id not in pending:
                raise ContractError(
                    f"{where}: answers {message.tool_call_id!r}, but the open calls are {pending}", "stray result"
                )
            pending.remove(message.tool_call_id)
        elif pending:
            raise ContractError(f"{where}: the calls {pending} before it have no answer", "unanswered call")
        _check_order(previous, message.role, where)
        if isinstance(message, AssistantMessage):
            for call in message.tool_calls or ():
                _check_call(call, declared, seen, where)
                if position < late_tools.get(call.name, 0):
                    raise ContractError(
                        f"{where}: calls {call.name!r}, which is offered from message {late_tools[call.name]} on",
                        "tool not offered yet",
                    )
            pending = [call.id for call in message.tool_calls or ()]
            if not pending and not message.content.strip():
                raise ContractError(f"{where}: neither content nor tool calls", "empty answer")
            previous = "call" if pending else "assistant"
        else:
            previous = message.role
    if pending:
        raise ContractError(f"the calls {pending} at the end have no answer", "unanswered call")
    if previous not in ("assistant", "user"):
        raise ContractError(
            f"a dialogue ends with an answer or a user message, this one ends after {previous!r}", "roles out of order"
        )


_MAY_FOLLOW = {
    "start": {"system", "user"},
    "system": {"user"},
    "user": {"assistant"},
    "assistant": {"user"},
    "call": {"tool"},
    "tool": {"tool", "assistant"},
}


def _check_late_tools(
    late_tools: Mapping[str, Any], declared: dict[str, ToolSpec], messages: Sequence[Message]
) -> None:
    for name, index in late_tools.items():
        if name not in declared:
            raise ContractError(f"the late tool {name!r} is not declared; declared: {sorted(declared)}", "late tools")
        within = isinstance(index, int) and not isinstance(index, bool) and 0 <= index < len(messages)
        if not within or not isinstance(messages[index], UserMessage):
            raise ContractError(
                f"the tool {name!r} is offered from message {index!r} on, which is not a user message", "late tools"
            )


def _check_order(previous: str, role: str, where: str) -> None:
    if role not in _MAY_FOLLOW[previous]:
        raise ContractError(
            f"{where}: after {previous!r} comes one of {sorted(_MAY_FOLLOW[previous])}", "roles out of order"
        )


def _check_call(call: ToolCall, declared: dict[str, ToolSpec], seen: set[str], where: str) -> None:
    if call.id in seen:
        raise ContractError(f"{where}: the call id {call.id!r} was used before", "repeated call id")
    seen.add(call.id)
    if call.name not in declared:
        raise ContractError(
            f"{where}: calls the undeclared tool {call.name!r}; declared: {sorted(declared)}", "undeclared tool"
        )
    if problem := declared[call.name].argument_error(call.parsed()):
        raise ContractError(
            f"{where}: arguments of {call.name} do not fit its schema: {problem}", "arguments do not fit"
        )
