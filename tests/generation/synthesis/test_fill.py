"""From spec to SQLite: every accepted spec fills without breaking a constraint, the same way every time."""

from __future__ import annotations

import hashlib
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from pydantic import ValidationError

from generation.database.schema import read_schema
from generation.database.spec import DatabaseSpec
from generation.synthesis.fill import fill
from generation.synthesis.sqlite_file import create_statements, write_database, written_problems
from generation.synthesis.table_checks import table_problems
from tests.generation.helpers.database_specs import HIRES, LIMITS, boat_hire, checks, columns


def problems(spec: DatabaseSpec) -> list[str]:
    tables = {table.name: table for table in spec.tables}
    return [problem.text for table in spec.tables for problem in table_problems(table, tables, LIMITS)]


def rows(path: Path, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


def load_with_sqlite3(spec: DatabaseSpec, seed: int) -> sqlite3.Connection:
    """The filled database, written by the standard library with all constraints enforced."""
    connection = sqlite3.connect(":memory:")
    connection.execute("PRAGMA foreign_keys = ON")
    for statement in create_statements(spec):
        connection.execute(statement)
    for table, table_columns in fill(spec, seed).items():
        places = ", ".join("?" * len(table_columns))
        connection.executemany(f'INSERT INTO "{table}" VALUES ({places})', zip(*table_columns.values(), strict=True))
    return connection


@pytest.fixture
def file(tmp_path: Path) -> Path:
    write_database(boat_hire(), 7, tmp_path / "boats.sqlite")
    return tmp_path / "boats.sqlite"


def test_the_valid_spec_is_valid(file: Path) -> None:
    assert problems(boat_hire()) == []
    assert written_problems(boat_hire(), file, LIMITS) == []


def test_rows_join_and_derived_values_are_right(file: Path) -> None:
    assert rows(file, "PRAGMA foreign_key_check") == []
    joined = rows(
        file,
        "SELECT h.hours * b.hire_price, h.total, h.hourly_price = b.hire_price, julianday(h.returned_on) - "
        "julianday(h.hired_on) FROM hires h JOIN boats b USING (boat_id) JOIN sailors s USING (sailor_id)",
    )
    assert len(joined) == 60
    assert all(expected == pytest.approx(total) and same for expected, total, same, _ in joined)
    assert {days for *_, days in joined} <= {None, *range(1, 10)}
    assert any(days is None for *_, days in joined)
    assert rows(file, "SELECT count(*) FROM sailors WHERE taught_by_id >= sailor_id") == [(0,)]
    assert rows(file, "SELECT count(DISTINCT boat_id || '/' || sailor_id) FROM hires") == [(60,)]
    assert rows(file, "SELECT count(*) FROM hires WHERE starts_at NOT BETWEEN '08:00' AND '12:00'") == [(0,)]


def test_the_schema_is_what_tools_are_made_from(file: Path) -> None:
    tables = {table.name: table for table in read_schema(file, "boats").tables}
    assert {name: table.rows for name, table in tables.items()} == {"boats": 12, "sailors": 30, "hires": 60}
    kinds = {column.name: (column.kind, column.nullable, column.flag) for column in tables["sailors"].columns}
    assert kinds["is_novice"] == ("integer", False, True)
    assert {key.parent for key in tables["hires"].foreign_keys} == {"boats", "sailors"}
    assert next(column for column in tables["hires"].columns if column.name == "returned_on").nullable


def test_the_same_seed_gives_the_same_bytes_and_another_one_other_rows(tmp_path: Path) -> None:
    digests = []
    for name, seed in (("a", 7), ("b", 7), ("c", 8)):
        write_database(boat_hire(), seed, tmp_path / name)
        digests.append(hashlib.sha256((tmp_path / name).read_bytes()).hexdigest())
    assert digests[0] == digests[1] != digests[2]


def test_a_changed_column_leaves_the_others_as_they_are() -> None:
    before = fill(boat_hire(), 7)["hires"]
    after = fill(boat_hire(hires={"columns": HIRES["columns"][:1] + HIRES["columns"][2:], "checks": []}), 7)["hires"]
    assert "returned_on" not in after
    assert all(before[name] == values for name, values in after.items())


def test_shapes_and_weights_are_those_asked_for() -> None:
    many = {"rows": 4000, "unique_together": (), "checks": ()}
    numbers = {"kind": "numbers", "low": 0, "high": 100}
    shapes = [
        {"name": shape, "type": "integer", "values": numbers | {"shape": shape}}
        for shape in ("uniform", "normal", "skewed")
    ]
    weighted = {"kind": "choices", "options": ["a", "b"], "weights": [9, 1]}
    spec = boat_hire(hires=many | {"columns": [*shapes, {"name": "kind_of", "type": "text", "values": weighted}]})
    filled = fill(spec, 1)["hires"]
    mean = {name: sum(filled[name]) / 4000 for name in ("uniform", "normal", "skewed")}
    assert 47 < mean["uniform"] < 53
    assert 47 < mean["normal"] < 53
    assert 17 < mean["skewed"] < 23, "the mean of a beta distribution (1, 4) is a fifth"
    outer = {name: sum(not 20 <= value <= 80 for value in filled[name]) for name in mean}
    assert outer["uniform"] > 5 * outer["normal"]
    assert 3450 < filled["kind_of"].count("a") < 3750
    fewest = sorted(filled["sailor_id"].count(sailor) for sailor in range(1, 31))
    assert fewest[-1] > 5 * fewest[0], "the reference to sailors is skewed"


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
@given(columns=columns(), checks=checks())
def test_every_accepted_spec_fills_without_breaking_a_constraint(
    columns: list[dict[str, Any]], checks: list[dict[str, Any]]
) -> None:
    try:
        spec = boat_hire(hires={"rows": 20, "columns": columns, "checks": checks})
    except ValidationError:
        return  # not of the typed form
    if problems(spec):
        spec = boat_hire(hires={"rows": 20, "columns": columns, "checks": []})
    assume(not problems(spec))
    for seed in (0, 1):
        with closing(load_with_sqlite3(spec, seed)) as connection:
            assert connection.execute("SELECT count(*) FROM hires").fetchone() == (20,)
