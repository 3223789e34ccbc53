"""Whether a plan fits its tools: its calls, checked against parameters and output schemas before any is made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from core.dialogue import PlannedCall
from core.messages import ToolSpec
from core.placeholders import Placeholder, placeholder
from core.schemas import schema_error
from generation.specs.json_values import leaves
from generation.specs.resolved_schema import Schema, field, field_names, kind, kinds, resolved

_SHOWN = 12
"""Names that a complaint lists at most."""


def form_problems(plan: Sequence[PlannedCall], tools: Mapping[str, ToolSpec], subgoals: int) -> Iterator[str]:
    """What is wrong with a plan's form: unknown tools, arguments that do not fit, placeholders of results that are not
    there or have another type, fields to tell that no result declares, subgoals that are not among the `subgoals`."""
    for index, call in enumerate(plan):
        where = f"call {index} ({call.tool})"
        if not 0 <= call.subgoal < subgoals:
            yield f"{where} serves a subgoal that is not among the {subgoals} given: they count from 0"
        if call.tool not in tools:
            yield f"{where}: there is no such tool; there are: {_listed(tools)}"
            continue
        yield from (f"{where}: {problem}" for problem in _argument_problems(index, plan, tools))
        yield from (f"{where}: {problem}" for problem in _tell_problems(index, plan, tools))


def _argument_problems(index: int, plan: Sequence[PlannedCall], tools: Mapping[str, ToolSpec]) -> Iterator[str]:
    arguments, schema = plan[index].arguments, tools[plan[index].tool].parameters
    declared: dict[str, Any] = schema.get("properties") or {}
    closed = bool(declared or schema.get("additionalProperties") is False) and not schema.get("additionalProperties")
    for name in arguments if closed else ():
        if name not in declared:
            yield f"it has no parameter {name!r}; it has: {_listed(declared)}"
    for name in schema.get("required") or ():
        if name not in arguments:
            yield f"the parameter {name!r} is required"
    looked_up = {name: value for name, value in arguments.items() if placeholder(value)}
    literal = {name: value for name, value in arguments.items() if name in declared and name not in looked_up}
    for leaf in (leaf for _, leaf in leaves(literal)):
        if isinstance(leaf, str) and "${" in leaf:
            yield f'{leaf!r} is not a value: a placeholder must be the whole argument, "${{i.field}}"'
    if problem := schema_error(literal, {**schema, "required": []}):
        yield problem
    for name, value in looked_up.items():
        if problem := _placeholder_problem(value, index, plan, tools, declared.get(name, {}), schema):
            yield problem


def _placeholder_problem(
    value: str, index: int, plan: Sequence[PlannedCall], tools: Mapping[str, ToolSpec], parameter: Any, root: Schema
) -> str:
    parsed = placeholder(value)
    assert parsed, "only placeholders are asked about"
    if problem := _source_problem(value, parsed, index, plan, tools):
        return problem
    source, path = parsed.calls[0], parsed.field
    if plan[source].tool not in tools or (returns := tools[plan[source].tool].returns) is None:
        return ""
    if parsed.function in ("count", "sum", "average"):
        return "" if {"number", "integer"} & (kinds(parameter, root) or {"number"}) else f"{value} is a number"
    if path is None:
        if kind(resolved(returns, returns)) in ("object", "array"):
            return f"{value}: call {source} returns no single value; name one of its fields: {_listed(field_names(returns))}"
        offered: Schema | None = returns
    else:
        offered = field(returns, path)
    if offered is None:
        return f"{value}: {plan[source].tool} returns no {path!r}; it returns: {_listed(field_names(returns))}"
    given, taken = kinds(offered, returns), kinds(parameter, root)
    if given and taken and not given & taken:
        return f"{value} is of type {' or '.join(sorted(given))}, but {' or '.join(sorted(taken))} is expected"
    return ""


def _source_problem(
    value: str, parsed: Placeholder, calls: int, plan: Sequence[PlannedCall], tools: Mapping[str, ToolSpec]
) -> str:
    """Why a placeholder cannot be filled from the first `calls` calls, or ""."""
    if any(call >= calls for call in parsed.calls):
        return f"{value} does not name an earlier call; those before it are {f'0 to {calls - 1}' if calls else 'none'}"
    for source in parsed.calls if parsed.function else ():
        returns = tools[plan[source].tool].returns if plan[source].tool in tools else None
        for name in parsed.fields if returns else ():
            if field(returns or {}, name) is None:
                shown = _listed(field_names(returns or {}))
                return f"{value}: {plan[source].tool} returns no {name!r}; it returns: {shown}"
    return ""


def _tell_problems(index: int, plan: Sequence[PlannedCall], tools: Mapping[str, ToolSpec]) -> Iterator[str]:
    """A field may also stand in a nested object: the user is told its value wherever it is. A computed answer may read
    the call's own result."""
    call, returns = plan[index], tools[plan[index].tool].returns
    for value in call.tell:
        if "${" in value and not (parsed := placeholder(value)):
            yield f'{value!r} computes nothing; for example: "${{sum of 0: amount}}"'
        elif "${" in value and parsed and (problem := _source_problem(value, parsed, index + 1, plan, tools)):
            yield problem
    fields = [name for name in call.tell if "${" not in name]
    if returns is None or not fields:
        return
    names = list(field_names(returns))
    known = {*names, *(name.rpartition(".")[2] for name in names)}
    declares = names or kind(resolved(returns, returns)) not in ("object", "array", "")
    if declares and (missing := [repr(name) for name in fields if name not in known]):
        yield f"it returns no {', '.join(missing)} to tell; it returns: {_listed(names)}"


def _listed(names: Mapping[str, Any] | Iterator[str] | Sequence[str]) -> str:
    shown = list(names)
    return ", ".join(shown[:_SHOWN]) + (", …" if len(shown) > _SHOWN else "") if shown else "nothing"
