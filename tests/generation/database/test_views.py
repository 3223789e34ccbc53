"""Views of databases: real rows that belong together, up to a limit, the same for the same seed."""

import sqlite3
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

import pytest

from generation.database.schema import DatabaseSchema, read_schema
from generation.database.views import related_rows, sample_rows
from generation.seeds.bundled import BundledSeeds
from tests.helpers.paths import SHARED_DATA

REAL = [
    SHARED_DATA / "chinook" / "chinook.sqlite",
    *(
        SHARED_DATA / "spider" / "database" / name / f"{name}.sqlite"
        for name in ("department_store", "customers_and_products_contacts")
    ),
]


def build(path: Path, script: str) -> Path:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(script)
    return path


def test_sampled_rows_are_stored_rows_and_depend_on_the_seed_alone(tmp_path: Path) -> None:
    path = build(
        tmp_path / "many.sqlite",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, square INTEGER); CREATE TABLE few (id INTEGER PRIMARY KEY);"
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200)"
        " INSERT INTO t SELECT i, i * i FROM n;"
        "INSERT INTO few VALUES (3);",
    )
    schema = read_schema(path, "many")
    view = sample_rows(path, schema, 5, seed=1)
    assert view == sample_rows(path, schema, 5, seed=1)
    assert view != sample_rows(path, schema, 5, seed=2)
    assert len({row["id"] for row in view["t"]}) == 5
    assert all(row["square"] == row["id"] ** 2 for row in view["t"])
    assert view["few"] == [{"id": 3}]


def test_a_data_view_has_only_json_values(tmp_path: Path) -> None:
    path = build(
        tmp_path / "bytes.sqlite",
        "CREATE TABLE t (photo BLOB, latin1 TEXT); INSERT INTO t VALUES (x'0102', CAST(x'4dfc' AS TEXT));",
    )
    assert sample_rows(path, read_schema(path, "bytes"), 1, seed=0) == {
        "t": [{"photo": "<2 bytes>", "latin1": "M\ufffd"}]
    }


def dangling(schema: DatabaseSchema, view: dict[str, list[dict[str, Any]]]) -> list[str]:
    """The foreign keys of the view that find no row in it."""
    return [
        f"{table.name}.{key.columns} {values} -> {key.parent}"
        for table in schema.tables
        for key in table.foreign_keys
        for row in view[table.name]
        if None not in (values := [row[name] for name in key.columns])
        and not any([parent[name] for name in key.parent_columns] == values for parent in view[key.parent])
    ]


def check(path: Path, name: str) -> None:
    schema = read_schema(path, name)
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        stored = {t.name: [dict(row) for row in connection.execute(f'SELECT * FROM "{t.name}"')] for t in schema.tables}
    pool = sample_rows(path, schema, 40, seed=1)
    for view, limit in [(pool, 40)] + [(related_rows(schema, pool, 4, Random(i)), 4) for i in range(10)]:
        assert dangling(schema, view) == []
        for table in schema.tables:
            rows = view[table.name]
            assert all(row in stored[table.name] for row in rows)
            assert min(1, len(stored[table.name])) <= len(rows) <= limit, table.name
            assert all(rows.count(row) == 1 for row in rows)
    assert related_rows(schema, pool, 4, Random(1)) == related_rows(schema, pool, 4, Random(1))
    assert related_rows(schema, pool, 4, Random(1)) != related_rows(schema, pool, 4, Random(2))


def test_rows_of_the_bundled_databases_belong_together(tmp_path: Path) -> None:
    for seed in BundledSeeds(tmp_path).load():
        assert seed.database
        check(seed.database, seed.name)


@pytest.mark.parametrize("path", REAL, ids=lambda path: path.stem)
def test_rows_of_real_databases_belong_together(path: Path) -> None:
    if not path.is_file():
        pytest.skip(f"no {path} here")
    check(path, path.stem)


COMPANY = """
CREATE TABLE person (id INTEGER PRIMARY KEY, boss INTEGER REFERENCES person, flat INTEGER REFERENCES flat);
CREATE TABLE flat (no INTEGER PRIMARY KEY, owner INTEGER REFERENCES person);
CREATE TABLE seat (row TEXT, number INTEGER, PRIMARY KEY (row, number));
CREATE TABLE ticket (id INTEGER PRIMARY KEY, row TEXT, number INTEGER, FOREIGN KEY (row, number) REFERENCES seat);
CREATE TABLE lost (id INTEGER REFERENCES seat (number));
INSERT INTO person VALUES (1, NULL, 10), (2, 1, NULL), (3, 2, NULL), (4, 3, 11), (5, 5, NULL);
INSERT INTO flat VALUES (10, 1), (11, 4), (12, NULL);
INSERT INTO seat VALUES ('a', 1), ('a', 2), ('b', 1), ('b', 2), ('c', 9);
INSERT INTO ticket VALUES (1, 'a', 2), (2, 'b', NULL), (3, 'b', 1);
INSERT INTO lost VALUES (77);
"""


@pytest.mark.parametrize("limit", [2, 3, 5])
def test_circles_chains_and_keys_of_two_columns_are_followed(limit: int, tmp_path: Path) -> None:
    path = build(tmp_path / "company.sqlite", COMPANY)
    schema = read_schema(path, "company")
    for seed in range(20):
        view = sample_rows(path, schema, limit, seed)
        assert [line.split(".")[0] for line in dangling(schema, view)] == ["lost"], "its row exists nowhere"
        assert all(1 <= len(rows) <= limit for rows in view.values())
    assert len(sample_rows(path, schema, 5, 0)["person"]) == 5
