"""The SQL environment on invalid, unusual and real databases."""

import sqlite3
from contextlib import closing
from hashlib import sha256
from pathlib import Path

import pytest

from core.settings import UserError
from generation.environments.sql import SqlDomainEnvironment
from tests.generation.helpers.shop_database import INTEGER, STRING, TOOLS, build, call, tool
from tests.helpers.paths import SHARED_DATA

EMPTY = sha256(b"").hexdigest()
CHINOOK = SHARED_DATA / "chinook" / "chinook.sqlite"


def test_invalid_databases_and_tools_are_named(tmp_path: Path) -> None:
    text = tmp_path / "text.sqlite"
    text.write_text("not a database" * 100)
    with pytest.raises(UserError, match=r"text\.sqlite .* it is not an SQLite database"):
        SqlDomainEnvironment("text", text, ())
    with pytest.raises(UserError, match="no such file"):
        SqlDomainEnvironment("none", tmp_path / "none.sqlite", ())
    shop = build(tmp_path / "shop.sqlite")
    with pytest.raises(UserError, match="the tool bad cannot be used on shop: no such table: gone"):
        SqlDomainEnvironment("shop", shop, (tool("bad", "SELECT * FROM gone WHERE id = :id", id=INTEGER),))
    with pytest.raises(UserError, match="must be unique"):
        SqlDomainEnvironment("shop", shop, (TOOLS[0], TOOLS[0]))


def test_peculiar_databases(tmp_path: Path) -> None:
    """A write-ahead log, AUTOINCREMENT, nullable keys, text that is not UTF-8, deferred foreign keys,
    triggers: each would otherwise make the recorded changes differ from the state."""
    script = """
        PRAGMA journal_mode = WAL;
        CREATE TABLE counted (id INTEGER PRIMARY KEY AUTOINCREMENT, t TEXT);
        CREATE TABLE clubs (club_id INT, t TEXT, PRIMARY KEY (club_id));
        CREATE TABLE late (id INTEGER PRIMARY KEY, club INT REFERENCES clubs DEFERRABLE INITIALLY DEFERRED);
        CREATE TABLE log (line TEXT);
        CREATE TRIGGER logged AFTER INSERT ON clubs BEGIN INSERT INTO log VALUES (NEW.t); END;
        INSERT INTO clubs VALUES (1, CAST(x'41ff' AS TEXT)), (NULL, 'lost');
    """
    tools = (
        tool("create_counted", "INSERT INTO counted (t) VALUES (:t)", t=STRING),
        tool("delete_counted", "DELETE FROM counted WHERE id = :id", id=INTEGER),
        tool("create_club", "INSERT INTO clubs VALUES (:id, :t)", id={"type": ["integer", "null"]}, t=STRING),
        tool("update_club", "UPDATE clubs SET t = :t WHERE club_id IS :id", id={"type": ["integer", "null"]}, t=STRING),
        tool("create_late", "INSERT INTO late (club) VALUES (:club)", club=INTEGER),
        tool("list_clubs", "SELECT * FROM clubs ORDER BY club_id DESC"),
        tool("list_log", "SELECT * FROM log"),
    )
    domain_environment = SqlDomainEnvironment("odd", build(tmp_path / "odd.sqlite", script), tools)
    environment = domain_environment.open()
    assert call(environment, "list_clubs").value[0] == {"club_id": 1, "t": "A\ufffd"}
    assert call(environment, "create_counted", t="x").value["id"] == 1
    call(environment, "delete_counted", id=1)
    assert environment.state_hash() == EMPTY
    assert call(environment, "create_counted", t="y").value["id"] == 1  # as in a fork of the same, empty, state
    assert call(environment, "create_club", id=None, t="x").value == {
        "error": "NOT NULL constraint failed: clubs.club_id"
    }
    assert call(environment, "update_club", id=None, t="x").error
    assert call(environment, "create_late", club=99).value == {"error": "FOREIGN KEY constraint failed"}
    assert call(environment, "create_club", id=99, t="z").value == {"rows_affected": 1, "club_id": 99}
    assert not call(environment, "create_late", club=99).error
    fork = environment.fork()
    assert fork.state_diff() == environment.state_diff()
    assert call(fork, "list_log").value == [{"line": "A\ufffd"}, {"line": "lost"}, {"line": "z"}]
    domain_environment.close()


@pytest.mark.skipif(not CHINOOK.is_file(), reason="no ../shared/data/chinook here")
def test_on_a_real_database() -> None:
    tools = (
        tool(
            "top_artists",
            "SELECT ar.Name AS artist, COUNT(*) AS sold FROM InvoiceLine AS l JOIN Track AS t USING (TrackId) "
            "JOIN Album AS al USING (AlbumId) JOIN Artist AS ar USING (ArtistId) "
            "GROUP BY ar.ArtistId ORDER BY sold DESC, artist LIMIT :n",
            n=INTEGER,
        ),
        tool("update_city", "UPDATE Customer SET City = :city WHERE CustomerId = :id", city=STRING, id=INTEGER),
        tool("delete_invoice", "DELETE FROM Invoice WHERE InvoiceId = :id", id=INTEGER),
    )
    domain_environment = SqlDomainEnvironment("chinook", CHINOOK, tools)
    environment = domain_environment.open()
    with closing(sqlite3.connect(f"file:{CHINOOK}?mode=ro", uri=True)) as connection:
        expected = connection.execute(tools[0].sql, {"n": 5}).fetchall()
    assert [tuple(row.values()) for row in call(environment, "top_artists", n=5).value] == expected
    call(environment, "update_city", city="Oslo", id=4)
    assert call(environment, "delete_invoice", id=1).value == {"error": "FOREIGN KEY constraint failed"}
    assert len(environment.state_diff()) == 0  # customer 4 lives in Oslo already
    call(environment, "update_city", city="Bergen", id=4)
    assert environment.fork().state_diff() == ("UPDATE Customer CustomerId=4: City 'Oslo' -> 'Bergen'",)
    domain_environment.close()
