"""The environment interface: EnvironmentFactory → DomainEnvironment → Environment.

A factory is one kind of environment (simulated, SQL, τ²) and serves all domains. It opens one DomainEnvironment per
domain, with that domain's tools and initial state. Each dialogue acts in its own Environment, whose calls no other
dialogue sees.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from core.messages import Message, ToolSpec
from core.typography import typed_values
from generation.database.guard import TOO_MANY_ROWS
from generation.llm.meter import Meter
from generation.tools.toolset import Toolset


@dataclass(frozen=True)
class ToolResult:
    """`content` is the tool message, verbatim; `value` the same parsed; `error` marks a refused or failed call."""

    content: str
    value: Any
    error: bool = False

    @classmethod
    def failed(cls, problem: str) -> ToolResult:
        """The result of a call that was refused or failed: {"error": problem}."""
        value = {"error": problem}
        return cls(json.dumps(value, ensure_ascii=False), value, error=True)

    @property
    def too_many_rows(self) -> bool:
        """Whether the call was refused because more rows match than a result may have."""
        return self.error and TOO_MANY_ROWS in self.content

    @property
    def in_vain(self) -> bool:
        """Whether the call failed, found no row or changed none."""
        affected = self.value.get("rows_affected") if isinstance(self.value, dict) else None
        return self.error or self.value == [] or affected == 0


def forgiving(call: Callable[[dict[str, Any]], ToolResult], arguments: dict[str, Any]) -> ToolResult:
    """The result of a call whose arguments are read as typed on a keyboard: models write U+2011 where the data has a
    hyphen. Where the data itself is typographic, so that the call is in vain, it is made as it was written."""
    as_typed = typed_values(arguments)
    result = call(as_typed)
    return call(arguments) if result.in_vain and as_typed != arguments else result


PastCall = tuple[str, dict[str, Any], str]
"""A completed call: tool name, arguments, the text of its result (core.dialogue.calls)."""


class Environment(Protocol):
    """One dialogue's private state and tools.

    `executable` is True where tools really run: only then do hash, diff and fork prove anything.
    """

    tools: tuple[ToolSpec, ...]
    executable: bool

    async def call(self, name: str, arguments: dict[str, Any], transcript: Sequence[Message] = ()) -> ToolResult:
        """Run one tool. An invalid call returns a result with `error`; it never raises.

        `transcript` is the dialogue so far, for environments that a model simulates.
        """
        ...

    async def retrace(self, calls: Sequence[PastCall]) -> bool:
        """Repeat recorded calls; False where a result differs. Simulated results are adopted as recorded."""
        ...

    def snapshot(self) -> bytes:
        """The changes since the initial state; its size grows with them, not with the state."""
        ...

    def fork(self) -> Environment:
        """An independent environment in the same state; the caller closes it."""
        ...

    def state_hash(self) -> str:
        """SHA-256 of the changes since the initial state: equal for equal states, however they were reached. Texts that
        differ in typography alone are equal."""
        ...

    def state_diff(self) -> tuple[str, ...]:
        """The changes since the initial state, one readable line each, sorted."""
        ...

    def reset(self) -> None:
        """Return to the initial state."""
        ...

    def close(self) -> None:
        """Release all resources."""
        ...


class DomainEnvironment(Protocol):
    """A domain's tools and initial state, from which each dialogue opens its own environment."""

    domain: str
    tools: tuple[ToolSpec, ...]

    def open(self, snapshot: bytes | None = None) -> Environment:
        """A fresh environment, in the initial state or in that of a snapshot taken in this domain."""
        ...

    def close(self) -> None: ...


class EnvironmentFactory(Protocol):
    """One kind of environment: one factory per pipeline, cheap to construct.

    `engine` is the engine of the toolsets it can run; None: any.
    """

    executable: bool
    engine: str | None

    def for_domain(self, toolset: Toolset, meter: Meter, dialogue_id: str, now: str | None = None) -> DomainEnvironment:
        """The toolset's domain as this dialogue sees it.

        Environments that a model simulates call it through `meter` and tell it the dialogue's time `now` (None: drawn
        from the id, see generation.environments.clock).
        """
        ...

    def close(self) -> None: ...
