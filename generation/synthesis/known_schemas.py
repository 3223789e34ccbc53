"""The schemas that a synthesised database must not copy: the bundled databases, held-out ones among them, and those of
the benchmarks that are at hand."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from importlib import import_module
from importlib.util import find_spec
from inspect import getmembers, isclass
from pathlib import Path
from typing import Any

import apsw
from pydantic import BaseModel

from core.settings import UserError
from generation.seeds.bundled import HELD_OUT, TRAINING
from generation.synthesis.likeness import SchemaNames, schema_names

_TAU2_DOMAINS = ("airline", "retail", "telecom")
_FEWEST_FIELDS = 3
"""A record with fewer fields is not distinctive."""


def known_schemas(bfcl: Path | None, spider: Path | None) -> tuple[SchemaNames, ...]:
    """Bundled, τ²-bench's if inspect-evals is installed, BFCL's from its virtual environment, Spider's from its folder.

    BFCL has no databases; the records that its stateful systems return stand for tables. Raises UserError if `spider`
    has no tables.json of its form.
    """
    return (*_bundled(), *_tau2(), *(_bfcl(bfcl) if bfcl else ()), *(_spider(spider) if spider else ()))


def schemas_hash(schemas: Iterable[SchemaNames]) -> str:
    """One hash of all their names: what databases were compared with."""
    content = [(s.of, sorted((table, sorted(columns)) for table, columns in s.tables.items())) for s in schemas]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _bundled() -> Iterator[SchemaNames]:
    for name, domain in sorted((TRAINING | HELD_OUT).items()):
        with closing(apsw.Connection(":memory:")) as connection:
            connection.execute(domain.schema)
            listed = connection.execute(
                "SELECT m.name, c.name FROM sqlite_schema AS m JOIN pragma_table_info(m.name) AS c WHERE m.type = 'table'"
            )
            tables: dict[str, list[str]] = {}
            for table, column in listed:
                tables.setdefault(str(table), []).append(str(column))
        yield schema_names(f"the bundled {name}", tables.items())


def _tau2() -> Iterator[SchemaNames]:
    if find_spec("inspect_evals") is None:
        return
    for domain in _TAU2_DOMAINS:
        with suppress(ModuleNotFoundError):
            module = import_module(f"inspect_evals.tau2.{domain}.data_model")
            models = [(name, kind) for name, kind in getmembers(module, isclass) if issubclass(kind, BaseModel)]
            yield schema_names(
                f"τ²-bench's {domain}",
                (
                    (name, kind.model_fields)
                    for name, kind in models
                    if kind.__module__ == module.__name__ and len(kind.model_fields) >= _FEWEST_FIELDS
                ),
            )


def _bfcl(environment: Path) -> Iterator[SchemaNames]:
    pattern = "lib/python3*/site-packages/bfcl_eval/data/multi_turn_func_doc/*.json"
    for path in sorted(environment.glob(pattern)):
        records: dict[str, list[str]] = {}
        for line in path.read_text(encoding="utf-8").splitlines():
            tool = json.loads(line)
            fields = list(_properties(tool.get("response", {})))
            if len(fields) >= _FEWEST_FIELDS:
                records[str(tool["name"]).partition("_")[2]] = fields
        if records:
            yield schema_names(f"BFCL's {path.stem}", records.items())


def _properties(response: dict[str, Any]) -> Iterator[str]:
    """The field names of an object, or of the one object within it."""
    properties = response.get("properties", {})
    inner = [part for part in properties.values() if part.get("properties") or part.get("items", {}).get("properties")]
    if len(properties) == 1 and inner:
        yield from inner[0].get("properties") or inner[0]["items"]["properties"]
    else:
        yield from properties


def _spider(root: Path) -> Iterator[SchemaNames]:
    path = root / "tables.json"
    try:
        for schema in json.loads(path.read_text(encoding="utf-8")):
            tables: list[tuple[str, list[str]]] = [(name, []) for name in schema["table_names_original"]]
            for number, column in schema["column_names_original"]:
                if number >= 0:
                    tables[number][1].append(column)
            yield schema_names(f"Spider's {schema['db_id']}", tables)
    except FileNotFoundError:
        raise UserError(f"spider={root} was given, but there is no {path}; expected: Spider's folder") from None
    except (ValueError, TypeError, KeyError, IndexError) as error:
        raise UserError(f"{path} is not Spider's list of schemas: {error!r}") from None
