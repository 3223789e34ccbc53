"""What a support desk consists of, and short forms for declaring its tools."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from core.dual_control import Actor
from core.messages import ToolSpec
from core.policy import Branch, Comparison, Operator, Step, Workflow
from generation.seeds.domains.domain import BundledDomain

TEXT: dict[str, Any] = {"type": "string"}
NUMBER: dict[str, Any] = {"type": "integer"}


@dataclass(frozen=True)
class DeskTool:
    """A tool and its statement."""

    spec: ToolSpec
    sql: str


@dataclass(frozen=True)
class SupportDesk:
    """A database, the tools of the desk's assistant and of its customers, and the desk's procedures."""

    domain: BundledDomain
    tools: tuple[DeskTool, ...]
    user_tools: tuple[DeskTool, ...]
    workflows: tuple[Workflow, ...]


def choice(*values: str, description: str) -> dict[str, Any]:
    return {"type": "string", "enum": list(values), "description": description}


def reads(name: str, description: str, parameters: dict[str, Any], returns: dict[str, Any], sql: str) -> DeskTool:
    """A look-up that returns rows with the fields `returns`."""
    row = {"type": "object", "properties": returns, "required": list(returns)}
    return DeskTool(_spec(name, description, parameters, {"type": "array", "items": row}), sql)


def changes(name: str, description: str, parameters: dict[str, Any], sql: str) -> DeskTool:
    """A change of one row, which returns how many rows it changed."""
    returns = {"type": "object", "properties": {"rows_affected": NUMBER}, "required": ["rows_affected"]}
    return DeskTool(_spec(name, description, parameters, returns), sql)


def _spec(name: str, description: str, parameters: dict[str, Any], returns: dict[str, Any]) -> ToolSpec:
    schema = {"type": "object", "properties": parameters, "required": list(parameters), "additionalProperties": False}
    return ToolSpec(name=name, description=description, parameters=schema, returns=returns)


def step(
    step_id: str,
    actor: Actor,
    tool: str,
    arguments: dict[str, Any],
    text: str,
    ways: Sequence[tuple[str, Operator, Any, str | None]] = (),
    otherwise: str | None = None,
) -> Step:
    """A step; `ways` are (field, operator, value, next step) of its branches."""
    branches = tuple(Branch(when=(Comparison(field=f, op=op, value=value),), go=go) for f, op, value, go in ways)
    return Step(
        step_id=step_id,
        text=text,
        actor=actor,
        tool=tool,
        arguments=arguments,
        branches=branches,
        otherwise=otherwise,
    )
