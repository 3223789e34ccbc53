"""Every source of seeds: SQLite itself checks the bundled databases, real files the loaders."""

import json
import sqlite3
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from core.settings import UserError
from generation.database.schema import read_schema
from generation.seeds.base import Seed
from generation.seeds.bundled import HELD_OUT, TRAINING, BundledSeeds
from generation.seeds.spider import SpiderSeeds
from generation.seeds.sqlite import SqliteSeeds
from tests.helpers.paths import SHARED_DATA

ALL = sorted((*TRAINING, *HELD_OUT))
needs_spider = pytest.mark.skipif(not (SHARED_DATA / "spider").is_dir(), reason="../shared/data/spider is missing")
needs_chinook = pytest.mark.skipif(not (SHARED_DATA / "chinook").is_dir(), reason="../shared/data/chinook is missing")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("seeds")


@pytest.fixture(scope="module")
def bundled(cache: Path) -> dict[str, Seed]:
    seeds = (*BundledSeeds(cache).load(), *BundledSeeds(cache, held_out=True).load())
    return {seed.name: seed for seed in seeds}


def dump(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return list(connection.iterdump())


def column_values(path: Path, table: str, column: str) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return [value for (value,) in connection.execute(f"SELECT {column} FROM {table}")]


def test_ten_training_databases_and_three_held_out(bundled: dict[str, Seed]) -> None:
    assert (len(TRAINING), len(HELD_OUT)) == (10, 3)
    assert {name for name, seed in bundled.items() if seed.held_out} == set(HELD_OUT)


@pytest.mark.parametrize("name", ALL)
def test_a_bundled_database_is_sound(bundled: dict[str, Seed], name: str) -> None:
    with closing(sqlite3.connect(bundled[name].database)) as connection:
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    schema = read_schema(bundled[name].database, name)
    assert 3 <= len(schema.tables) <= 8
    assert 200 <= sum(table.rows for table in schema.tables) <= 600
    assert all([c.primary_key for c in table.columns].count(True) == 1 for table in schema.tables)
    assert sum(len(table.foreign_keys) for table in schema.tables) >= 2
    assert "CHECK" in schema.ddl


@pytest.mark.parametrize("name", ALL)
def test_foreign_keys_are_named_after_what_they_point_to(bundled: dict[str, Seed], name: str) -> None:
    for table in read_schema(bundled[name].database, name).tables:
        for key in table.foreign_keys:
            assert key.columns == key.parent_columns
            assert key.columns[0].endswith("_id")


@pytest.mark.parametrize("name", ALL)
def test_bundled_texts_are_short_and_names_find_one_row(bundled: dict[str, Seed], name: str) -> None:
    path = bundled[name].database
    for table in read_schema(path, name).tables:
        name_column = next((c.name for c in table.columns[1:2] if c.name.endswith(("_name", "title"))), None)
        for column in table.columns:
            if column.kind == "string":
                values = [value for value in column_values(path, table.name, column.name) if value is not None]
                assert all(0 < len(value) <= 60 for value in values)
                assert column.name != name_column or len(set(values)) == table.rows


def test_two_builds_have_the_same_rows(bundled: dict[str, Seed], tmp_path: Path) -> None:
    again = (*BundledSeeds(tmp_path).load(), *BundledSeeds(tmp_path, held_out=True).load())
    for seed in again:
        assert seed.database != bundled[seed.name].database
        assert dump(seed.database) == dump(bundled[seed.name].database)


def test_an_existing_database_is_reused(tmp_path: Path) -> None:
    (first,) = BundledSeeds(tmp_path, ["library"]).load()
    written = first.database.stat().st_mtime_ns
    (second,) = BundledSeeds(tmp_path, ["library"]).load()
    assert second == first
    assert second.database.stat().st_mtime_ns == written
    assert list(tmp_path.iterdir()) == [first.database]


def _load(cache: Path) -> list[str]:
    return [path for seed in BundledSeeds(cache).load() for path in dump(seed.database)]


@pytest.mark.slow
def test_processes_may_build_at_once(tmp_path: Path) -> None:
    with ProcessPoolExecutor(3) as pool:
        first, *others = pool.map(_load, [tmp_path] * 3)
    assert all(other == first for other in others)
    assert len(list(tmp_path.iterdir())) == len(TRAINING)


def test_bundled_domains_can_be_chosen(tmp_path: Path) -> None:
    assert [seed.name for seed in BundledSeeds(tmp_path, ["museum", "gym"]).load()] == ["gym", "museum"]


@pytest.mark.parametrize(
    ("names", "held_out", "message"),
    [
        (["freight", "gym"], False, "freight: held out for evaluation"),
        (["gym"], True, "gym: not held out"),
        (["libary"], False, "did you mean 'library'"),
        (["zzz"], True, "known: film_festival, freight, repair_shop"),
        ("gym", False, r"a list is expected: names=\[gym\]"),
        (7, False, r"names=7 was given, but a list is expected"),
        ([7], False, "7 is not a known database"),
        ([], False, r"names=\[\] was given; expected: at least one name, or null"),
    ],
)
def test_a_wrong_choice_of_names_is_refused(tmp_path: Path, names: list[str], held_out: bool, message: str) -> None:
    with pytest.raises(UserError, match=message):
        BundledSeeds(tmp_path, names, held_out).load()
    assert list(tmp_path.iterdir()) == []


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(UserError, match=f"cache={blocked}"):
        BundledSeeds(blocked / "seeds", ["gym"]).load()


@needs_spider
def test_spider_loads_the_databases_that_exist() -> None:
    seeds = SpiderSeeds(SHARED_DATA / "spider").load()
    assert [seed.name for seed in seeds] == ["customers_and_products_contacts", "department_store"]
    assert [(seed.title, seed.description) for seed in seeds] == [
        ("customers and products contacts", ""),
        ("department store", ""),
    ]
    assert len(read_schema(seeds[1].database, seeds[1].name).tables) == 14
    assert SpiderSeeds(SHARED_DATA / "spider", ["department_store"]).load() == seeds[1:]


@needs_spider
def test_spiders_missing_file_and_unknown_name() -> None:
    with pytest.raises(UserError, match=r"perpetrator\.sqlite was given, but there is no such file"):
        SpiderSeeds(SHARED_DATA / "spider", ["perpetrator"]).load()
    with pytest.raises(UserError, match="did you mean 'department_store'"):
        SpiderSeeds(SHARED_DATA / "spider", ["departement_store"]).load()


def test_a_folder_of_another_layout(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there is no .*tables\.json"):
        SpiderSeeds(tmp_path).load()
    (tmp_path / "tables.json").write_text('{"db_id": "x"}')
    with pytest.raises(UserError, match="not Spider's list"):
        SpiderSeeds(tmp_path).load()
    (tmp_path / "tables.json").write_text(json.dumps([{"db_id": "x", "table_names": ["y"]}]))
    with pytest.raises(UserError, match="has no database"):
        SpiderSeeds(tmp_path).load()


@needs_chinook
def test_any_sqlite_file_by_path() -> None:
    (seed,) = SqliteSeeds([SHARED_DATA / "chinook" / "chinook.sqlite"], licence="MIT").load()
    assert (seed.name, seed.licence) == ("chinook", "MIT")
    assert (seed.title, seed.description) == ("chinook", "")


def test_a_file_that_is_not_a_database_is_refused(tmp_path: Path) -> None:
    text, empty = tmp_path / "text.sqlite", tmp_path / "empty.sqlite"
    text.write_text("plain text, longer than the header of a database file " * 3)
    empty.touch()
    with pytest.raises(UserError, match=r"text\.sqlite was given, but it is not an SQLite database"):
        SqliteSeeds([text]).load()
    with pytest.raises(UserError, match="has no tables"):
        SqliteSeeds([empty]).load()
    with pytest.raises(UserError, match="there is no such file"):
        SqliteSeeds([tmp_path / "absent.sqlite"]).load()
    for wrong in (str(text), [], None):
        with pytest.raises(UserError, match=r"a list of files is expected: paths=\["):
            SqliteSeeds(wrong).load()


def test_two_files_of_one_name_are_refused(bundled: dict[str, Seed], tmp_path: Path) -> None:
    path = bundled["gym"].database
    twin = tmp_path / path.name
    twin.write_bytes(path.read_bytes())
    with pytest.raises(UserError, match="would both be named"):
        SqliteSeeds([path, twin]).load()
