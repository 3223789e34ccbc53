"""A domain as a dialogue sees it that is offered only some of its tools: the others do not exist for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from core.messages import Message, ToolSpec
from generation.environments.base import DomainEnvironment, Environment, PastCall, ToolResult


def offering(
    domain_environment: DomainEnvironment, tools: Sequence[ToolSpec], user_tools: Sequence[ToolSpec] = ()
) -> DomainEnvironment:
    """The domain with these of its tools, in this order. Tools of a dialogue that are not the domain's are left out.
    `user_tools` can be called, too, but are not among its tools, which are the agent's."""
    own = {tool.name: tool for tool in domain_environment.tools}
    offered = tuple(own[tool.name] for tool in tools if tool.name in own)
    if offered == domain_environment.tools and not user_tools:
        return domain_environment
    return _OfferedDomain(domain_environment, offered, frozenset(tool.name for tool in user_tools if tool.name in own))


class _OfferedDomain:
    def __init__(self, inner: DomainEnvironment, tools: tuple[ToolSpec, ...], of_user: frozenset[str]) -> None:
        self.inner = inner
        self.domain = inner.domain
        self.tools = tools
        self.of_user = of_user

    def open(self, snapshot: bytes | None = None) -> _Offered:
        return _Offered(self.inner.open(snapshot), self.tools, self.of_user)

    def close(self) -> None:
        self.inner.close()


class _Offered:
    """An environment that refuses all but the offered tools."""

    def __init__(self, inner: Environment, tools: tuple[ToolSpec, ...], of_user: frozenset[str]) -> None:
        self.inner = inner
        self.tools = tools
        self.executable = inner.executable
        self._of_user = of_user
        self._names = frozenset(tool.name for tool in tools) | of_user

    async def call(self, name: str, arguments: dict[str, Any], transcript: Sequence[Message] = ()) -> ToolResult:
        return await self.inner.call(name, arguments, transcript) if name in self._names else self._refusal(name)

    async def retrace(self, calls: Sequence[PastCall]) -> bool:
        refused = all(content == self._refusal(name).content for name, _, content in calls if name not in self._names)
        return refused and await self.inner.retrace([call for call in calls if call[0] in self._names])

    def _refusal(self, name: str) -> ToolResult:
        return ToolResult.failed(f"there is no tool {name!r}; there are: {', '.join(sorted(self._names))}")

    def snapshot(self) -> bytes:
        return self.inner.snapshot()

    def fork(self) -> _Offered:
        return _Offered(self.inner.fork(), self.tools, self._of_user)

    def state_hash(self) -> str:
        return self.inner.state_hash()

    def state_diff(self) -> tuple[str, ...]:
        return self.inner.state_diff()

    def reset(self) -> None:
        self.inner.reset()

    def close(self) -> None:
        self.inner.close()
