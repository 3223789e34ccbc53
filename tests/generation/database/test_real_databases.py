"""SQL tools on real databases, and the samples they are tried with."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from generation.database.image import Image
from generation.database.sandbox import Limits
from generation.database.sql_tools import verify_tool
from tests.generation.helpers.shop_database import INTEGER, NUMBER, SCHEMA, STRING, build, tool
from tests.generation.helpers.sql_images import rows
from tests.helpers.paths import SHARED_DATA

CHINOOK = SHARED_DATA / "chinook" / "chinook.sqlite"


SPIDER = SHARED_DATA / "spider" / "database"


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
