"""What a dialogue acts on: tools to call and, where they are really executed, a state that can be hashed, forked and told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from core.messages import Message, ToolSpec
from generation.llm.meter import Meter
from generation.tools.toolset import Toolset


@dataclass(frozen=True)
class ToolResult:
    """`content` goes into the tool message verbatim; `value` is the same parsed; `error` says the call was refused or failed."""

    content: str
    value: Any
    error: bool = False


PastCall = tuple[str, dict[str, Any], str]
"""A call that was made: tool name, arguments, the text of its result (core.dialogue.calls)."""


class Environment(Protocol):
    """One dialogue's private world. Calls change it; nothing it does is seen by another dialogue.

    `executable` is True where results come from real execution: only then do hash, diff and fork prove anything.
    """

    tools: tuple[ToolSpec, ...]
    executable: bool

    async def call(self, name: str, arguments: dict[str, Any], transcript: Sequence[Message] = ()) -> ToolResult:
        """Run one tool. Never raises for what the caller sent: a bad call gives a result with `error`. `transcript` is the
        dialogue so far, for environments that a model simulates."""
        ...

    async def retrace(self, calls: Sequence[PastCall]) -> bool:
        """Go where these calls led; False where a result is not the recorded one. What was simulated is taken as it was."""
        ...

    def snapshot(self) -> bytes:
        """The changes since the initial state; costs what changed."""
        ...

    def fork(self) -> Environment:
        """An independent environment in the same state; close it."""
        ...

    def state_hash(self) -> str:
        """SHA-256 of the changes since the initial state: equal for equal states, however they were reached."""
        ...

    def state_diff(self) -> tuple[str, ...]:
        """The changes since the initial state, one readable line each, sorted."""
        ...

    def reset(self) -> None:
        """Back to the initial state."""
        ...

    def close(self) -> None:
        """Give back what it holds."""
        ...


class DomainEnvironment(Protocol):
    """A domain's initial state and tools, from which each dialogue opens its own environment."""

    domain: str
    tools: tuple[ToolSpec, ...]

    def open(self, snapshot: bytes | None = None) -> Environment:
        """A fresh environment, at the initial state or at a snapshot of this world."""
        ...

    def close(self) -> None: ...


class EnvironmentFactory(Protocol):
    """A kind of environment: makes the world of a toolset. One per pipeline; cheap to construct. `engine` is that of the
    toolsets it can run; None: any."""

    executable: bool
    engine: str | None

    def for_domain(self, toolset: Toolset, meter: Meter, dialogue_id: str) -> DomainEnvironment:
        """The world in which this dialogue happens; `meter` is there for environments that a model simulates."""
        ...

    def close(self) -> None: ...
