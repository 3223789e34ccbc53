"""What is wrong with a rule for a set of tools, before anything is executed."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, timedelta
from typing import Any

from core.messages import ToolSpec
from core.policy import ArgumentRule, Comparison, ConfirmRule, IdentityRule, LookUp, Rule, StateRule
from core.schemas import schema_error
from core.settings import closest
from generation.policies.comparisons import is_time, moment, number, reference, satisfied
from generation.policies.fields import OPEN, Schema, field_schema, row_schema, scope_schema, types
from generation.specs.naming import changes

_NUMBERS = {"integer", "number"}


def rule_problems(rule: Rule, specs: Mapping[str, ToolSpec]) -> list[str]:
    """What is wrong with one rule for these tools."""
    if missing := list(_unknown(rule.tools, specs)):
        return missing
    return list(
        dict.fromkeys(itertools.chain.from_iterable(_rule_problems(rule, specs[tool], specs) for tool in rule.tools))
    )


def _unknown(tools: Iterable[str], specs: Mapping[str, ToolSpec]) -> Iterator[str]:
    for tool in tools:
        if tool not in specs:
            yield f"there is no tool {tool!r}; {closest(tool, list(specs))}"


def _rule_problems(rule: Rule, spec: ToolSpec, specs: Mapping[str, ToolSpec]) -> Iterator[str]:
    """The problems of a rule for one of the tools that it governs."""
    arguments = spec.parameters
    yield from _comparison_problems(rule.when, arguments, arguments, f"{spec.name} has no parameter")
    match rule:
        case ArgumentRule():
            compared = list(_comparison_problems(rule.require, arguments, arguments, f"{spec.name} has no parameter"))
            yield from compared
            if not compared:
                yield from _impossible((*rule.when, *rule.require), arguments)
        case StateRule():
            yield from _state_problems(rule, arguments, specs)
        case IdentityRule():
            yield from _identity_problems(rule, spec, specs)
        case ConfirmRule() if not changes(spec.name):
            yield f"{spec.name} changes nothing, so there is nothing to agree to"


def _state_problems(rule: StateRule, arguments: Schema, specs: Mapping[str, ToolSpec]) -> Iterator[str]:
    found = list(_look_up_problems(rule.look_up, arguments, specs))
    yield from found
    if found:
        return
    rows = row_schema(rule.look_up, specs)
    missing = f"{rule.look_up.tool} returns no"
    compared = list(_comparison_problems((*rule.require, *rule.unless), rows, arguments, missing))
    yield from compared
    if not compared:
        yield from _impossible(rule.require, rows)


def _identity_problems(rule: IdentityRule, spec: ToolSpec, specs: Mapping[str, ToolSpec]) -> Iterator[str]:
    if missing := list(_unknown(rule.first, specs)):
        yield from missing
        return
    yield from (
        f"{tool} changes something, so that it cannot show who the user is" for tool in rule.first if changes(tool)
    )
    if rule.look_up is None:
        if field_schema(spec.parameters, rule.subject) is None:
            yield f"{spec.name} has no parameter {rule.subject!r}"
        return
    found = list(_look_up_problems(rule.look_up, spec.parameters, specs))
    yield from found
    if not found and field_schema(row_schema(rule.look_up, specs), rule.subject) is None:
        yield f"{rule.look_up.tool} returns no {rule.subject!r}"


def _look_up_problems(look_up: LookUp, arguments: Schema, specs: Mapping[str, ToolSpec]) -> Iterator[str]:
    chain = [look_up]
    while (inner := chain[-1].of) is not None:
        chain.append(inner)
    if missing := list(_unknown([part.tool for part in chain], specs)):
        yield from missing
        return
    for part in chain:
        if changes(part.tool):
            yield f"the look-up {part.tool} changes something; look-ups only read"
        given = _merged(arguments, scope_schema(part, specs))
        yield from _argument_problems(part, specs[part.tool], given)


def _merged(arguments: Schema, scope: Schema | None) -> Schema:
    """The fields that a look-up's arguments may refer to."""
    if scope is None:
        return arguments
    if scope == OPEN:
        return OPEN
    return {"type": "object", "properties": arguments.get("properties", {}) | scope["properties"]}


def _argument_problems(look_up: LookUp, spec: ToolSpec, given: Schema) -> Iterator[str]:
    declared: dict[str, Schema] = spec.parameters.get("properties", {})
    for name in spec.parameters.get("required", []):
        if name not in look_up.arguments:
            yield f"the look-up {spec.name} needs {name!r}"
    for name, value in look_up.arguments.items():
        if name not in declared:
            yield f"the look-up {spec.name} has no parameter {name!r}"
            continue
        referred = reference(value)
        if referred is None:
            if error := schema_error(value, declared[name]):
                yield f"the look-up {spec.name}: {name}: {error}"
            continue
        source = field_schema(given, referred)
        if source is None:
            yield f"the look-up {spec.name}: ${{{referred}}} is not an argument of the call"
        elif _differ(types(source), types(declared[name])):
            yield f"the look-up {spec.name}: ${{{referred}}} is of another type than {name}"


def _differ(one: frozenset[str], other: frozenset[str]) -> bool:
    """Whether no value can be of both types."""
    if not one or not other or (one & _NUMBERS and other & _NUMBERS):
        return False
    return not (one - {"null"}) & other


def _comparison_problems(
    comparisons: Iterable[Comparison], fields: Schema, arguments: Schema, missing: str
) -> Iterator[str]:
    for comparison in comparisons:
        schema = field_schema(fields, comparison.field)
        if schema is None:
            yield f"{missing} {comparison.field!r}"
        else:
            yield from _value_problems(comparison, schema, arguments)


def _value_problems(comparison: Comparison, schema: Schema, arguments: Schema) -> Iterator[str]:
    what, value, kinds = f"{comparison.field} {comparison.op}", comparison.value, types(schema)
    if comparison.op in ("in", "not_in") and not (isinstance(value, list) and value):
        yield f"{what}: a list of values is needed"
        return
    if comparison.op in ("at_most", "at_least") and _differ(kinds, frozenset(_NUMBERS)):
        yield f"{what}: it is not a number"
    if comparison.op in ("before", "after") and _differ(kinds, frozenset({"string"})):
        yield f"{what}: it is not a date or time"
    for item in value if isinstance(value, list) else [value]:
        name = reference(item)
        if name is None:
            yield from _literal_problems(comparison, item, schema, what)
        elif is_time(name):
            if comparison.op not in ("before", "after"):
                yield f"{what}: the time can only be compared with before and after"
        else:
            source = field_schema(arguments, name)
            if source is None:
                yield f"{what}: {item} is not an argument of the call"
            elif _differ(types(source), kinds):
                yield f"{what}: {item} is of another type"


def _literal_problems(comparison: Comparison, item: Any, schema: Schema, what: str) -> Iterator[str]:
    if comparison.op in ("at_most", "at_least"):
        if number(item) is None:
            yield f"{what}: {item!r} is not a number"
    elif comparison.op in ("before", "after"):
        if moment(item) is None:
            yield f"{what}: {item!r} is not a date (2025-03-04), time (10:15) or both"
    elif item is not None and _differ(_types_of(item), types(schema)):
        yield f"{what}: {item!r} is of another type"
    elif item is not None and "enum" in schema and item not in schema["enum"]:
        yield f"{what}: {item!r} is none of its values {schema['enum']}"


def _types_of(value: Any) -> frozenset[str]:
    kinds = {bool: ["boolean", "integer"], int: ["integer", "number"], float: ["number"], str: ["string"]}
    return frozenset(kinds.get(type(value), []))


def _impossible(comparisons: Sequence[Comparison], fields: Schema) -> Iterator[str]:
    """The fields for which no value satisfies all comparisons with literals."""
    for name in dict.fromkeys(comparison.field for comparison in comparisons):
        own = [c.model_copy(update={"field": "it"}) for c in comparisons if c.field == name and not _refers(c)]
        schema = field_schema(fields, name) or OPEN
        if own and not any(satisfied(own, {"it": value}, {}, "") for value in candidates(own, schema)):
            yield f"no call can satisfy what it says of {name!r}"


def _refers(comparison: Comparison) -> bool:
    values = comparison.value if isinstance(comparison.value, list) else [comparison.value]
    return any(reference(value) is not None for value in values)


def candidates(comparisons: Iterable[Comparison], schema: Schema) -> list[Any]:
    """Values of a field on both sides of every literal that the comparisons name, as far as its schema allows them."""
    if "enum" in schema:
        return list(schema["enum"])
    usual: dict[str, list[Any]] = {
        "string": ["-"],
        "integer": [0, 1_000_000],
        "number": [0, 1_000_000],
        "boolean": [False, True],
    }
    values: list[Any] = [None, *(value for kind in sorted(types(schema) or usual) for value in usual.get(kind, ()))]
    for comparison in comparisons:
        for literal in comparison.value if isinstance(comparison.value, list) else [comparison.value]:
            values += _neighbours(literal)
    bounds = [schema[key] for key in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum") if key in schema]
    values += [value for bound in bounds for value in _neighbours(bound)]
    return [value for value in values if value is None or schema_error(value, schema) is None]


def _neighbours(literal: Any) -> list[Any]:
    if isinstance(literal, int | float) and not isinstance(literal, bool):
        return [literal, literal - 1, literal + 1]
    if (found := moment(literal)) and len(found) >= len("2025-03-04"):
        day = date.fromisoformat(found[:10])
        near = [day + timedelta(days=shift) for shift in (-1, 0, 1)] if date.min < day < date.max else [day]
        return [literal, *(other.isoformat() for other in near)]
    return [literal]
