"""Reads sentences, outlines and tables from a model's answer, in the ways models write them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from generation.database.spec import (
    Check,
    ColumnSpec,
    DaysAfterValues,
    EmailValues,
    Outline,
    ProductValues,
    Reference,
    TableOutline,
    TableSpec,
    Values,
)
from generation.llm.parsing.json_text import first_json
from generation.specs.spelling import singular, snake

T = TypeVar("T")

_FEWEST_WORDS, _MOST_WORDS = 5, 80
_COMMON = ("name", "type", "unique", "missing")
_TYPES = {
    "string": "text", "str": "text", "varchar": "text", "int": "integer", "float": "number", "real": "number",
    "decimal": "number", "numeric": "number", "bool": "boolean",
}  # fmt: skip
_VALUES: TypeAdapter[Values] = TypeAdapter(Values)


def read_sentence(text: str) -> str:
    """The sentence in an answer. Raises ValueError if there is none of a usable length."""
    sentence = " ".join(str(first_json(text, dict).get("sentence") or "").split())
    if not _FEWEST_WORDS <= len(sentence.split()) <= _MOST_WORDS:
        raise ValueError(f'"sentence" must have {_FEWEST_WORDS} to {_MOST_WORDS} words, not {len(sentence.split())}')
    return sentence


def read_outline(text: str) -> Outline:
    """The outline in an answer; keys are named after their table, and references after the key that they hold. Raises
    ValueError with the first problem."""
    answer = first_json(text, dict)
    items = answer.get("tables")
    if not isinstance(items, list) or not all(isinstance(item, dict) and item.get("name") for item in items):
        raise ValueError('"tables" must be a list of objects, each with a "name"')
    names: dict[str, str] = {}  # of tables with one noun the first, as the corrections keep it
    for item in items:
        name = snake(str(item["name"]))
        names.setdefault(singular(name), name)
    return _validated(
        lambda: Outline(
            title=" ".join(str(answer.get("title") or "").replace("_", " ").lower().split()).removesuffix(" service"),
            description=" ".join(str(answer.get("description") or "").split()),
            tables=tuple(_table(item, names) for item in items),
        )
    )


def read_link(text: str, links: Collection[str]) -> str:
    """The link in an answer, one of `links`. Raises ValueError for any other."""
    link = " ".join(str(first_json(text, dict).get("link") or "").split())
    if link not in links:
        raise ValueError(f'"link" must be one of the possible links, not {link[:80]!r}')
    return link


def _table(item: Mapping[str, Any], names: Mapping[str, str]) -> TableOutline:
    name = snake(str(item["name"]))
    parents = item.get("refers_to") or []
    references = [_reference(part, names) for part in (parents if isinstance(parents, list) else [parents])]
    return TableOutline(
        name=name,
        key=snake(str(item.get("key") or f"{singular(name)}_id")),
        rows=item.get("rows"),
        references=tuple({reference.column: reference for reference in references}.values()),
    )


def _reference(part: Any, names: Mapping[str, str]) -> Reference:
    details = part if isinstance(part, dict) else {"table": part}
    noun = singular(snake(str(details.get("table"))))
    table = names.get(noun, names.get(noun.removesuffix("_id"), snake(str(details.get("table")))))
    return Reference(
        column=snake(str(details.get("column") or f"{singular(table)}_id")),
        table=table,
        missing=details.get("missing") or 0.0,
        skewed=bool(details.get("skewed")),
    )


def read_table(text: str, outline: TableOutline) -> TableSpec:
    """The table in an answer, of one that was cut off the complete columns. Columns that the outline has already are
    left out, and derived columns moved behind their sources. Raises ValueError with the first problem."""
    answer = {"columns": first_json(text, list)} if text.startswith("[") else first_json(text, dict)
    items = answer.get("columns")
    if not isinstance(items, list) or not items or not all(isinstance(item, dict) for item in items):
        raise ValueError('"columns" must be a list of objects')
    columns = [_column(item) for item in items if snake(str(item.get("name"))) not in outline.key_columns]
    checks = answer.get("checks") or []
    together = answer.get("unique_together") or []
    return _validated(
        lambda: TableSpec(
            **dict(outline),
            columns=tuple(_sources_first(columns)),
            checks=tuple(Check.model_validate(check) for check in checks),
            unique_together=tuple(together),
        )
    )


def _sources_first(columns: list[ColumnSpec]) -> Iterator[ColumnSpec]:
    """The columns in their order, but derived ones after what they are made from. In a circle they stay as they are."""
    waiting = list(columns)
    while waiting:
        names = {column.name for column in waiting}
        ready = next((column for column in waiting if not _sources(column) & (names - {column.name})), waiting[0])
        waiting.remove(ready)
        yield ready


def _sources(column: ColumnSpec) -> set[str]:
    match column.values:
        case ProductValues(of=of):
            return set(of)
        case DaysAfterValues(of=name) | EmailValues(of=name):
            return {name}
    return set()


def _column(item: Mapping[str, Any]) -> ColumnSpec:
    """A column whose generator's fields stand next to its own, or under "values"."""
    name = snake(str(item.get("name") or ""))
    nested = item.get("values")
    fields = nested if isinstance(nested, dict) else {key: item[key] for key in item if key not in _COMMON}
    kind = str(item.get("type") or "").lower()
    try:
        return ColumnSpec(
            name=name,
            type=_TYPES.get(kind, kind),
            values=_VALUES.validate_python(fields),
            unique=bool(item.get("unique")),
            missing=item.get("missing") or 0.0,
        )
    except ValidationError as error:
        raise ValueError(f"column {name!r}: {_first(error)}") from None


def _validated(build: Callable[[], T]) -> T:
    try:
        return build()
    except (ValidationError, TypeError) as error:
        raise ValueError(_first(error) if isinstance(error, ValidationError) else str(error)) from None


def _first(error: ValidationError) -> str:
    first = error.errors()[0]
    place = ".".join(map(str, first["loc"]))
    return f"{f'{place}: ' if place else ''}{first['msg']} (given: {str(first['input'])[:80]!r})"
