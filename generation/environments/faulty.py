"""Faults on demand: wraps any environment with tools that fail, refuse, rename columns or show only a part.

Every fault follows from the seed and the calls. Which tools are faulty for a complete dialogue follows from its first
call; a single failure follows from the call and how often it was made before. So repeating the calls, under any name
and in any process, meets the same faults, and a dialogue can be replayed.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import Field

from core.messages import Message, ToolSpec
from core.settings import Settings, typed
from generation.environments.base import DomainEnvironment, Environment, EnvironmentFactory, PastCall, ToolResult
from generation.environments.distortion import Chance, column_names, other_name, partial_view, replace_column
from generation.llm.meter import Meter
from generation.specs.naming import changes
from generation.tools.toolset import Toolset


class ToolFaults(Settings):
    """Share of each kind of fault. With the same seed, a larger share keeps the faults of a smaller one."""

    tool_error: float = Field(
        default=0.0, ge=0, le=1, description="share of calls that fail without any effect; the same call then succeeds"
    )
    permission: float = Field(default=0.0, ge=0, le=1, description="share of a dialogue's tools that always refuse")
    schema_mismatch: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="share of a dialogue's tools with one result column renamed or missing, or one parameter renamed",
    )
    partial_view: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="share of a dialogue's reading tools whose lists lack rows or values, always the same ones",
    )


class FaultyEnvironmentFactory:
    """Wraps another EnvironmentFactory.

    Each fault that a dialogue meets is counted once, however often it is replayed, as "environment/injected_<kind>"
    among the flaws of the dialogue's meter. Proofs run without faults (see `FaultyEnvironment.fork`). With `fixed`, all
    dialogues of a domain have the same faulty tools, whatever they call first, so that all models measured meet the
    same ones.
    """

    def __init__(
        self, inner: EnvironmentFactory, shares: Mapping[str, float], seed: int = 0, fixed: bool = False
    ) -> None:
        """Raises UserError for an unknown kind of fault and for a share outside 0 to 1."""
        self.inner = inner
        self.shares = typed(dict(shares), ToolFaults, "environment.shares")
        self.seed = seed
        self.fixed = fixed
        self.executable = inner.executable
        self.engine = inner.engine

    def for_domain(
        self, toolset: Toolset, meter: Meter, dialogue_id: str, now: str | None = None
    ) -> FaultyDomainEnvironment:
        """Raises UserError where the inner factory does."""
        return FaultyDomainEnvironment(
            self.inner.for_domain(toolset, meter, dialogue_id, now), self.shares, self.seed, meter, self.fixed
        )

    def close(self) -> None:
        self.inner.close()


class FaultyDomainEnvironment:
    """One dialogue's view of a domain. It knows which of the dialogue's faults have been counted."""

    def __init__(
        self, inner: DomainEnvironment, shares: ToolFaults, seed: int, meter: Meter, fixed: bool = False
    ) -> None:
        self.inner = inner
        self.shares = shares
        self.seed = seed
        self.fixed = fixed
        self.domain = inner.domain
        self.tools = inner.tools
        self._meter = meter
        self._counted: set[tuple[str, str, int]] = set()

    def open(self, snapshot: bytes | None = None) -> FaultyEnvironment:
        """Raises ValueError for a snapshot of another domain."""
        if not snapshot:
            return FaultyEnvironment(self, self.inner.open(), {})
        content = json.loads(snapshot)
        state = base64.b64decode(content["state"])
        return FaultyEnvironment(self, self.inner.open(state or None), content["made"])

    def count(self, kind: str, call: str, earlier: int) -> None:
        if (kind, call, earlier) not in self._counted:
            self._counted.add((kind, call, earlier))
            self._meter.flaws[f"environment/injected_{kind}"] += 1

    def close(self) -> None:
        self.inner.close()


class FaultyEnvironment:
    """`call_counts` maps each call (name and arguments as JSON) to how often it was made, in order of first use."""

    def __init__(
        self, domain_environment: FaultyDomainEnvironment, inner: Environment, call_counts: dict[str, int]
    ) -> None:
        self.tools = domain_environment.tools
        self.executable = inner.executable
        self._domain_environment = domain_environment
        self._inner = inner
        self._call_counts = dict(call_counts)

    async def call(self, name: str, arguments: dict[str, Any], transcript: Sequence[Message] = ()) -> ToolResult:
        """The inner environment's result, or a fault instead. Raises what the inner environment raises."""
        faults = self._faults_of(name, arguments)
        if refusal := faults.refusal():
            kind, problem = refusal
            self._count(kind, faults)
            return ToolResult.failed(problem)
        result = await self._inner.call(name, faults.inner_arguments, transcript)
        return result if result.error else self._distort(result, faults)

    async def retrace(self, calls: Sequence[PastCall]) -> bool:
        """Simulated results are adopted as recorded, except those of faults: the inner environment never gave them."""
        for name, arguments, recorded in calls:
            if self.executable:
                if (await self.call(name, arguments)).content != recorded:
                    return False
                continue
            faults = self._faults_of(name, arguments)
            refusal = faults.refusal()
            if refusal and ToolResult.failed(refusal[1]).content == recorded:
                self._count(refusal[0], faults)
            elif not await self._inner.retrace([(name, faults.inner_arguments, recorded)]):
                return False
        return True

    def _faults_of(self, name: str, arguments: dict[str, Any]) -> _CallFaults:
        """The faults of a call about to be made; counts the call."""
        call = json.dumps([name, arguments], sort_keys=True)
        earlier = self._call_counts.get(call, 0)
        self._call_counts[call] = earlier + 1
        first = "" if self._domain_environment.fixed else next(iter(self._call_counts))
        chance = Chance((self._domain_environment.seed, self._domain_environment.domain, first))
        spec = next((tool for tool in self.tools if tool.name == name), None)
        return _CallFaults(spec, arguments, call, earlier, self._domain_environment.shares, chance)

    def _distort(self, result: ToolResult, faults: _CallFaults) -> ToolResult:
        value = result.value
        for kind, change in (
            ("schema_mismatch", faults.with_schema_mismatch),
            ("partial_view", faults.with_partial_view),
        ):
            if (changed := change(value)) != value:
                self._count(kind, faults)
                value = changed
        return result if value == result.value else _result(value)

    def _count(self, kind: str, faults: _CallFaults) -> None:
        self._domain_environment.count(kind, faults.call, faults.earlier)

    def snapshot(self) -> bytes:
        """The inner environment's snapshot, with the calls made so far."""
        state = base64.b64encode(self._inner.snapshot()).decode()
        return json.dumps({"made": self._call_counts, "state": state}).encode()

    def fork(self) -> Environment:
        """The inner environment in the same state, without faults: a task's gold calls prove what the environment does,
        not what happens to fail at the time."""
        return self._inner.fork()

    def state_hash(self) -> str:
        return self._inner.state_hash()

    def state_diff(self) -> tuple[str, ...]:
        return self._inner.state_diff()

    def reset(self) -> None:
        self._inner.reset()
        self._call_counts = {}

    def close(self) -> None:
        self._inner.close()


@dataclass(frozen=True)
class _CallFaults:
    """The faults that one call may meet; a tool that does not exist meets none.

    `earlier` counts the same call made before; `chance` is the dialogue's.
    """

    spec: ToolSpec | None
    arguments: dict[str, Any]
    call: str
    earlier: int
    shares: ToolFaults
    chance: Chance

    @property
    def inner_arguments(self) -> dict[str, Any]:
        """The arguments under the spec's parameter names."""
        old, new = self._renamed_parameter() or ("", "")
        return {old if name == new else name: value for name, value in self.arguments.items()}

    def refusal(self) -> tuple[str, str] | None:
        """(kind of fault, error text), or None for a call that passes."""
        if self.spec is None:
            return None
        name = self.spec.name
        if self.chance("permission", name) < self.shares.permission:
            return "permission", f"permission denied: this session may not use {name}"
        renamed = self._renamed_parameter()
        if renamed and renamed[0] in self.arguments:
            known = [renamed[1] if part == renamed[0] else part for part in self._parameters()]
            return "schema_mismatch", f"unknown argument {renamed[0]!r}; expected: {', '.join(known)}"
        # Of identical calls only every other one can fail, so a retry succeeds.
        if self.earlier % 2 == 0 and self.chance("tool_error", self.call, self.earlier) < self.shares.tool_error:
            return "tool_error", "the service is temporarily unavailable; nothing was done, please try again"
        return None

    def with_schema_mismatch(self, value: Any) -> Any:
        """The result with a column renamed or missing, if this tool has that fault."""
        kind = self._mismatch_kind()
        if self.spec is None or kind not in ("renamed", "gone"):
            return value
        known = column_names(value, self.spec.returns)
        column = self._chance_for("column").pick(known)
        if column is None:
            return value
        return replace_column(value, column, None if kind == "gone" and len(known) > 1 else other_name(column))

    def with_partial_view(self, value: Any) -> Any:
        """The part of the result that is shown, if this tool hides some."""
        if self.spec is None or changes(self.spec.name):
            return value
        if self.chance("partial_view", self.spec.name) >= self.shares.partial_view:
            return value
        return partial_view(value, self.spec.returns, self._chance_for("view"))

    def _mismatch_kind(self) -> str | None:
        """How this tool deviates from its spec: "renamed", "gone" (a result column) or "parameter"; None: not at
        all."""
        if self.spec is None or self.chance("schema_mismatch", self.spec.name) >= self.shares.schema_mismatch:
            return None
        kinds = ("renamed", "gone", "parameter") if self._parameters() else ("renamed", "gone")
        return self._chance_for("mismatch").pick(kinds)

    def _renamed_parameter(self) -> tuple[str, str] | None:
        """(the parameter's name in the spec, the name the tool expects instead), if one is renamed."""
        if self._mismatch_kind() != "parameter":
            return None
        name = self._chance_for("parameter").pick(self._parameters())
        return (name, other_name(name)) if name and other_name(name) not in self._parameters() else None

    def _parameters(self) -> tuple[str, ...]:
        return tuple(self.spec.parameters.get("properties", {})) if self.spec else ()

    def _chance_for(self, matter: str) -> Chance:
        return self.chance.scoped(matter, self.spec.name if self.spec else "")


def _result(value: Any) -> ToolResult:
    return ToolResult(json.dumps(value, ensure_ascii=False), value)
