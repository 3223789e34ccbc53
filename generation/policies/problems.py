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
from generation.policies.comparisons import number, reference, satisfied
from generation.policies.fields import Fields, declared_fields, either, row_fields, scope_fields
from generation.policies.moments import is_time, moment
from generation.specs.naming import changes
from generation.specs.resolved_schema import Schema, alternatives, choices, kinds, misfit, resolved


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
    arguments = declared_fields(spec.parameters)
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


def _state_problems(rule: StateRule, arguments: Fields, specs: Mapping[str, ToolSpec]) -> Iterator[str]:
    found = list(_look_up_problems(rule.look_up, arguments, specs))
    yield from found
    if found:
        return
    rows = row_fields(rule.look_up, specs)
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
    arguments = declared_fields(spec.parameters)
    if rule.look_up is None:
        if arguments(rule.subject) is None:
            yield f"{spec.name} has no parameter {rule.subject!r}"
        return
    found = list(_look_up_problems(rule.look_up, arguments, specs))
    yield from found
    if not found and row_fields(rule.look_up, specs)(rule.subject) is None:
        yield f"{rule.look_up.tool} returns no {rule.subject!r}"


def _look_up_problems(look_up: LookUp, arguments: Fields, specs: Mapping[str, ToolSpec]) -> Iterator[str]:
    chain = [look_up]
    while (inner := chain[-1].of) is not None:
        chain.append(inner)
    if missing := list(_unknown([part.tool for part in chain], specs)):
        yield from missing
        return
    for part in chain:
        if changes(part.tool):
            yield f"the look-up {part.tool} changes something; look-ups only read"
        scope = scope_fields(part, specs)
        yield from _argument_problems(part, specs[part.tool], either(scope, arguments) if scope else arguments)


def _argument_problems(look_up: LookUp, spec: ToolSpec, given: Fields) -> Iterator[str]:
    parameters = resolved(spec.parameters, spec.parameters)
    declared: dict[str, Schema] = parameters.get("properties", {})
    taken = declared_fields(spec.parameters)
    for name in parameters.get("required", []):
        if name not in look_up.arguments:
            yield f"the look-up {spec.name} needs {name!r}"
    for name, value in look_up.arguments.items():
        if name not in declared:
            yield f"the look-up {spec.name} has no parameter {name!r}"
            continue
        referred = reference(value)
        if referred is None:
            if error := misfit(value, declared[name], spec.parameters):
                yield f"the look-up {spec.name}: {name}: {error}"
            continue
        source = given(referred)
        if source is None:
            yield f"the look-up {spec.name}: ${{{referred}}} is not an argument of the call"
        elif _differ(kinds(source, {}), kinds(taken(name), {})):
            yield f"the look-up {spec.name}: ${{{referred}}} is of another type than {name}"


def _differ(one: frozenset[str], other: frozenset[str]) -> bool:
    """Whether no value can be of both types."""
    return bool(one and other and not one & other)


def _comparison_problems(
    comparisons: Iterable[Comparison], fields: Fields, arguments: Fields, missing: str
) -> Iterator[str]:
    for comparison in comparisons:
        schema = fields(comparison.field)
        if schema is None:
            yield f"{missing} {comparison.field!r}"
        else:
            yield from _value_problems(comparison, schema, arguments)


def _value_problems(comparison: Comparison, schema: Schema, arguments: Fields) -> Iterator[str]:
    what, value, taken = f"{comparison.field} {comparison.op}", comparison.value, kinds(schema, {})
    if comparison.op in ("in", "not_in") and not (isinstance(value, list) and value):
        yield f"{what}: a list of values is needed"
        return
    if comparison.op in ("at_most", "at_least") and _differ(taken, frozenset({"number"})):
        yield f"{what}: it is not a number"
    if comparison.op in ("before", "after") and _differ(taken, frozenset({"string"})):
        yield f"{what}: it is not a date or time"
    for item in value if isinstance(value, list) else [value]:
        name = reference(item)
        if name is None:
            yield from _literal_problems(comparison, item, schema, what)
        elif is_time(name):
            if comparison.op not in ("before", "after"):
                yield f"{what}: the time can only be compared with before and after"
        else:
            source = arguments(name)
            if source is None:
                yield f"{what}: {item} is not an argument of the call"
            elif _differ(kinds(source, {}), taken):
                yield f"{what}: {item} is of another type"


def _literal_problems(comparison: Comparison, item: Any, schema: Schema, what: str) -> Iterator[str]:
    if comparison.op in ("at_most", "at_least"):
        if number(item) is None:
            yield f"{what}: {item!r} is not a number"
    elif comparison.op in ("before", "after"):
        if moment(item) is None:
            yield f"{what}: {item!r} is not a date (2025-03-04), time (10:15) or both"
    elif item is not None and _differ(_kinds_of(item), kinds(schema, {})):
        yield f"{what}: {item!r} is of another type"
    elif item is not None and (listed := choices(schema)) and item not in listed:
        yield f"{what}: {item!r} is not one of its values {listed}"


def _kinds_of(value: Any) -> frozenset[str]:
    types = {bool: ["boolean", "number"], int: ["number"], float: ["number"], str: ["string"]}
    return frozenset(types.get(type(value), []))


def _impossible(comparisons: Sequence[Comparison], fields: Fields) -> Iterator[str]:
    """The fields for which no value satisfies all comparisons with literals."""
    for name in dict.fromkeys(comparison.field for comparison in comparisons):
        own = [c.model_copy(update={"field": "it"}) for c in comparisons if c.field == name and not _refers(c)]
        schema = fields(name) or {}
        if own and not any(satisfied(own, {"it": value}, {}, "") for value in candidates(own, schema)):
            yield f"no call can satisfy what it says of {name!r}"


def _refers(comparison: Comparison) -> bool:
    values = comparison.value if isinstance(comparison.value, list) else [comparison.value]
    return any(reference(value) is not None for value in values)


def candidates(comparisons: Iterable[Comparison], schema: Schema) -> list[Any]:
    """Values of a field on both sides of every literal that the comparisons name, as far as its schema allows them."""
    if listed := choices(schema):
        return listed
    usual: dict[str, list[Any]] = {
        "string": ["-"],
        "number": [0, 1_000_000],
        "boolean": [False, True],
    }
    values: list[Any] = [None, *(value for kind in sorted(kinds(schema, {}) or usual) for value in usual.get(kind, ()))]
    for comparison in comparisons:
        for literal in comparison.value if isinstance(comparison.value, list) else [comparison.value]:
            values += _neighbours(literal)
    limits = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
    bounds = [option[key] for option in alternatives(schema, {}) for key in limits if key in option]
    values += [value for bound in bounds for value in _neighbours(bound)]
    return [value for value in values if value is None or schema_error(value, schema) is None]


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:  # such as 2025-02-30
        return None


def _neighbours(literal: Any) -> list[Any]:
    if isinstance(literal, int | float) and not isinstance(literal, bool):
        return [literal, literal - 1, literal + 1]
    found = moment(literal)
    if found and len(found) < len("2025-03-04"):
        return [literal, "00:00", "00:01", "12:00", "23:58", "23:59"]
    if found and (day := _day(found[:10])):
        near = [day + timedelta(days=shift) for shift in (-1, 0, 1)] if date.min < day < date.max else [day]
        return [literal, *(other.isoformat() for other in near)]
    return [literal]
