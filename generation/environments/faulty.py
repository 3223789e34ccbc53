"""Faults on demand: any environment with tools that fail, refuse, speak of other columns than declared, or show only a part.

Every fault follows from the seed and the calls themselves: which tools are bad all through a dialogue from its first call, a
single failure from the call and how often it was made before. So whoever makes the same calls again, under whatever name and
in whatever process, meets the same faults, and a dialogue replays.
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
from generation.environments.distortion import Chance, columns, other_name, partial_view, without_column
from generation.llm.meter import Meter
from generation.specs.naming import changes
from generation.tools.toolset import Toolset


class ToolFaults(Settings):
    """How often, from 0 to 1; with the same seed a larger share keeps the faults of a smaller one.

    - tool_error: share of calls that fail without having done anything; the same call made again is not struck
    - permission: share of tools, drawn for each dialogue, that always refuse
    - schema_mismatch: share of tools, drawn for each dialogue, one of whose result columns is renamed or gone, or one of whose
      parameters goes by another name
    - partial_view: share of reading tools, drawn for each dialogue, whose lists lack rows or values, always the same
    """

    tool_error: float = Field(default=0.0, ge=0, le=1)
    permission: float = Field(default=0.0, ge=0, le=1)
    schema_mismatch: float = Field(default=0.0, ge=0, le=1)
    partial_view: float = Field(default=0.0, ge=0, le=1)


class FaultyEnvironmentFactory:
    """Implements generation.environments.base.EnvironmentFactory around another kind of environment.

    Each fault that a dialogue met is counted once, however often it is replayed, as "environment/injected_<kind>" among the
    flaws of the dialogue's meter. Proofs are made without faults (see `FaultyEnvironment.fork`). With `fixed` the bad tools
    are the same in all dialogues of a domain, whatever they call first: so whoever is measured meets the same ones.
    """

    def __init__(
        self, inner: EnvironmentFactory, shares: Mapping[str, float], seed: int = 0, fixed: bool = False
    ) -> None:
        """Raises UserError for an unknown kind of fault and for a share that is none."""
        self.inner = inner
        self.shares = typed(dict(shares), ToolFaults, "environment.shares")
        self.seed = seed
        self.fixed = fixed
        self.executable = inner.executable
        self.engine = inner.engine

    def for_domain(self, toolset: Toolset, meter: Meter, dialogue_id: str) -> FaultyDomainEnvironment:
        """Raises UserError where the inner kind does."""
        return FaultyDomainEnvironment(
            self.inner.for_domain(toolset, meter, dialogue_id), self.shares, self.seed, meter, self.fixed
        )

    def close(self) -> None:
        self.inner.close()


class FaultyDomainEnvironment:
    """One dialogue's world. It knows which of the dialogue's faults have been counted."""

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
        """Raises ValueError for a snapshot of another world."""
        if not snapshot:
            return FaultyEnvironment(self, self.inner.open(), {})
        kept = json.loads(snapshot)
        state = base64.b64decode(kept["state"])
        return FaultyEnvironment(self, self.inner.open(state or None), kept["made"])

    def count(self, kind: str, call: str, before: int) -> None:
        if (kind, call, before) not in self._counted:
            self._counted.add((kind, call, before))
            self._meter.flaws[f"environment/injected_{kind}"] += 1

    def close(self) -> None:
        self.inner.close()


class FaultyEnvironment:
    """`made` says how often each call (name and arguments as JSON) was made, in the order of the first times."""

    def __init__(self, domain_environment: FaultyDomainEnvironment, inner: Environment, made: dict[str, int]) -> None:
        self.tools = domain_environment.tools
        self.executable = inner.executable
        self._world = domain_environment
        self._inner = inner
        self._made = dict(made)

    async def call(self, name: str, arguments: dict[str, Any], transcript: Sequence[Message] = ()) -> ToolResult:
        """What the inner environment gives, or a fault instead of it. Raises what the inner one raises."""
        trial = self._trial(name, arguments)
        if refusal := trial.refusal():
            kind, problem = refusal
            self._count(kind, trial)
            return _refused(problem)
        result = await self._inner.call(name, trial.understood, transcript)
        return result if result.error else self._distorted(result, trial)

    async def retrace(self, calls: Sequence[PastCall]) -> bool:
        """Where nothing is executed the recorded answers are taken as they are; a fault's is none of the inner environment's."""
        for name, arguments, recorded in calls:
            if self.executable:
                if (await self.call(name, arguments)).content != recorded:
                    return False
                continue
            trial = self._trial(name, arguments)
            refusal = trial.refusal()
            if refusal and _refused(refusal[1]).content == recorded:
                self._count(refusal[0], trial)
            elif not await self._inner.retrace([(name, trial.understood, recorded)]):
                return False
        return True

    def _trial(self, name: str, arguments: dict[str, Any]) -> _Trial:
        """A call about to be made, which counts from now on."""
        call = json.dumps([name, arguments], sort_keys=True)
        before = self._made.get(call, 0)
        self._made[call] = before + 1
        first = "" if self._world.fixed else next(iter(self._made))
        chance = Chance((self._world.seed, self._world.domain, first))
        spec = next((tool for tool in self.tools if tool.name == name), None)
        return _Trial(spec, arguments, call, before, self._world.shares, chance)

    def _distorted(self, result: ToolResult, trial: _Trial) -> ToolResult:
        value = result.value
        for kind, change in (("schema_mismatch", trial.mismatched), ("partial_view", trial.partly)):
            if (changed := change(value)) != value:
                self._count(kind, trial)
                value = changed
        return result if value == result.value else _written(value)

    def _count(self, kind: str, trial: _Trial) -> None:
        self._world.count(kind, trial.call, trial.before)

    def snapshot(self) -> bytes:
        """The inner environment's, with the calls made so far."""
        state = base64.b64encode(self._inner.snapshot()).decode()
        return json.dumps({"made": self._made, "state": state}).encode()

    def fork(self) -> Environment:
        """The inner environment in the same state, without faults: what a task's gold calls do is a matter of the world, not of
        the day on which somebody tries them."""
        return self._inner.fork()

    def state_hash(self) -> str:
        return self._inner.state_hash()

    def state_diff(self) -> tuple[str, ...]:
        return self._inner.state_diff()

    def reset(self) -> None:
        self._inner.reset()
        self._made = {}

    def close(self) -> None:
        self._inner.close()


@dataclass(frozen=True)
class _Trial:
    """One call and what may befall it; a tool that does not exist meets no faults. `before` is how often the same call was made
    before, `chance` that of the dialogue."""

    spec: ToolSpec | None
    arguments: dict[str, Any]
    call: str
    before: int
    shares: ToolFaults
    chance: Chance

    @property
    def understood(self) -> dict[str, Any]:
        """The arguments under the names of the spec."""
        old, new = self._renamed_parameter() or ("", "")
        return {old if name == new else name: value for name, value in self.arguments.items()}

    def refusal(self) -> tuple[str, str] | None:
        """(kind of fault, what the error says), or None for a call that is let through."""
        if self.spec is None:
            return None
        name = self.spec.name
        if self.chance("permission", name) < self.shares.permission:
            return "permission", f"permission denied: this session may not use {name}"
        renamed = self._renamed_parameter()
        if renamed and renamed[0] in self.arguments:
            known = [renamed[1] if part == renamed[0] else part for part in self._parameters()]
            return "schema_mismatch", f"unknown argument {renamed[0]!r}; expected: {', '.join(known)}"
        # Of like calls only every other one can be struck: who tries again gets through.
        if self.before % 2 == 0 and self.chance("tool_error", self.call, self.before) < self.shares.tool_error:
            return "tool_error", "the service is temporarily unavailable; nothing was done, please try again"
        return None

    def mismatched(self, value: Any) -> Any:
        """The result with a column renamed or gone, if the tool is one of those."""
        kind = self._mismatch()
        if self.spec is None or kind not in ("renamed", "gone"):
            return value
        known = columns(value, self.spec.returns)
        column = self._of_tool("column").pick(known)
        if column is None:
            return value
        return without_column(value, column, None if kind == "gone" and len(known) > 1 else other_name(column))

    def partly(self, value: Any) -> Any:
        """The part of the result that is shown, if the tool is one that hides some."""
        if self.spec is None or changes(self.spec.name):
            return value
        if self.chance("partial_view", self.spec.name) >= self.shares.partial_view:
            return value
        return partial_view(value, self.spec.returns, self._of_tool("view"))

    def _mismatch(self) -> str | None:
        """What is different of this tool from what its spec says."""
        if self.spec is None or self.chance("schema_mismatch", self.spec.name) >= self.shares.schema_mismatch:
            return None
        kinds = ("renamed", "gone", "parameter") if self._parameters() else ("renamed", "gone")
        return self._of_tool("mismatch").pick(kinds)

    def _renamed_parameter(self) -> tuple[str, str] | None:
        """(the name in the spec, the name that is expected)."""
        if self._mismatch() != "parameter":
            return None
        name = self._of_tool("parameter").pick(self._parameters())
        return (name, other_name(name)) if name and other_name(name) not in self._parameters() else None

    def _parameters(self) -> tuple[str, ...]:
        return tuple(self.spec.parameters.get("properties", {})) if self.spec else ()

    def _of_tool(self, matter: str) -> Chance:
        return self.chance.about(matter, self.spec.name if self.spec else "")


def _written(value: Any) -> ToolResult:
    return ToolResult(json.dumps(value, ensure_ascii=False), value)


def _refused(problem: str) -> ToolResult:
    value = {"error": problem}
    return ToolResult(json.dumps(value, ensure_ascii=False), value, error=True)
