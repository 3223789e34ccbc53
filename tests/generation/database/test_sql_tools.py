"""Which tools are admitted, and why others are refused."""

from pathlib import Path
from typing import Any

import pytest

from generation.database.image import Image
from generation.database.sql_tools import SqlTool, verify_tool
from tests.generation.helpers.shop_database import INTEGER, NUMBER, STRING, TOOLS, build, tool
from tests.generation.helpers.sql_images import rows

OPTIONAL_STRING = {"type": ["string", "null"], "default": None}


GOOD = [
    *(t for t in TOOLS if t.spec.name != "rename_product"),
    tool(
        "search",
        "SELECT name, city FROM customers WHERE name LIKE '%' || :part || '%' AND (:city IS NULL OR city = :city);",
        rows(name=STRING, city={"type": ["string", "null"]}),
        part=STRING,
        city=OPTIONAL_STRING,
    ),
    tool(
        "totals",
        "WITH t AS (SELECT order_id, sum(quantity * price) AS total "
        "FROM items JOIN products USING (sku) GROUP BY order_id) "
        "SELECT c.name, round(t.total, 2) AS total, rank() OVER (ORDER BY t.total DESC) AS place FROM t "
        "JOIN orders AS o USING (order_id) JOIN customers AS c USING (customer_id) WHERE t.total >= :least LIMIT :n",
        rows(name=STRING, total=NUMBER, place=INTEGER),
        least=NUMBER,
        n=INTEGER,
    ),
    tool(
        "both",
        "SELECT name FROM customers UNION SELECT sku FROM products WHERE price < :most",
        rows(name=STRING),
        most=NUMBER,
    ),
    tool(
        "counted",
        "SELECT count(*) AS n FROM (SELECT city FROM customers UNION SELECT page FROM visits) AS u",
        rows(n=INTEGER),
    ),
    tool("counted_cte", "WITH t AS (SELECT 1 AS a UNION SELECT 2) SELECT count(*) AS n FROM t", rows(n=INTEGER)),
    tool(
        "between",
        "SELECT day FROM orders WHERE day BETWEEN :first AND :last",
        rows(day=STRING),
        first=STRING,
        last=STRING,
    ),
    tool("either", "SELECT name FROM customers WHERE customer_id IN (:a, :b)", a=INTEGER, b=INTEGER),
    tool(
        "year",
        "SELECT count(*) AS n FROM orders WHERE strftime('%Y', day) = :year",
        year={"type": "string", "pattern": "^2"},
    ),
    tool(
        "grade",
        "SELECT CASE WHEN price > :limit THEN 'dear' ELSE 'cheap' END AS grade FROM products",
        rows(grade={"enum": ["dear", "cheap"]}),
        limit={"type": "number", "minimum": 2},
    ),
    tool(
        "create_returning",
        "INSERT INTO customers (name, email) VALUES (:name, :email)",
        {
            "type": "object",
            "properties": {"rows_affected": INTEGER, "customer_id": INTEGER},
            "required": ["customer_id"],
        },
        name=STRING,
        email=STRING,
    ),
    tool(
        "copy",
        "INSERT INTO visits SELECT customer_id, :page FROM customers WHERE city = :city",
        page=STRING,
        city=STRING,
    ),
    tool("flag", "SELECT name FROM customers WHERE :known OR city IS NULL", known={"type": "boolean"}),
    tool("kind", "SELECT name FROM customers WHERE city = :city", city={"type": "string", "enum": ["Rome", "Paris"]}),
]


@pytest.mark.parametrize("good", GOOD, ids=lambda good: good.spec.name)
def test_valid_tools_are_admitted(image: Image, good: SqlTool) -> None:
    assert verify_tool(good, image) == []


BAD = [
    ("no such table: clients", "SELECT * FROM clients WHERE id = :id", None, {"id": INTEGER}),
    ("no such column: surname", "SELECT surname FROM customers WHERE customer_id = :id", None, {"id": INTEGER}),
    (
        "the placeholder :id is not declared as a parameter",
        "SELECT 1 AS a FROM customers WHERE customer_id = :id",
        None,
        {},
    ),
    ("the parameter city is declared but not used", "SELECT 1 AS a FROM customers", None, {"city": STRING}),
    (
        "only named placeholders like :customer_id",
        "SELECT 1 AS a FROM visits WHERE page = @page",
        None,
        {"page": STRING},
    ),
    ("SELECT, INSERT, UPDATE or DELETE is expected, but DROP is given", "DROP TABLE customers", None, {}),
    ("one statement is expected, but 2 are given", "SELECT 1; SELECT 2", None, {}),
    ("cannot be parsed", "SELECT FROM WHERE", None, {}),
    ("DELETE needs a WHERE in which parameters choose the rows", "DELETE FROM visits WHERE page = 'x'", None, {}),
    (
        "UPDATE needs a WHERE in which parameters choose the rows",
        "UPDATE visits SET page = :page",
        None,
        {"page": STRING},
    ),
    ("the function random may not be used", "SELECT name FROM customers ORDER BY random()", None, {}),
    (
        "recursive queries may not be used",
        "WITH RECURSIVE t AS (SELECT 1 AS a UNION SELECT a FROM t) SELECT a FROM t",
        None,
        {},
    ),
    ("the present date and time are not known", "SELECT date('now') AS today", None, {}),
    (
        "the function current_timestamp may not",
        "INSERT INTO visits VALUES (:id, CURRENT_TIMESTAMP)",
        None,
        {"id": INTEGER},
    ),
    ("parameter ids has type array", "SELECT name FROM customers WHERE name = :ids", None, {"ids": {"type": "array"}}),
    (
        "parameter id has type string, but customers.customer_id holds",
        "SELECT name FROM customers WHERE customer_id = :id",
        None,
        {"id": STRING},
    ),
    (
        "parameter page has type integer, but visits.page holds 'home'",
        "INSERT INTO visits (page) VALUES (:page)",
        None,
        {"page": INTEGER},
    ),
    (
        "a result does not fit `returns`: 0.price: 1.5 is not of type 'string'",
        "SELECT price FROM products",
        rows(price=STRING),
        {},
    ),
    ("a result does not fit `returns`: 2.city: None is not", "SELECT city FROM customers", rows(city=STRING), {}),
    ("`returns` declares cost, but the result has only price", "SELECT price FROM products", rows(cost=NUMBER), {}),
    ("`returns` does not declare sku", "SELECT sku, price FROM products", rows(price=NUMBER), {}),
    ("the result is an array, but `returns` has type object", "SELECT sku FROM products", {"type": "object"}, {}),
    (
        "the result is an object, but `returns` has type array",
        "DELETE FROM visits WHERE page = :page",
        rows(page=STRING),
        {"page": STRING},
    ),
    ("two columns of the result are both named name", "SELECT a.name, b.name FROM customers a, customers b", None, {}),
    (
        "NOT NULL constraint failed: customers.name",
        "INSERT INTO customers (city) VALUES (:city)",
        None,
        {"city": STRING},
    ),
    (
        "CHECK constraint failed: price > 0",
        "UPDATE products SET price = -price WHERE sku = :sku",
        None,
        {"sku": STRING},
    ),
    ("with {} it fails: NOT NULL", "INSERT INTO customers (name) VALUES (:name)", None, {"name": OPTIONAL_STRING}),
    ("more than 200 rows match", "SELECT 1 AS a FROM visits a, visits b, visits c, visits d", None, {}),
]


@pytest.mark.parametrize(("problem", "sql", "returns", "parameters"), BAD, ids=[case[0] for case in BAD])
def test_invalid_tools_are_refused_with_the_reason(
    image: Image, problem: str, sql: str, returns: dict[str, Any] | None, parameters: dict[str, Any]
) -> None:
    assert problem in "; ".join(verify_tool(tool("bad", sql, returns, **parameters), image))


def test_an_undeclared_requirement_is_a_problem(image: Image) -> None:
    good = tool("get", "SELECT name FROM customers WHERE customer_id = :id", id=INTEGER)
    spec = good.spec.model_copy(update={"parameters": {**good.spec.parameters, "required": ["id", "city"]}})
    assert verify_tool(SqlTool(spec=spec, sql=good.sql), image) == ["the parameter city is required but not declared"]


def test_nondeterministic_defaults_and_triggers_are_found(tmp_path: Path) -> None:
    script = """
        CREATE TABLE notes (id INTEGER PRIMARY KEY, t TEXT, made TEXT DEFAULT CURRENT_TIMESTAMP);
        CREATE TABLE log (t TEXT);
        CREATE TABLE drawn (id INTEGER PRIMARY KEY, t TEXT);
        CREATE TRIGGER draw AFTER INSERT ON drawn BEGIN INSERT INTO log VALUES (random()); END;
    """
    image = Image.read(build(tmp_path / "notes.sqlite", script))
    undated = verify_tool(tool("a", "INSERT INTO notes (t) VALUES (:t)", t=STRING), image)
    assert "the present date and time are not known here" in undated[0]
    assert "random" in verify_tool(tool("b", "INSERT INTO drawn (t) VALUES (:t)", t=STRING), image)[0]
    assert verify_tool(tool("c", "INSERT INTO notes (t, made) VALUES (:t, :day)", t=STRING, day=STRING), image) == []


def test_a_table_with_the_time_as_a_default_can_be_read_and_written(tmp_path: Path) -> None:
    script = """
        CREATE TABLE notes (id INTEGER PRIMARY KEY, t TEXT, made TEXT DEFAULT CURRENT_TIMESTAMP);
        INSERT INTO notes VALUES (1, 'a', '2025-01-01'), (2, 'b', '2025-01-02');
        CREATE VIEW today AS SELECT id, CURRENT_DATE AS day FROM notes;
    """
    image = Image.read(build(tmp_path / "notes.sqlite", script))
    assert image.left_out == ("view today: the function current_date may not be used",)
    for sql in ("SELECT * FROM notes WHERE id = :id", "UPDATE notes SET t = 'c' WHERE id = :id"):
        assert verify_tool(tool("a", sql, id=INTEGER), image) == []


def test_verification_changes_nothing_and_is_repeatable(tmp_path: Path) -> None:
    path = build(tmp_path / "shop.sqlite")
    before = path.read_bytes()
    image = Image.read(path)
    failing = tool(
        "bad",
        "INSERT INTO orders (customer_id, day) VALUES (:customer_id, NULL || :day)",
        customer_id=INTEGER,
        day=STRING,
    )
    for candidate in (*TOOLS, failing):
        assert verify_tool(candidate, image) == verify_tool(candidate, image)
    assert path.read_bytes() == before
    assert sorted(tmp_path.iterdir()) == [path]
