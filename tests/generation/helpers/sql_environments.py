"""SQL environments of the shop, and the same statements on plain SQLite."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing, suppress
from typing import Any

from hypothesis import strategies as st

from generation.environments.sql import SqlEnvironment
from tests.generation.helpers.shop_database import SCHEMA, TABLES, TOOLS, call

Step = tuple[str, dict[str, Any]]


Dump = dict[str, list[str]]


customers, orders = st.integers(1, 5), st.integers(10, 13)


skus, words = st.sampled_from(["pen", "ink", "pad", "cup"]), st.sampled_from(["home", "cart", 'O\'Neil "x"', "é\n,"])


VALUES = {
    "customer_id": customers,
    "order_id": orders,
    "sku": skus,
    "new": skus,
    "price": st.sampled_from([-1.0, 1.5, 2, 2.0, 7.0]),
    "quantity": st.integers(1, 3),
    "email": st.sampled_from(["ada@x.org", "bo@x.org", "cy@x.org"]),
    **dict.fromkeys(("name", "city", "page", "day"), words),
}


CHANGES = [t for t in TOOLS if not t.sql.startswith("SELECT")]


steps = st.lists(
    st.sampled_from(CHANGES).flatmap(
        lambda t: st.tuples(
            st.just(t.spec.name),
            st.fixed_dictionaries({name: VALUES[name] for name in t.spec.parameters["properties"]}),
        )
    ),
    max_size=8,
)


def dump(environment: SqlEnvironment) -> Dump:
    """The complete content, as sets of rows with their types, read through the environment's own tools."""
    return {table: rows(call(environment, f"list_{table}").value) for table in TABLES}


def rows(found: list[dict[str, Any]]) -> list[str]:
    return sorted(repr(list(row.values())) for row in found)


def reference(steps: Sequence[Step]) -> Dump:
    """The same statements on a database of Python's sqlite3, one transaction each."""
    statements = {t.spec.name: t.sql for t in TOOLS}
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.executescript(SCHEMA + "PRAGMA foreign_keys = ON;")
        for name, arguments in steps:
            with suppress(sqlite3.IntegrityError):
                connection.execute(statements[name], arguments)
        connection.execute("UPDATE products SET photo = '<2 bytes>' WHERE photo NOT NULL")
        return {t: sorted(repr(list(row)) for row in connection.execute(f"SELECT * FROM {t}")) for t in TABLES}
