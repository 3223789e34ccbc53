"""τ²-bench's airline and retail domains as executable environments.

They run the benchmark's own tools on customers that its tasks do not use. A process loads the database once; an
environment stores only the entities that its calls changed. A call works on copies of what it looks up, so a failed
call leaves no trace, even where the official code stops halfway.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from core.messages import Message, ToolSpec
from core.settings import UserError, closest
from core.typography import fold
from generation.environments.base import PastCall, ToolResult, forgiving
from generation.llm.meter import Meter
from generation.seeds.tau2_data import DOMAINS, ENGINE, database, tool_specs, toolkit
from generation.tools.toolset import Toolset

Key = tuple[str, str]
"""Kind of entity and its id."""


class ToolRefusedError(Exception):
    """A tool refused a call; the message says why."""


class _EntityDrafts:
    """The entities of one kind during one call: a lookup returns a copy to change, iteration is read-only."""

    def __init__(self, stored: Mapping[str, BaseModel], changed: Mapping[str, BaseModel]) -> None:
        self._stored = stored
        self._changed = changed
        self.touched: dict[str, BaseModel] = {}

    def __contains__(self, key: str) -> bool:
        return key in self.touched or key in self._changed or key in self._stored

    def __getitem__(self, key: str) -> BaseModel:
        if key not in self.touched:
            self.touched[key] = self._current(key).model_copy(deep=True)
        return self.touched[key]

    def __setitem__(self, key: str, entity: BaseModel) -> None:
        self.touched[key] = entity

    def values(self) -> Iterator[BaseModel]:
        return (entity for _, entity in self.items())

    def items(self) -> Iterator[tuple[str, BaseModel]]:
        keys = dict.fromkeys([*self._stored, *self._changed, *self.touched])
        return ((key, self._current(key)) for key in keys)

    def _current(self, key: str) -> BaseModel:
        for entities in (self.touched, self._changed):
            if key in entities:
                return entities[key]
        return self._stored[key]


@dataclass(frozen=True)
class _ChangedEntity:
    """An entity that differs from its initial state. Never modified in place: forks share it."""

    entity: BaseModel
    canonical: str


class Tau2DomainEnvironment:
    """A domain's shared database and the tools of a toolset; opening an environment copies nothing."""

    def __init__(self, domain: str, tools: tuple[ToolSpec, ...], data: Any, kit: type[Any]) -> None:
        """`data` is the package's database object, `kit` a class with its tool methods (`seeds.tau2_data`)."""
        self.domain = domain
        self.tools = tools
        self.kit = kit
        self.stored: dict[str, Mapping[str, BaseModel]] = {
            kind: getattr(data, kind) for kind in type(data).model_fields
        }
        self.models: dict[str, type[BaseModel]] = {
            kind: get_args(field.annotation)[1] for kind, field in type(data).model_fields.items()
        }
        self.specs = {tool.name: tool for tool in tools}

    def open(self, snapshot: bytes | None = None) -> Tau2Environment:
        """Raises ValueError for a snapshot of another domain."""
        return Tau2Environment(self, self._read(snapshot) if snapshot else {})

    def _read(self, snapshot: bytes) -> dict[Key, _ChangedEntity]:
        content = json.loads(snapshot)
        if not isinstance(content, dict) or content.get("domain") != self.domain:
            raise ValueError(f"the snapshot is of another domain than {self.domain}")
        changes = content["changes"].items()
        return {
            (kind, key): self.changed(kind, entity) for kind, entities in changes for key, entity in entities.items()
        }

    def changed(self, kind: str, values: dict[str, Any]) -> _ChangedEntity:
        """Raises ValueError for values that the data model does not allow."""
        entity = self.models[kind].model_validate(values)
        canonical = json.dumps(entity.model_dump(mode="json"), sort_keys=True, ensure_ascii=False)
        return _ChangedEntity(entity, canonical)

    def close(self) -> None:
        """No resources to release: the process keeps the database."""


class Tau2Environment:
    """One dialogue's private state of a `Tau2DomainEnvironment`."""

    executable = True

    def __init__(self, domain_environment: Tau2DomainEnvironment, changes: dict[Key, _ChangedEntity]) -> None:
        self.tools = domain_environment.tools
        self._domain_environment = domain_environment
        self._changes = changes

    async def call(self, name: str, arguments: dict[str, Any], transcript: Sequence[Message] = ()) -> ToolResult:
        """The text of the benchmark's tool message: a JSON document or plain text.

        A failed call returns {"error": why} and leaves the state unchanged. Typographic characters in the arguments are
        read as typed (`forgiving`).
        """
        return forgiving(lambda given: self._call(name, given), arguments)

    def _call(self, name: str, arguments: dict[str, Any]) -> ToolResult:
        try:
            content, self._changes = self._run(name, arguments)
        except ToolRefusedError as error:
            # The arguments may contain a lone surrogate, which UTF-8 cannot encode.
            return ToolResult.failed(str(error).encode(errors="replace").decode())
        return ToolResult(content, _parse_result(content))

    async def retrace(self, calls: Sequence[PastCall]) -> bool:
        for name, arguments, recorded in calls:
            if (await self.call(name, arguments)).content != recorded:
                return False
        return True

    def _run(self, name: str, arguments: dict[str, Any]) -> tuple[str, dict[Key, _ChangedEntity]]:
        """(content, the changes after the call)."""
        spec = self._domain_environment.specs.get(name)
        if spec is None:
            raise ToolRefusedError(
                f"there is no tool {name!r}; there are: {', '.join(sorted(self._domain_environment.specs))}"
            )
        if problem := spec.argument_error(arguments):
            raise ToolRefusedError(f"invalid arguments: {problem}")
        drafts = self._new_drafts()
        kit = self._domain_environment.kit()
        kit.db = SimpleNamespace(**drafts)
        try:
            value = getattr(kit, name)(**_with_integers(arguments, spec))
            content = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
            return content, self._commit(drafts)
        # The official code indexes and converts its arguments unchecked, so it can raise anything.
        except Exception as error:
            raise ToolRefusedError(_reason(error)) from error

    def _new_drafts(self) -> dict[str, _EntityDrafts]:
        changed: dict[str, dict[str, BaseModel]] = {kind: {} for kind in self._domain_environment.stored}
        for (kind, key), change in self._changes.items():
            changed[kind][key] = change.entity
        return {kind: _EntityDrafts(stored, changed[kind]) for kind, stored in self._domain_environment.stored.items()}

    def _commit(self, drafts: Mapping[str, _EntityDrafts]) -> dict[Key, _ChangedEntity]:
        """The changes, drafts included, without entities that are back in their initial state."""
        changes = dict(self._changes)
        for kind, entities in drafts.items():
            for key, draft in entities.touched.items():
                stored = self._domain_environment.stored[kind].get(key)
                change_so_far = changes.get((kind, key))
                if draft == (change_so_far.entity if change_so_far else stored):
                    continue
                change = self._domain_environment.changed(kind, draft.model_dump())
                if change.entity == stored:
                    changes.pop((kind, key), None)
                else:
                    changes[kind, key] = change
        return changes

    def snapshot(self) -> bytes:
        """The changed entities. Their fields keep their order, which results show."""
        changes: dict[str, dict[str, Any]] = {}
        for (kind, key), change in sorted(self._changes.items(), key=lambda item: item[0]):
            changes.setdefault(kind, {})[key] = change.entity.model_dump(mode="json")
        return json.dumps({"domain": self._domain_environment.domain, "changes": changes}, ensure_ascii=False).encode()

    def fork(self) -> Tau2Environment:
        return Tau2Environment(self._domain_environment, self._changes)

    def state_hash(self) -> str:
        lines = [
            f"{kind} {json.dumps(key)} {self._changes[kind, key].canonical}" for kind, key in sorted(self._changes)
        ]
        return hashlib.sha256(fold("\n".join(lines)).encode()).hexdigest()

    def state_diff(self) -> tuple[str, ...]:
        """One line for each changed entity: `UPDATE orders #W1: status "pending" -> "cancelled"`."""
        return tuple(
            sorted(self._change_line(kind, key, change.entity) for (kind, key), change in self._changes.items())
        )

    def _change_line(self, kind: str, key: str, entity: BaseModel) -> str:
        stored = self._domain_environment.stored[kind].get(key)
        after = dict(_leaves(entity.model_dump(mode="json")))
        if stored is None:
            return f"INSERT {kind} {key}: {', '.join(f'{path} {value}' for path, value in sorted(after.items()))}"
        before = dict(_leaves(stored.model_dump(mode="json")))
        paths = [path for path in dict.fromkeys([*before, *after]) if before.get(path) != after.get(path)]
        cells = [f"{path} {before.get(path, 'nothing')} -> {after.get(path, 'nothing')}" for path in sorted(paths)]
        return f"UPDATE {kind} {key}: {', '.join(cells)}"

    def reset(self) -> None:
        self._changes = {}

    def close(self) -> None:
        """No resources to release."""


class Tau2EnvironmentFactory:
    """Opens the domains of toolsets from `Tau2Seeds`."""

    executable = True
    engine: str | None = ENGINE

    def for_domain(
        self, toolset: Toolset, meter: Meter, dialogue_id: str, now: str | None = None
    ) -> Tau2DomainEnvironment:
        """Raises UserError for a toolset of another engine or domain or with unknown tools, and without
        inspect-evals."""
        domains = {domain.seed: domain for domain in DOMAINS.values()}
        if toolset.engine != ENGINE:
            raise UserError(
                f"the toolset of {toolset.domain} has engine={toolset.engine}; environment=tau2 expects {ENGINE}"
            )
        if toolset.domain not in domains:
            raise UserError(f"{toolset.domain} is not a τ² domain; {closest(toolset.domain, list(domains))}")
        domain = domains[toolset.domain]
        known = [tool.name for tool in tool_specs(domain)]
        if unknown := [tool.name for tool in toolset.tools if tool.name not in known]:
            raise UserError(f"{toolset.domain} has no tool {unknown[0]!r}; {closest(unknown[0], known)}")
        return Tau2DomainEnvironment(toolset.domain, toolset.tools, database(domain), toolkit(domain))

    def close(self) -> None:
        """No resources to release."""


def _with_integers(arguments: dict[str, Any], spec: ToolSpec) -> dict[str, Any]:
    """JSON's 2.0 is an integer, and the benchmark passes it on as one."""
    kinds = {name: part.get("type") for name, part in spec.parameters.get("properties", {}).items()}
    return {
        name: int(value) if isinstance(value, float) and kinds.get(name) == "integer" else value
        for name, value in arguments.items()
    }


def _parse_result(content: str) -> Any:
    """Parses only objects and arrays: plain text that looks like a number or a constant stays text."""
    return json.loads(content) if content.startswith(("{", "[")) else content


def _reason(error: Exception) -> str:
    if isinstance(error, ValidationError):
        return "; ".join(f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in error.errors())
    if message := getattr(error, "message", None):  # the package's ToolError: what its agent would read
        return str(message)
    return f"the call failed: {type(error).__name__}: {error}"


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """(path, JSON literal) of every leaf of a JSON value."""
    if isinstance(value, dict) and value:
        for name, item in value.items():
            yield from _leaves(item, f"{path}.{name}" if path else name)
    elif isinstance(value, list) and value:
        for index, item in enumerate(value):
            yield from _leaves(item, f"{path}[{index}]")
    else:
        yield path, json.dumps(value, ensure_ascii=False)
