"""Schemas, compared with what SQLite reports about the same files."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from core.settings import UserError
from generation.database.schema import ForeignKey, Table, read_schema
from generation.database.views import sample_rows
from tests.helpers.paths import SHARED_DATA

CHINOOK = SHARED_DATA / "chinook" / "chinook.sqlite"
SPIDER = SHARED_DATA / "spider" / "database" / "department_store" / "department_store.sqlite"


def build(path: Path, script: str) -> Path:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(script)
    return path


def kinds(path: Path) -> dict[str, str]:
    (table,) = read_schema(path, "one").tables
    return {column.name: column.kind for column in table.columns}


def test_kinds_of_an_empty_table_follow_affinity(tmp_path: Path) -> None:
    path = build(
        tmp_path / "empty.sqlite",
        "CREATE TABLE t (a INTEGER, b BIGINT, c VARCHAR(9), d TEXT, e REAL, f DOUBLE, g DECIMAL(9, 2), h NUMERIC,"
        " i DATE, j DATETIME, k BOOLEAN, l BLOB, m)",
    )
    assert "".join(kind[0] for kind in kinds(path).values()) == "iissnnnnssiss"


def test_stored_values_correct_the_declared_type(tmp_path: Path) -> None:
    path = build(
        tmp_path / "odd.sqlite",
        "CREATE TABLE t (text_of_digits TEXT, words_in_integer INTEGER, half_in_integer INTEGER, whole_numeric NUMERIC,"
        " whole_price DECIMAL(9, 2), whole_real REAL, untyped_digits, truth BOOLEAN, void INTEGER);"
        "INSERT INTO t VALUES (1, 'one', 1, 7, 3, 4, 5, 1, NULL), ('2', 2, 2.5, 8, 5, 6, 6, 0, NULL);",
    )
    assert kinds(path) == {
        "text_of_digits": "string",
        "words_in_integer": "string",
        "half_in_integer": "number",
        "whole_numeric": "integer",
        "whole_price": "number",
        "whole_real": "number",
        "untyped_digits": "integer",
        "truth": "integer",
        "void": "integer",
    }


def test_keys_nullability_and_rows(tmp_path: Path) -> None:
    path = build(
        tmp_path / "keys.sqlite",
        "CREATE TABLE Club (Club_ID INTEGER PRIMARY KEY, Name TEXT NOT NULL);"
        "CREATE TABLE member (club_id INTEGER REFERENCES club (CLUB_ID), nick TEXT, "
        "left_for INTEGER REFERENCES gone (id),"
        " PRIMARY KEY (club_id, nick));"
        "CREATE VIEW names AS SELECT Name FROM Club;"
        "INSERT INTO Club VALUES (1, 'Chess');",
    )
    schema = read_schema(path, "keys")
    assert [table.name for table in schema.tables] == ["Club", "member", "names"]
    club, member, _ = schema.tables
    assert [(c.name, c.nullable, c.primary_key) for c in club.columns] == [
        ("Club_ID", False, True),
        ("Name", False, False),
    ]
    assert [(c.nullable, c.primary_key) for c in member.columns] == [(False, True), (False, True), (True, False)]
    assert member.foreign_keys == (ForeignKey(columns=("club_id",), parent="Club", parent_columns=("Club_ID",)),)
    assert (club.rows, member.rows) == (1, 0)


def test_flags_are_told_from_counts(tmp_path: Path) -> None:
    path = build(
        tmp_path / "flags.sqlite",
        "CREATE TABLE t (flag_id INTEGER PRIMARY KEY, truth BOOLEAN, active INTEGER, copies_left INTEGER,"
        " only_ones INTEGER, goals INTEGER, price REAL, word TEXT, shared INTEGER);"
        "CREATE TABLE u (shared INTEGER, late BOOLEAN);"
        "INSERT INTO t VALUES (0, 1, 0, 0, 1, 0, 0.0, '0', 0), (1, 1, 1, 1, 1, 2, 1.0, '1', 1);"
        "INSERT INTO u VALUES (5, NULL), (7, NULL);",
    )
    schema = read_schema(path, "flags")
    flags = {f"{table.name}.{column.name}" for table in schema.tables for column in table.columns if column.flag}
    assert flags == {"t.truth", "t.active", "t.shared", "u.late"}
    assert schema.flags == {"truth", "active", "late"}


def test_a_foreign_key_without_columns_means_the_parents_primary_key(tmp_path: Path) -> None:
    path = build(
        tmp_path / "implicit.sqlite",
        "CREATE TABLE Boats (hull INTEGER PRIMARY KEY); CREATE TABLE Berths (pier TEXT, n INTEGER, PRIMARY KEY (pier, n));"
        "CREATE TABLE loose (x INTEGER);"
        "CREATE TABLE trips (trip INTEGER PRIMARY KEY, boat INTEGER REFERENCES boats, PIER TEXT, n INTEGER,"
        "  FOREIGN KEY (pier, N) REFERENCES BERTHS);"
        "CREATE TABLE crew (boat INTEGER REFERENCES Boats, loose INTEGER REFERENCES loose, berth INTEGER REFERENCES Berths,"
        "  gone INTEGER REFERENCES gone, trip INTEGER REFERENCES Trips, boss INTEGER REFERENCES CREW);"
        "INSERT INTO Boats VALUES (7), (8); INSERT INTO trips VALUES (1, 8, NULL, NULL);",
    )
    schema = read_schema(path, "implicit")
    found = {
        (table.name, key.columns, key.parent, key.parent_columns)
        for table in schema.tables
        for key in table.foreign_keys
    }
    assert found == {
        ("trips", ("boat",), "Boats", ("hull",)),
        ("trips", ("PIER", "n"), "Berths", ("pier", "n")),
        ("crew", ("boat",), "Boats", ("hull",)),
        ("crew", ("trip",), "trips", ("trip",)),
    }
    assert sample_rows(path, schema, 5, seed=0)["trips"] == [{"trip": 1, "boat": 8, "PIER": None, "n": None}]


def test_ddl_builds_the_same_schema_again(tmp_path: Path) -> None:
    path = build(
        tmp_path / "first.sqlite",
        'CREATE TABLE "odd name" ("two words" INTEGER PRIMARY KEY AUTOINCREMENT, '
        '"select" TEXT CHECK ("select" <> \';\'));',
    )
    schema = read_schema(path, "again")
    again = build(tmp_path / "second.sqlite", schema.ddl)
    assert read_schema(again, "again") == schema


def test_a_file_that_is_not_a_database_is_named(tmp_path: Path) -> None:
    text = tmp_path / "notes.sqlite"
    text.write_text("these are notes, and more of them than a header of a database is long. " * 3)
    for path in (text, tmp_path / "absent.sqlite"):
        with pytest.raises(UserError, match=path.name):
            read_schema(path, "x")
    with pytest.raises(UserError, match="it is not an SQLite database"):
        read_schema(text, "x")
    assert not (tmp_path / "absent.sqlite").exists()


def column_kinds(table: Table) -> dict[str, str]:
    return {column.name: column.kind for column in table.columns}


@pytest.mark.skipif(not CHINOOK.is_file(), reason="no ../shared/data/chinook here")
def test_chinook() -> None:
    tables = {table.name: table for table in read_schema(CHINOOK, "chinook").tables}
    assert (len(tables), sum(table.rows for table in tables.values())) == (11, 15_607)
    assert column_kinds(tables["InvoiceLine"])["UnitPrice"] == "number"
    assert column_kinds(tables["Invoice"])["InvoiceDate"] == "string"
    assert {key.parent for key in tables["Track"].foreign_keys} == {"Album", "Genre", "MediaType"}


@pytest.mark.skipif(not SPIDER.is_file(), reason="no ../shared/data/spider here")
def test_spider_stores_numbers_in_text_columns() -> None:
    tables = {table.name: table for table in read_schema(SPIDER, "department_store").tables}
    supplied = column_kinds(tables["Product_Suppliers"])
    assert supplied["total_amount_purchased"] == "string"
    assert supplied["total_value_purchased"] == "number"
