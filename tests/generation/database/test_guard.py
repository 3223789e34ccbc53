"""Hostile SQL and arguments: all are refused, each with a recorded error."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from generation.database.guard import OutOfBoundsError, SqlError
from generation.database.image import Image
from generation.database.sandbox import Limits, Sandbox, Statement
from generation.database.sql_tools import ToolError, compile_tool, verify_tool
from generation.environments.sql import SqlDomainEnvironment
from tests.generation.helpers.hostile_sql import BOMBS, FAILING, FORBIDDEN, INJECTIONS
from tests.generation.helpers.shop_database import INTEGER, SCHEMA, TABLES, TOOLS, build, call, tool


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    many = f"CREATE TABLE many (n INTEGER); INSERT INTO many VALUES {', '.join(f'({n})' for n in range(400))};"
    return Image.read(build(tmp_path_factory.mktemp("shop") / "shop.sqlite", SCHEMA + many))


@pytest.fixture
def domain_environment(tmp_path: Path) -> Iterator[SqlDomainEnvironment]:
    domain_environment = SqlDomainEnvironment("shop", build(tmp_path / "shop.sqlite"), TOOLS)
    yield domain_environment
    domain_environment.close()


@pytest.mark.parametrize("sql", FORBIDDEN)
def test_no_such_tool_is_admitted(image: Image, sql: str, tmp_path: Path) -> None:
    """Neither verification nor the sandbox alone lets the statement run, and checking it has no effect."""
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


# Harmless to everything but the data of the copy: the parser refuses them.
NOT_OF_THE_SANDBOX = (
    "DELETE FROM customers",
    "UPDATE customers SET city",
    "UPDATE OR ROLLBACK",
    "REPLACE INTO",
    "VALUES",
    "RETURNING",
    "SELECT * FROM customers WHERE",
)


@pytest.mark.parametrize("sql", [sql for sql in FORBIDDEN if not any(part in sql for part in NOT_OF_THE_SANDBOX)])
def test_the_sandbox_refuses_what_a_fooled_parser_would_pass(image: Image, sql: str, tmp_path: Path) -> None:
    """SQLite judges without sqlglot; only an empty or harmless remainder may be left."""
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


@pytest.mark.parametrize("sql", FAILING)
def test_sql_that_cannot_run_is_not_admitted(image: Image, sql: str) -> None:
    assert verify_tool(tool("hostile", sql), image)
    sandbox = Sandbox(image, Limits())
    with pytest.raises(SqlError):
        sandbox.run(sandbox.prepare(sql), {})
    sandbox.close()


def test_memory_is_bounded_regardless_of_time(image: Image) -> None:
    sandbox = Sandbox(image, Limits(seconds=3600))
    sorting = sandbox.prepare("SELECT printf('%.900000c', 'x') || n AS x FROM many ORDER BY x")  # of 360 MB
    with pytest.raises(OutOfBoundsError):
        sandbox.run(sorting, {})
    sandbox.close()


def test_bombs_are_not_admitted(image: Image) -> None:
    bomb = tool("bomb", BOMBS["cross join"], id=INTEGER)
    (problem,) = verify_tool(bomb, image, Limits(seconds=0.2))
    assert problem.startswith("stopped: it takes more than 0.2 s")


@pytest.mark.parametrize("value", INJECTIONS)
def test_arguments_are_only_ever_values(domain_environment: SqlDomainEnvironment, value: str) -> None:
    environment = domain_environment.open()
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
def test_hostile_arguments_are_recorded_errors(
    domain_environment: SqlDomainEnvironment, name: str, arguments: dict[str, Any]
) -> None:
    environment = domain_environment.open()
    result = call(environment, name, **arguments)
    assert result.error
    assert list(result.value) == ["error"]
    assert result.value["error"]
    assert environment.state_diff() == ()
    assert len(call(environment, "list_customers").value) == 3


def test_arguments_cannot_reveal_the_time(image: Image) -> None:
    sandbox = Sandbox(image, Limits())
    statement = sandbox.prepare("SELECT strftime('%Y', :day) AS year")
    assert sandbox.run(statement, {"day": "2024-02-03"}) == [{"year": "2024"}]
    for day in ("now", "NOW"):
        with pytest.raises(SqlError, match="present date and time are not known"):
            sandbox.run(statement, {"day": day})
    shifted = sandbox.prepare("SELECT datetime('2024-07-01 12:00', :zone) AS there")
    assert sandbox.run(shifted, {"zone": "+2 hours"}) == [{"there": "2024-07-01 14:00:00"}]
    for zone in ("localtime", "UTC", "localtime\0", "utc\0 or not"):
        with pytest.raises(SqlError, match="time zone is not known"):
            sandbox.run(shifted, {"zone": zone})
    sandbox.close()


def test_date_functions_match_sqlite_also_inside_a_schema(tmp_path: Path) -> None:
    """Functions without a clock return what SQLite returns, and schemas that check or generate with them still work."""
    script = """CREATE TABLE days (day TEXT CHECK (date(day) IS NOT NULL),
            month TEXT AS (strftime('%Y-%m', day)) STORED);
        CREATE INDEX by_month ON days (date(day, 'start of month')); INSERT INTO days VALUES ('2024-02-03');"""
    sandbox = Sandbox(Image.read(build(tmp_path / "days.sqlite", script)), Limits())
    sandbox.run(sandbox.prepare("INSERT INTO days VALUES (:day)"), {"day": "2024-12-31"})
    with pytest.raises(SqlError, match="CHECK"):
        sandbox.run(sandbox.prepare("INSERT INTO days VALUES (:day)"), {"day": "31.12.2024"})
    calls = (
        "date(day, '+1 month', 'weekday 0'), julianday(day), unixepoch(day, 'subsec'), timediff('2025-01-01', day), "
        "strftime('%j %w', day), time(day, '+90 minutes'), datetime(1704067200, 'auto'), date(NULL), "
        "date(day, 'nonsense')"
    )
    ours = sandbox.query(f"SELECT month, {calls} FROM days")
    plain = apsw.Connection(":memory:")
    plain.execute("CREATE TABLE days (day); INSERT INTO days VALUES ('2024-02-03'), ('2024-12-31')")
    assert ours == plain.execute(f"SELECT strftime('%Y-%m', day), {calls} FROM days").fetchall()
    sandbox.close()


def test_values_that_json_lacks(tmp_path: Path) -> None:
    script = "CREATE TABLE odd (id INTEGER PRIMARY KEY, b BLOB, r REAL); INSERT INTO odd VALUES (1, x'00ff10', 9e999);"
    tools = (
        tool("list_odd", "SELECT * FROM odd"),
        tool("spoil", "UPDATE odd SET b = CAST(b AS TEXT) WHERE id = :id", id=INTEGER),
        tool("long", "SELECT printf('%.*c', :id, 'x') AS x FROM odd", id=INTEGER),
    )
    domain_environment = SqlDomainEnvironment("odd", build(tmp_path / "odd.sqlite", script), tools)
    environment = domain_environment.open()
    assert call(environment, "list_odd").content == '[{"id": 1, "b": "<3 bytes>", "r": null}]'
    assert "utf-8" in call(environment, "spoil", id=1).value["error"]
    assert environment.state_diff() == ()
    assert "too large" in call(environment, "long", id=200_000).value["error"]
    domain_environment.close()
