"""Hostile SQL and hostile arguments: none gets through, and each gives an error that is recorded."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from shop import INTEGER, SCHEMA, TABLES, TOOLS, build, call, tool

from generation.environments.sql import SqlWorld
from generation.sqlite.guard import OutOfBoundsError, SqlError
from generation.sqlite.image import Image
from generation.sqlite.sandbox import Limits, Sandbox, Statement
from generation.sqlite.tools import ToolError, compile_tool, verify_tool

FORBIDDEN = [
    # more than one statement, or none
    "SELECT 1; DROP TABLE customers",
    "SELECT 1;; DELETE FROM customers",
    "SELECT 1; -- \n ATTACH 'x' AS y",
    "SELECT 1 /* ; */; VACUUM",
    "",
    " ; ",
    "-- nothing",
    # files
    "ATTACH DATABASE '{file}' AS other",
    "VACUUM INTO '{file}'",
    "SELECT writefile('{file}', 'x')",
    "SELECT readfile('/etc/passwd')",
    "SELECT load_extension('{file}')",
    "SELECT * FROM fsdir('/')",
    "SELECT edit('x')",
    # the connection and its settings
    "PRAGMA foreign_keys = OFF",
    "PRAGMA writable_schema = ON",
    "PRAGMA database_list",
    "SELECT * FROM pragma_database_list",
    "SELECT count(*) FROM pragma_table_info('customers')",
    "DETACH main",
    "BEGIN",
    "COMMIT",
    "ROLLBACK",
    "SAVEPOINT a",
    "RELEASE call",
    "END TRANSACTION",
    "VACUUM",
    "ANALYZE",
    "REINDEX",
    "EXPLAIN SELECT 1",
    "EXPLAIN QUERY PLAN SELECT 1",
    # the schema
    "CREATE TABLE t (a)",
    "CREATE TEMP TABLE t (a)",
    "CREATE TEMP TRIGGER t AFTER INSERT ON orders BEGIN SELECT 1; END",
    "CREATE VIEW v AS SELECT 1",
    "CREATE INDEX i ON customers (name)",
    "CREATE VIRTUAL TABLE t USING fts5(a)",
    "CREATE VIRTUAL TABLE t USING zipfile('{file}')",
    "ALTER TABLE customers ADD COLUMN a",
    "DROP TABLE customers",
    "SELECT sql FROM sqlite_master",
    "SELECT count(*) FROM sqlite_schema",
    "SELECT * FROM sqlite_temp_master",
    "SELECT (SELECT group_concat(sql, '') FROM main.sqlite_schema)",
    "UPDATE sqlite_master SET sql = '' WHERE name = :id",
    "DELETE FROM sqlite_sequence WHERE name = :id",
    "INSERT INTO sqlite_stat1 VALUES ('a', 'b', 'c')",
    # virtual tables
    "SELECT value FROM json_each('[1, 2]')",
    "SELECT count(*) FROM json_tree('[1]')",
    "SELECT * FROM dbstat",
    "SELECT * FROM generate_series(1, 10)",
    "SELECT 1 WHERE 1 IN carray(:id, 1)",
    # chance, time and the connection's memory
    "SELECT random()",
    "SELECT name FROM customers ORDER BY RANDOM()",
    "SELECT hex(randomblob(8))",
    "SELECT CURRENT_TIMESTAMP",
    "SELECT current_date",
    "INSERT INTO orders (customer_id, day) VALUES (1, CURRENT_TIME)",
    "SELECT last_insert_rowid()",
    "SELECT changes() + total_changes()",
    "SELECT sqlite_version(), sqlite_source_id()",
    "SELECT rowid FROM visits",
    "SELECT _rowid_, page FROM visits",
    "SELECT max(oid) FROM visits",
    # bombs
    "SELECT zeroblob(1000000000)",
    "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n",
    "WITH n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n",
    "SELECT " + "(" * 2_000 + "1" + ")" * 2_000,
    "SELECT " + "+".join(["1"] * 5_000),
    "SELECT 1 " + "UNION SELECT 1 " * 500,
    "SELECT '" + "x" * 30_000 + "'",
    # reading what is no column, as a string
    'SELECT "no_such_column" FROM customers',
    "SELECT password FROM customers",
    # characters that look like others, or that parsers see differently
    "SELECT 1\uff1b DROP TABLE customers",
    "\uff33ELECT 1",
    "SELECT 1\x00; DROP TABLE customers",
    "SELECT 'a\x00b'",
    "SELECT '\ud800'",
    "\ufeffPRAGMA user_version",
    "SELECT\u00a01",
    "SELECT 1 \u202e; ATTACH 'x' AS y",
    "/*! DROP TABLE customers */",
    "SELECT name FROM customers --\u2028; DELETE FROM customers",
    # writes to everything at once, and unnamed parameters
    "DELETE FROM customers",
    "DELETE FROM customers WHERE 1 = 1",
    "UPDATE customers SET city = 'x'",
    "SELECT * FROM customers WHERE customer_id = ?",
    "SELECT * FROM customers WHERE customer_id = ?1",
    "SELECT * FROM customers WHERE customer_id = @id",
    "SELECT * FROM customers WHERE customer_id = $id",
    "WITH gone AS (DELETE FROM customers RETURNING *) SELECT * FROM gone",
    "INSERT INTO visits VALUES (1, 'x') RETURNING *",
]
BOMBS = {
    "cross join": "SELECT count(*) FROM many a, many b, many c, many d WHERE a.n + b.n + c.n + d.n = :id",
    "cross join with sorting": "SELECT a.n FROM many a, many b, many c ORDER BY a.n * b.n * c.n, :id LIMIT 1",
    "write": "UPDATE many SET n = (SELECT sum(a.n * b.n * c.n) FROM many a, many b, many c) WHERE n > :id",
    "insert": "INSERT INTO many SELECT a.n + b.n + c.n + :id FROM many a, many b, many c",
    "memory": "SELECT printf('%.900000c', 'x') AS x FROM many a, many b WHERE a.n > :id ORDER BY x",
    "long text": "SELECT printf('%.5000000c', :id)",
    "grown text": "SELECT group_concat(printf('%.1000c', 'x')) FROM many a, many b WHERE a.n > :id",
    "doubled text": "SELECT replace(printf('%.2000c', 'x'), 'x', printf('%.2000c', :id))",
}
INJECTIONS = [
    "'; DROP TABLE customers; --",
    "' OR '1'='1",
    "x' UNION SELECT sql FROM sqlite_master --",
    '"; ATTACH DATABASE "/tmp/x" AS y; --',
    ":customer_id",
    "\\'; PRAGMA writable_schema=ON; --",
    "\u02bc OR 1=1",
    "a\x00'; DROP TABLE customers; --",
    "%' AND 1=1 --",
    "{customer_id}",
    "NULL",
    "\ufeff",
]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    many = f"CREATE TABLE many (n INTEGER); INSERT INTO many VALUES {', '.join(f'({n})' for n in range(400))};"
    return Image.read(build(tmp_path_factory.mktemp("shop") / "shop.sqlite", SCHEMA + many))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[SqlWorld]:
    world = SqlWorld("shop", build(tmp_path / "shop.sqlite"), TOOLS)
    yield world
    world.close()


@pytest.mark.parametrize("sql", FORBIDDEN)
def test_no_such_tool_is_admitted(image: Image, sql: str, tmp_path: Path) -> None:
    """Neither the verification nor the sandbox by itself lets the statement run; and nothing happened while they looked."""
    parameters = {"id": INTEGER} if ":id" in sql else {}
    file = tmp_path / "loot"
    hostile = tool("hostile", sql.replace("{file}", str(file)), **parameters)
    assert verify_tool(hostile, image)
    sandbox = Sandbox(image, Limits())
    with pytest.raises(ToolError):
        compile_tool(hostile, sandbox)
    assert sandbox.changeset == b""
    assert sandbox.query("PRAGMA foreign_keys") == [(1,)]
    assert sandbox.query("SELECT count(*) FROM customers") == [(3,)]
    assert not file.exists()
    sandbox.close()


NOT_OF_THE_SANDBOX = (
    "DELETE FROM customers",
    "UPDATE customers SET city",
    "RETURNING",
    "SELECT * FROM customers WHERE",
)


@pytest.mark.parametrize("sql", [sql for sql in FORBIDDEN if not any(part in sql for part in NOT_OF_THE_SANDBOX)])
def test_the_sandbox_refuses_even_what_a_fooled_parser_would_pass(image: Image, sql: str, tmp_path: Path) -> None:
    """SQLite itself judges, without sqlglot. An empty or a harmless remainder is all that may be left."""
    sandbox = Sandbox(image, Limits())
    with pytest.raises(SqlError):
        sandbox.prepare(sql.replace("{file}", str(tmp_path / "loot")))
    assert sandbox.query("SELECT count(*) FROM customers") == [(3,)]
    sandbox.close()


@pytest.mark.parametrize(
    "sql",
    [
        "PRAGMA foreign_keys = OFF",
        "ATTACH '{file}' AS other",
        "VACUUM INTO '{file}'",
        "DROP TABLE customers",
        "CREATE TABLE t (a)",
        "SELECT sql FROM sqlite_master",
        "DELETE FROM customers WHERE customer_id = 1",
        "UPDATE products SET price = 1",
        "SELECT random()",
        "COMMIT",
    ],
)
def test_a_forged_statement_cannot_do_more_than_its_actions(image: Image, sql: str, tmp_path: Path) -> None:
    sandbox = Sandbox(image, Limits())
    honest = sandbox.prepare("UPDATE customers SET city = 'x' WHERE customer_id = 1")
    text = sql.replace("{file}", str(tmp_path / "loot"))
    for reads in (True, False):
        with pytest.raises(SqlError):
            sandbox.run(Statement(text, reads, frozenset(), ("a",), honest.actions), {})
    assert sandbox.changes == ()
    assert not (tmp_path / "loot").exists()
    sandbox.close()


@pytest.mark.parametrize("sql", BOMBS.values(), ids=BOMBS.keys())
def test_bombs_are_stopped_and_undone(image: Image, sql: str) -> None:
    sandbox = Sandbox(image, Limits(seconds=0.2))
    sandbox.run(sandbox.prepare("UPDATE customers SET city = 'Bern' WHERE customer_id = 1"), {})
    before = sandbox.changes
    with pytest.raises(SqlError) as stopped:
        sandbox.run(sandbox.prepare(sql), {"id": 1})
    assert isinstance(stopped.value, OutOfBoundsError) or "too big" in str(stopped.value)
    assert sandbox.changes == before
    assert sandbox.query("SELECT city FROM customers WHERE customer_id = 1") == [("Bern",)]
    again = sandbox.changeset
    sandbox.reset(again)
    assert sandbox.changes == before
    sandbox.close()


def test_memory_is_bounded_whatever_the_time(image: Image) -> None:
    sandbox = Sandbox(image, Limits(seconds=3600))
    sorting = sandbox.prepare("SELECT printf('%.900000c', 'x') || n AS x FROM many ORDER BY x")  # of 360 MB
    with pytest.raises(OutOfBoundsError):
        sandbox.run(sorting, {})
    sandbox.close()


def test_bombs_are_no_tools(image: Image) -> None:
    bomb = tool("bomb", BOMBS["cross join"], id=INTEGER)
    (problem,) = verify_tool(bomb, image, Limits(seconds=0.2))
    assert problem.startswith("stopped: it takes more than 0.2 s")


@pytest.mark.parametrize("value", INJECTIONS)
def test_arguments_are_only_ever_values(world: SqlWorld, value: str) -> None:
    environment = world.open()
    untouched = {table: call(environment, f"list_{table}").value for table in TABLES}
    result = call(environment, "create_customer", name=value, city=value, email=value)
    assert result.value == {"rows_affected": 1, "customer_id": 4}
    assert call(environment, "get_customer", customer_id=4).value == [
        {"customer_id": 4, "name": value, "city": value, "email": value}
    ]
    assert call(environment, "delete_visits", page=value).value == {"rows_affected": 0}
    call(environment, "delete_customer", customer_id=4)
    assert {table: call(environment, f"list_{table}").value for table in TABLES} == untouched


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("get_customer", {"customer_id": 2**70}),
        ("get_customer", {"customer_id": [1, 2]}),
        ("get_customer", {"customer_id": {"$gt": 0}}),
        ("get_customer", {"customer_id": True}),
        ("get_customer", {"customer_id": None}),
        ("get_customer", {"customer_id": "1 OR 1=1"}),
        ("get_customer", {":customer_id": 1}),
        ("create_visit", {"customer_id": 1, "page": "\ud800"}),
        ("create_visit", {"customer_id": 1, "page": "x" * 2_000_000}),
        ("update_price", {"sku": "pen", "price": float("inf")}),
        ("sqlite_master", {}),
        ("", {}),
        ("get_customer; DROP TABLE customers", {"customer_id": 1}),
    ],
)
def test_hostile_arguments_are_recorded_errors(world: SqlWorld, name: str, arguments: dict[str, Any]) -> None:
    environment = world.open()
    result = call(environment, name, **arguments)
    assert result.error
    assert list(result.value) == ["error"]
    assert result.value["error"]
    assert environment.state_diff() == ()
    assert len(call(environment, "list_customers").value) == 3


def test_the_time_cannot_be_asked_through_arguments(image: Image) -> None:
    sandbox = Sandbox(image, Limits())
    statement = sandbox.prepare("SELECT strftime('%Y', :day) AS year")
    assert sandbox.run(statement, {"day": "2024-02-03"}) == [{"year": "2024"}]
    for day in ("now", "NOW"):
        with pytest.raises(SqlError, match="present date and time are not known"):
            sandbox.run(statement, {"day": day})
    sandbox.close()


def test_values_that_json_lacks(tmp_path: Path) -> None:
    script = "CREATE TABLE odd (id INTEGER PRIMARY KEY, b BLOB, r REAL); INSERT INTO odd VALUES (1, x'00ff10', 9e999);"
    tools = (
        tool("list_odd", "SELECT * FROM odd"),
        tool("spoil", "UPDATE odd SET b = CAST(b AS TEXT) WHERE id = :id", id=INTEGER),
        tool("long", "SELECT printf('%.*c', :id, 'x') AS x FROM odd", id=INTEGER),
    )
    world = SqlWorld("odd", build(tmp_path / "odd.sqlite", script), tools)
    environment = world.open()
    assert call(environment, "list_odd").content == '[{"id": 1, "b": "<3 bytes>", "r": null}]'
    assert "utf-8" in call(environment, "spoil", id=1).value["error"]
    assert environment.state_diff() == ()
    assert "too large" in call(environment, "long", id=200_000).value["error"]
    world.close()
