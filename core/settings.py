"""Typed settings: an OmegaConf node becomes a frozen pydantic model; a misspelt key is an error that names it."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

from omegaconf import DictConfig, OmegaConf
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError


class UserError(Exception):
    """A mistake the user can fix. The message says what was given and expected; mains print it and exit with 2."""


class Settings(BaseModel):
    """Base of every settings class. Each class is defined next to its consumer; the values are in conf/."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def _as_list(value: Any) -> Any:
    return (value,) if isinstance(value, str | Path) else value


Paths = Annotated[tuple[Path, ...], BeforeValidator(_as_list)]
"""One path or a list of paths."""

S = TypeVar("S", bound=Settings)


def typed(node: DictConfig | dict[str, Any], schema: type[S], where: str = "") -> S:
    """Convert a config node to `schema`. Raises UserError that lists every wrong key, what was given and expected."""
    values = OmegaConf.to_container(node, resolve=True) if isinstance(node, DictConfig) else node
    try:
        return schema.model_validate(values)
    except ValidationError as error:
        raise UserError(_explain(error, schema, where)) from None


def closest(name: str, known: list[str]) -> str:
    """Return "did you mean X?" if a known name is similar, else the list of known names."""
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"known: {', '.join(sorted(known))}"


def _explain(error: ValidationError, schema: type[Settings], where: str) -> str:
    lines = []
    for problem in error.errors():
        key = ".".join(str(part) for part in ((where,) if where else ()) + problem["loc"])
        if problem["type"] == "extra_forbidden":
            known = _keys(schema) if len(problem["loc"]) == 1 else []
            hint = f"; {closest(str(problem['loc'][-1]), known)}" if known else ""
            lines.append(f"unknown config key {key!r}{hint}")
        elif problem["type"] == "tuple_type":
            example = ",".join(_entries(schema, problem["loc"]))
            lines.append(
                f"config key {key!r}: a list is expected, such as {key}=[{example}] (given: {problem['input']!r})"
            )
        else:
            lines.append(f"config key {key!r}: {problem['msg']} (given: {problem['input']!r})")
    return "\n".join(lines)


def _keys(schema: type[Settings]) -> list[str]:
    """The top-level keys of `schema`, as a config writes them."""
    return [field.alias or name for name, field in schema.model_fields.items()]


def _entries(schema: type[Settings], path: tuple[int | str, ...]) -> tuple[str, ...]:
    """Two entries that the list at `path` admits, for a message: names if it is a list of these, else dots."""
    fields = dict(zip(_keys(schema), schema.model_fields.values(), strict=True))
    field = fields.get(str(path[0])) if len(path) == 1 else None
    for argument in get_args(field.annotation) if field else ():
        if get_origin(argument) is Literal:
            return tuple(map(str, get_args(argument)[:2]))
    return ("…",)
