"""The stand-in's tool simulator: an imaginary system whose records keep their values from call to call.

It repeats what is known about a record; other fields follow from the record's identifier. Now and then it finds nothing
or fails. Sometimes it errs, as models do, and answers as if it were another system, which the checks should catch.
"""

from __future__ import annotations

import json
from random import Random
from typing import Any

from core.schemas import schema_error
from generation.llm.contexts import ToolSimulatorContext
from generation.scripted.schema_values import scalar_value
from generation.specs.naming import (
    Words,
    action,
    alike,
    bare_name,
    changes,
    creates,
    entity_words,
    identifier_key,
    identifies,
    own_identifier,
)
from generation.specs.resolved_schema import Schema, kind, resolved
from generation.specs.spelling import singular, snake

ERROR_RATE = 0.04
"""Chance of an answer from another system."""
_FAILURE_RATE = 0.01
_EMPTY_RATE = 0.03
_WRAPPERS = {"results", "items", "data", "records"}
_TOTALS = {"total", "count", "total_count", "total_results"}
_DELETED = {"exists": False}
_MAX_DEPTH = 8

Fields = dict[str, Any]


def answer(context: ToolSimulatorContext, rng: Random, system: str = "", error_rate: float = ERROR_RATE) -> str:
    """A JSON value that fits the tool's schema, or {"error": reason}. `rng` draws new records; `system` names the
    imaginary system, one per dialogue, whose records keep their values."""
    if rng.random() < error_rate:
        context, system = ToolSimulatorContext(context.tool, context.arguments, {}), f"{system}/{rng.random()}"
    return json.dumps(_System(context, rng, system).respond(), ensure_ascii=False)


class _System:
    """One call of the imaginary system."""

    def __init__(self, context: ToolSimulatorContext, rng: Random, name: str) -> None:
        self.tool, self.arguments, self.known = context.tool, context.arguments, context.known
        self.rng = rng
        self.name = name
        self.root = self.tool.returns or {}
        self.about = entity_words(self.tool.name)
        self.scope = f"/{self.tool.name}({json.dumps(self.arguments, sort_keys=True)})"
        self.makes = creates(self.tool.name)
        named = [key for name, value in self.arguments.items() if (key := _key(name, value, self.about))]
        # The record that the tool is about, among those that the arguments name.
        self.record = next((key for key in named if self._is_of_kind(key)), None)
        self.in_rows = False

    def respond(self) -> Any:
        schema = resolved(self.root, self.root)
        if problem := self._problem():
            return [] if kind(schema) == "array" and self.rng.random() < 0.5 else {"error": problem}
        if self.rng.random() < _FAILURE_RATE:
            return {"error": "the service is busy, try again later"}
        if not self.root:
            return {**self.arguments, "result": "done"}
        if kind(schema) == "array":
            return self._rows(schema)
        return self._value(schema, "", self.about, self.record or self.scope, {}, 0)

    def _problem(self) -> str:
        if self.record is None or self.makes or action(self.tool.name) == "restore":
            return ""
        known = self.known.get(self.record, {})
        filters = () if changes(self.tool.name) else self.arguments.items()
        mismatches = (n for n, v in filters if identifies(n) and n in known and known[n] != v)
        return f"{self.record} not found" if known == _DELETED or next(mismatches, None) else ""

    def _is_of_kind(self, key: str) -> bool:
        return alike(_thing(key), self.about) or _thing(key)[-1] in self.about

    def _rows(self, schema: Schema) -> list[Any]:
        """The requested record, or all known records that match plus, for tools that return several, some new ones."""
        items = resolved(schema.get("items", {}), self.root)
        least, most = schema.get("minItems", 0), schema.get("maxItems", 1000)
        usual = Random(f"{self.name}/{self.scope}")
        self.in_rows = True
        if self.record and alike(_thing(self.record), self.about):
            rows, count = [self.record], 1
        elif changes(self.tool.name):
            rows, count = [], 1
        else:
            rows = [key for key, fields in self.known.items() if self._fits(key, fields)]
            count = max(len(rows), usual.randint(1, 4))
            if not rows and action(self.tool.name) in ("search", "list") and usual.random() < _EMPTY_RATE:
                count = 0
            limit = self.arguments.get("limit")
            if isinstance(limit, int) and limit > 0:
                count = limit if action(self.tool.name) == "rank" else min(count, limit)
        count = max(least, min(count, most))
        records = [*rows, *(f"{self.scope}/{n}" for n in range(len(rows), count))]
        return [self._value(items, "", self.about, record, {}, 0) for record in records[:count]]

    def _fits(self, key: str, fields: Fields) -> bool:
        of_kind = alike(_thing(key), self.about)
        return of_kind and fields != _DELETED and all(fields.get(n, v) == v for n, v in self.arguments.items())

    def _value(self, schema: Schema, name: str, about: Words, record: str, fixed: Fields, depth: int) -> Any:
        """A value of a resolved schema: the field `name` of `record`, or, without a name, the record itself or a new
        one."""
        rng = Random(f"{self.name}/{record}/{bare_name(name, _thing(record))}")
        if kind(schema) == "object" and depth < _MAX_DEPTH and not {"const", "enum"} & schema.keys():
            if isinstance(schema.get("additionalProperties"), dict) and not {"properties", "required"} & schema.keys():
                return self._map(schema, name, about, record, depth)
            new = not depth and (self.makes or record != self.scope)
            return self._object(schema, about, record, fixed, depth, self.rng if new else rng)
        if kind(schema) == "array" and not {"const", "enum"} & schema.keys():
            return self._array(schema, name, record, depth)
        return scalar_value(schema, name, rng)

    def _array(self, schema: Schema, name: str, record: str, depth: int) -> list[Any]:
        about = tuple(singular(snake(name)).split("_"))
        items = resolved(schema.get("items", {}), self.root)
        holds_rows = alike(about, self.about) or (record == self.scope and name in _WRAPPERS)
        if depth == 1 and holds_rows and kind(items) == "object":
            return self._rows(schema)
        count = schema.get("minItems", 1 if depth < _MAX_DEPTH else 0)
        parts = range(max(count, min(1, schema.get("maxItems", 1)) if depth < _MAX_DEPTH else 0))
        return [self._value(items, singular(name), about, f"{record}/{name}/{n}", {}, depth + 1) for n in parts]

    def _object(self, schema: Schema, about: Words, record: str, fixed: Fields, depth: int, rng: Random) -> Fields:
        properties = {name: {} for name in schema.get("required", ())} | schema.get("properties", {})
        parts = {name: resolved(part, self.root) for name, part in properties.items()}
        fields: Fields = {}
        own = self._own(parts, about, depth)
        if own:
            fields[own] = self._identifier(own, parts[own], about, record, fixed, depth, rng)
            record = identifier_key(own, fields[own], about) or record
        fixed = {**self.known.get(record, {}), **fixed}
        for name, part in sorted(parts.items(), key=lambda item: identifies(item[0]) is None):
            if name not in fields:
                fields[name] = self._field(name, part, *self._holder(name, fields, own, record, fixed), depth)
        if record == self.scope:
            _count_rows(fields)
        return (
            {name: fields[name] for name in parts}
            if parts or schema.get("additionalProperties") is False
            else {"result": "done"}
        )

    def _map(self, schema: Schema, name: str, about: Words, record: str, depth: int) -> Fields:
        """A map of similar entries: one for each key that the schema names, else some under their identifiers."""
        part = resolved(schema["additionalProperties"], self.root)
        noun = singular(name) or (about[-1] if about else "entry")
        allowed = resolved(schema.get("propertyNames", {}), self.root).get("enum")
        keys = allowed or [f"{noun}_{n}" for n in range(1, 1 + max(1, schema.get("minProperties", 1)))]
        entries: Fields = {}
        for key in keys:
            value = self._value(part, noun, about, f"{record}/{name}/{key}", {}, depth + 1)
            own = own_identifier(value, about, True) if isinstance(value, dict) and not allowed else None
            entries[str(value[own]) if own and str(value[own]) not in entries else key] = value
        return entries

    def _holder(self, name: str, fields: Fields, own: str | None, record: str, fixed: Fields) -> tuple[str, Fields]:
        """The record that a field belongs to, and its known fields: next to a member_id, member_name is the
        member's."""
        for field, value in fields.items():
            key = _key(field, value, ()) if field != own and identifies(field) and name not in fixed else None
            if key and bare_name(name, _thing(key)) != snake(name):
                bare = bare_name(name, _thing(key))
                values = [v for n, v in self.known.get(key, {}).items() if bare_name(n, _thing(key)) == bare]
                return key, {name: values[0]} if values else {}
        return record, fixed

    def _own(self, parts: dict[str, Schema], about: Words, depth: int) -> str | None:
        """The field with the record's identifier; for a new record, one that is not among the arguments."""
        scalars = [name for name, part in parts.items() if kind(part) in ("string", "integer")]
        if depth or not self.makes:
            return own_identifier(scalars, about, depth > 0 or self.in_rows)
        new = [name for name in scalars if name not in self.arguments and identifies(name) is not None]
        return own_identifier(new, about, True) or next(iter(new), None)

    def _identifier(
        self, own: str, part: Schema, about: Words, record: str, fixed: Fields, depth: int, rng: Random
    ) -> Any:
        """The value of the identifier: the record's, the requested one, or a new one."""
        matches = not record.startswith("/") and alike(_thing(record), identifies(own) or about[-1:])
        value = fixed.get(own)
        if value is None and not self.makes and not depth and record == self.record:
            value = self.arguments.get(own)
        if value is None and not self.makes and matches:
            value = record.partition("=")[2]
        for spelling in () if value is None else (value, str(value), int(value) if str(value).isdigit() else value):
            if schema_error(spelling, part) is None:
                return spelling
        return scalar_value(part, own if identifies(own) else f"{about[-1]}_id", rng)

    def _field(self, name: str, part: Schema, record: str, fixed: Fields, depth: int) -> Any:
        arguments = {} if depth else self.arguments
        for known in (arguments, fixed) if changes(self.tool.name) else (fixed, arguments):
            if known.get(name) is not None and schema_error(known[name], part) is None:
                return known[name]
        inner = {path.removeprefix(f"{name}."): value for path, value in fixed.items() if path.startswith(f"{name}.")}
        return self._value(part, name, tuple(singular(snake(name)).split("_")), record, inner, depth + 1)


def _count_rows(fields: Fields) -> None:
    lists = [value for value in fields.values() if isinstance(value, list)]
    for name in [name for name in fields if name in _TOTALS and len(lists) == 1]:
        fields[name] = len(lists[0])


def _key(name: str, value: Any, about: Words) -> str | None:
    plain = isinstance(value, str | int) and not isinstance(value, bool)
    return identifier_key(name, value, about) if plain and identifies(name) is not None else None


def _thing(key: str) -> Words:
    return identifies(key.partition("=")[0]) or ()
