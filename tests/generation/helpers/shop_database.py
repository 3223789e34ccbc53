"""A small shop with every kind of table that matters to states, and tools on it."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from core.messages import ToolSpec
from generation.database.sql_tools import SqlTool
from generation.environments.base import Environment, ToolResult

SCHEMA = """
CREATE TABLE customers (customer_id INTEGER PRIMARY KEY, name TEXT NOT NULL, city TEXT, email TEXT UNIQUE);
CREATE TABLE products (sku TEXT PRIMARY KEY, price REAL NOT NULL CHECK (price > 0), photo BLOB);
CREATE TABLE orders (
    order_id INTEGER PRIMARY KEY, customer_id INTEGER NOT NULL REFERENCES customers ON DELETE CASCADE, day TEXT);
CREATE TABLE items (
    order_id INTEGER NOT NULL REFERENCES orders ON DELETE CASCADE, sku TEXT NOT NULL REFERENCES products,
    quantity INTEGER NOT NULL, PRIMARY KEY (order_id, sku)) WITHOUT ROWID;
CREATE TABLE visits (customer_id INTEGER, page TEXT);
INSERT INTO customers VALUES (1, 'Ada', 'Rome', 'ada@x.org'), (2, 'Bo', 'Oslo', 'bo@x.org'), (3, 'Cy', NULL, NULL);
INSERT INTO products VALUES ('pen', 1.5, x'00ff'), ('ink', 7.0, NULL), ('pad', 3.25, NULL);
INSERT INTO orders VALUES (10, 1, '2024-01-05'), (11, 2, '2024-02-01');
INSERT INTO items VALUES (10, 'pen', 2), (10, 'ink', 1), (11, 'pen', 5);
INSERT INTO visits VALUES (1, 'home'), (1, 'home'), (2, 'cart'), (3, NULL);
"""
TABLES = ("customers", "products", "orders", "items", "visits")
INTEGER, NUMBER, STRING = ({"type": kind} for kind in ("integer", "number", "string"))


def tool(name: str, sql: str, returns: dict[str, Any] | None = None, /, **parameters: dict[str, Any]) -> SqlTool:
    """An SQL tool; all parameters without a `default` in their schema are required."""
    required = [key for key, schema in parameters.items() if "default" not in schema]
    schema = {"type": "object", "properties": parameters, "required": required}
    return SqlTool(spec=ToolSpec(name=name, description=name, parameters=schema, returns=returns), sql=sql)


TOOLS = (
    tool(
        "create_customer",
        "INSERT INTO customers (name, city, email) VALUES (:name, :city, :email)",
        name=STRING,
        city=STRING,
        email=STRING,
    ),
    tool(
        "update_city",
        "UPDATE customers SET city = :city WHERE customer_id = :customer_id",
        city=STRING,
        customer_id=INTEGER,
    ),
    tool(
        "update_email",
        "UPDATE customers SET email = :email WHERE customer_id = :customer_id",
        email=STRING,
        customer_id=INTEGER,
    ),
    tool("delete_customer", "DELETE FROM customers WHERE customer_id = :customer_id", customer_id=INTEGER),
    tool("update_price", "UPDATE products SET price = :price WHERE sku = :sku", price=NUMBER, sku=STRING),
    tool("rename_product", "UPDATE products SET sku = :new WHERE sku = :sku", new=STRING, sku=STRING),
    tool(
        "create_product", "INSERT OR REPLACE INTO products (sku, price) VALUES (:sku, :price)", sku=STRING, price=NUMBER
    ),
    tool(
        "create_order",
        "INSERT INTO orders (customer_id, day) VALUES (:customer_id, :day)",
        customer_id=INTEGER,
        day=STRING,
    ),
    tool(
        "set_item",
        "INSERT INTO items VALUES (:order_id, :sku, :quantity) ON CONFLICT DO UPDATE SET quantity = :quantity",
        order_id=INTEGER,
        sku=STRING,
        quantity=INTEGER,
    ),
    tool("delete_items", "DELETE FROM items WHERE sku = :sku", sku=STRING),
    tool("create_visit", "INSERT INTO visits VALUES (:customer_id, :page)", customer_id=INTEGER, page=STRING),
    tool(
        "update_visits",
        "UPDATE visits SET page = :page WHERE customer_id = :customer_id",
        page=STRING,
        customer_id=INTEGER,
    ),
    tool("delete_visits", "DELETE FROM visits WHERE page = :page", page=STRING),
    tool("get_customer", "SELECT * FROM customers WHERE customer_id = :customer_id", customer_id=INTEGER),
    *(tool(f"list_{table}", f"SELECT * FROM {table}") for table in TABLES),
)


def build(path: Path, script: str = SCHEMA) -> Path:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(script)
    return path


def call(environment: Environment, name: str, /, **arguments: Any) -> ToolResult:
    return asyncio.run(environment.call(name, arguments))
