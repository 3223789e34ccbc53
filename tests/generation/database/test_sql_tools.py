"""Which tools are admitted, and why others are refused."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from generation.database.image import Image
from generation.database.sandbox import Limits
from generation.database.sql_tools import SqlTool, verify_tool
from tests.generation.helpers.shop_database import INTEGER, NUMBER, SCHEMA, STRING, TOOLS, build, tool
from tests.helpers.paths import SHARED_DATA

CHINOOK = SHARED_DATA / "chinook" / "chinook.sqlite"
SPIDER = SHARED_DATA / "spider" / "database"
OPTIONAL_STRING = {"type": ["string", "null"], "default": None}


def rows(**properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": {"type": "object", "properties": properties}}


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    return Image.read(build(tmp_path_factory.mktemp("shop") / "shop.sqlite"))


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
    ("more than 50 rows match", "SELECT 1 AS a FROM visits a, visits b, visits c", None, {}),
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
    assert "current_timestamp" in verify_tool(tool("a", "INSERT INTO notes (t) VALUES (:t)", t=STRING), image)[0]
    assert "random" in verify_tool(tool("b", "INSERT INTO drawn (t) VALUES (:t)", t=STRING), image)[0]
    assert verify_tool(tool("c", "INSERT INTO notes (t, made) VALUES (:t, :day)", t=STRING, day=STRING), image) == []


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


def test_samples_find_free_pairs_of_existing_keys(tmp_path: Path) -> None:
    """A link between two tables can be created only for a new pair of existing members."""
    script = "CREATE TABLE a (id INTEGER PRIMARY KEY); CREATE TABLE b (code TEXT PRIMARY KEY);"
    script += "CREATE TABLE ab (a INTEGER REFERENCES a, b TEXT REFERENCES b, PRIMARY KEY (a, b));"
    script += "INSERT INTO a VALUES (7), (8), (9); INSERT INTO b VALUES ('x'), ('y'), ('z');"
    script += "INSERT INTO ab VALUES (7, 'x'), (8, 'x'), (8, 'y'), (9, 'z');"
    image = Image.read(build(tmp_path / "ab.sqlite", script))
    link = tool("link", "INSERT INTO ab VALUES (:a, :b)", a=INTEGER, b=STRING)
    assert verify_tool(link, image) == []


REAL = {
    CHINOOK: [
        tool(
            "search_tracks",
            "SELECT t.TrackId AS track_id, t.Name AS name, ar.Name AS artist, t.UnitPrice AS unit_price "
            "FROM Track AS t "
            "JOIN Album AS al ON al.AlbumId = t.AlbumId JOIN Artist AS ar ON ar.ArtistId = al.ArtistId "
            "WHERE ar.Name = :artist AND t.UnitPrice <= :most ORDER BY t.Name LIMIT 20",
            rows(track_id=INTEGER, name=STRING, artist=STRING, unit_price=NUMBER),
            artist=STRING,
            most=NUMBER,
        ),
        tool(
            "add_to_playlist",
            "INSERT INTO PlaylistTrack VALUES (:playlist_id, :track_id)",
            playlist_id=INTEGER,
            track_id=INTEGER,
        ),
        tool("update_email", "UPDATE Customer SET Email = :email WHERE CustomerId = :id", email=STRING, id=INTEGER),
    ],
    SPIDER / "department_store" / "department_store.sqlite": [
        tool(
            "get_suppliers",
            "SELECT s.supplier_name, p.total_value_purchased FROM Suppliers AS s "
            "JOIN Product_Suppliers AS p USING (supplier_id) "
            "WHERE p.product_id = :product_id",
            rows(supplier_name=STRING, total_value_purchased=NUMBER),
            product_id=INTEGER,
        ),
        tool(
            "assign",
            "UPDATE Staff_Department_Assignments SET job_title_code = :job WHERE staff_id = :id",
            job=STRING,
            id=INTEGER,
        ),
    ],
    SPIDER / "customers_and_products_contacts" / "customers_and_products_contacts.sqlite": [
        tool(
            "create_order_item",
            "INSERT INTO Order_Items VALUES (:item, :order_id, :product_id, :quantity)",
            item=INTEGER,
            order_id=INTEGER,
            product_id=INTEGER,
            quantity=STRING,
        ),
        tool("delete_order_items", "DELETE FROM Order_Items WHERE order_id = :order_id", order_id=INTEGER),
    ],
}


@pytest.mark.parametrize("path", REAL, ids=lambda path: path.stem)
def test_on_real_databases(path: Path) -> None:
    if not path.is_file():
        pytest.skip(f"no ../shared/data with {path.name} here")
    image = Image.read(path)
    for candidate in REAL[path]:
        assert verify_tool(candidate, image) == []
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'")
        assert set(image.tables) == {name for (name,) in names}


def test_limits_apply(image: Image) -> None:
    everything = tool("all", "SELECT * FROM customers")
    assert verify_tool(everything, image, Limits(rows=3)) == []
    assert "more than 2 rows" in verify_tool(everything, image, Limits(rows=2))[0]
    assert SCHEMA.count("CREATE TABLE") == len(image.tables)
