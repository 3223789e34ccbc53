"""Databases as programs leave them: search indexes, foreign collations and functions, views, triggers."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from core.settings import UserError
from generation.database.image import Image
from generation.database.schema import read_schema
from generation.database.sql_tools import verify_tool
from generation.database.tables import read_served
from generation.database.views import sample_rows
from generation.environments.sql import SqlDomainEnvironment
from generation.seeds.sqlite import table_names
from tests.generation.helpers.shop_database import INTEGER, STRING, call, tool
from tests.generation.helpers.sql_images import rows

ORCHARD = """
CREATE TABLE trees (tree_id INTEGER PRIMARY KEY, sort TEXT NOT NULL, planted INTEGER);
CREATE TABLE harvests (harvest_id INTEGER PRIMARY KEY, tree_id INTEGER NOT NULL REFERENCES trees, kilos REAL);
CREATE TABLE log (line TEXT);
CREATE TABLE villages (name TEXT PRIMARY KEY COLLATE alpine, height INTEGER);
CREATE TABLE stalls (stall_id INTEGER PRIMARY KEY, village TEXT);
CREATE INDEX stalls_by_village ON stalls (village COLLATE alpine);
CREATE TABLE crates (crate_id INTEGER PRIMARY KEY, weight REAL CHECK (in_grams(weight) > 0));
CREATE VIRTUAL TABLE trees_fts USING fts5 (sort, content='trees', content_rowid='tree_id');
CREATE VIRTUAL TABLE plots USING rtree (plot_id, west, east);
CREATE TABLE notes_vec_chunks (id INTEGER PRIMARY KEY, chunk BLOB);

CREATE VIEW yields AS SELECT t.sort, sum(h.kilos) AS kilos FROM trees t JOIN harvests h USING (tree_id) GROUP BY t.sort;
CREATE VIEW best_yields AS SELECT * FROM yields WHERE kilos > 5;
CREATE VIEW found AS SELECT rowid, sort FROM trees_fts;
CREATE VIEW lucky AS SELECT tree_id FROM trees ORDER BY random();
CREATE VIEW young AS SELECT tree_id FROM trees WHERE planted > strftime('%Y', 'now');
CREATE VIEW stale AS SELECT gone FROM trees;
CREATE VIEW endless AS SELECT count(*) AS n FROM many a, many b, many c;
CREATE TABLE many (i INTEGER PRIMARY KEY);

CREATE TRIGGER logs AFTER INSERT ON trees BEGIN INSERT INTO log VALUES ('new ' || NEW.sort); END;
CREATE TRIGGER indexes AFTER INSERT ON TREES BEGIN INSERT INTO trees_fts (rowid, sort) VALUES (NEW.tree_id, NEW.sort);
  END;
CREATE TRIGGER counts AFTER UPDATE ON trees WHEN (SELECT count(*) FROM trees_fts) > 0 BEGIN DELETE FROM log; END;
CREATE TRIGGER converts AFTER UPDATE OF planted ON trees BEGIN INSERT INTO log VALUES (in_grams(NEW.planted)); END;
CREATE TRIGGER writes_view INSTEAD OF INSERT ON yields BEGIN INSERT INTO log VALUES ('view'); END;

INSERT INTO trees VALUES (1, 'apple', 2001), (2, 'pear', 2005), (3, 'plum', 2011);
INSERT INTO harvests VALUES (1, 1, 4.5), (2, 1, 3.0), (3, 2, 2.5);
DELETE FROM log;
INSERT INTO villages VALUES ('Gmund', 700);
WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 400) INSERT INTO many SELECT i FROM n;
PRAGMA writable_schema = ON;
INSERT INTO sqlite_schema VALUES
  ('table', 'notes_vec', 'notes_vec', 0, 'CREATE VIRTUAL TABLE notes_vec USING vec0 (embedding float[3])');
"""
SERVED = ["harvests", "log", "many", "trees"]


@pytest.fixture(scope="module")
def orchard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("orchard") / "orchard.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.create_collation("alpine", lambda one, other: (one > other) - (one < other))
        connection.create_function("in_grams", 1, lambda kilos: kilos, deterministic=True)
        connection.executescript(ORCHARD)
    return path


def test_what_cannot_serve_is_left_out_and_named(orchard: Path) -> None:
    image = Image.read(orchard)
    assert (sorted(image.tables), sorted(image.views)) == (SERVED, ["best_yields", "yields"])
    assert image.left_out == (
        "virtual table notes_vec",
        "virtual table plots",
        "virtual table trees_fts",
        "table crates: unknown function: in_grams()",
        "table stalls: no such collation sequence: alpine",
        "table villages: no such collation sequence: alpine",
        "view endless: it takes too long to read",
        "view found: no such table: trees_fts",
        "view lucky: the function random may not be used",
        "view stale: no such column: gone",
        "view young: the present date and time are not known here; give the date itself",
        "trigger indexes: it uses trees_fts",
        "trigger counts: it uses trees_fts",
        "trigger converts: no such function: in_grams",
    )
    assert table_names(orchard) == SERVED


def test_a_table_that_is_only_named_like_those_of_a_virtual_table_serves(tmp_path: Path) -> None:
    """SQLite itself tells which tables belong to a search index; `plots_sold` is none of them."""
    path = tmp_path / "orchard.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(
            """
            CREATE VIRTUAL TABLE plots USING rtree (plot_id, west, east);
            CREATE TABLE plots_sold (plot_id INTEGER PRIMARY KEY, price REAL);
            """
        )
    assert sorted(Image.read(path).tables) == ["plots_sold"]


def test_writes_that_no_tool_can_make_are_named(tmp_path: Path) -> None:
    path = tmp_path / "harbour.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.create_function("in_knots", 1, lambda speed: speed, deterministic=True)
        connection.executescript(
            """
            CREATE TABLE winds (wind_id INTEGER PRIMARY KEY, speed REAL CHECK (in_knots(speed) > 0));
            CREATE TABLE gusts (gust_id INTEGER PRIMARY KEY, wind_id INTEGER REFERENCES winds);
            CREATE TABLE moorings (mooring_id INTEGER PRIMARY KEY, pier INTEGER REFERENCES piers, depth REAL);
            CREATE TABLE passes (pass_id INTEGER PRIMARY KEY, code TEXT DEFAULT (hex(randomblob(4))), owner TEXT);
            CREATE TABLE ports (name TEXT, flag TEXT);
            CREATE TABLE ships (ship_id INTEGER PRIMARY KEY, port TEXT REFERENCES ports (name));
            """
        )
    image = Image.read(path)
    assert sorted(image.tables) == ["gusts", "moorings", "passes", "ports", "ships"]
    mismatch = 'foreign key mismatch - "ships" referencing "ports"'
    assert image.left_out == (
        "table winds: unknown function: in_knots()",
        "writes to gusts (INSERT, UPDATE wind_id, DELETE): no such table: winds",
        "writes to moorings (INSERT, UPDATE pier, DELETE): no such table: main.piers",
        "writes to passes (UPDATE pass_id, UPDATE owner): the function hex may not be used",
        f"writes to ports (UPDATE name, DELETE): {mismatch}",
        f"writes to ships (INSERT, UPDATE port, DELETE): {mismatch}",
    )
    fix = tool("fix", "UPDATE moorings SET depth = :depth WHERE mooring_id = :id", depth={"type": "number"}, id=INTEGER)
    assert verify_tool(fix, image) == []


def test_schema_and_rows_are_those_that_serve(orchard: Path) -> None:
    schema = read_schema(orchard, "orchard")
    assert [table.name for table in schema.tables] == [*SERVED, "best_yields", "yields"]
    assert [table.name for table in schema.tables if table.view] == ["best_yields", "yields"]
    view = schema.tables[-1]
    assert (view.rows, [c.kind for c in view.columns], view.foreign_keys) == (2, ["string", "number"], ())
    assert not any(column.primary_key for column in view.columns)
    assert schema.ddl.count("CREATE TABLE") == len(SERVED)
    assert schema.ddl.index("CREATE VIEW best_yields") < schema.ddl.index("CREATE VIEW yields")
    assert {"sort": "pear", "kilos": 2.5} in sample_rows(orchard, schema, 5, seed=0)["yields"]


def test_the_other_tables_can_be_written_and_views_read(orchard: Path) -> None:
    tools = (
        tool("create_tree", "INSERT INTO trees (sort, planted) VALUES (:sort, :year)", sort=STRING, year=INTEGER),
        tool("update_tree", "UPDATE trees SET planted = :year WHERE tree_id = :id", year=INTEGER, id=INTEGER),
        tool(
            "get_yield",
            "SELECT sort, kilos FROM yields WHERE sort = :sort",
            rows(sort=STRING, kilos={"type": "number"}),
            sort=STRING,
        ),
        tool("list_log", "SELECT line FROM log"),
    )
    image = Image.read(orchard)
    assert [verify_tool(candidate, image) for candidate in tools] == [[]] * len(tools)
    domain_environment = SqlDomainEnvironment("orchard", orchard, tools)
    environment = domain_environment.open()
    assert call(environment, "create_tree", sort="quince", year=2020).value == {"rows_affected": 1, "tree_id": 4}
    assert call(environment, "update_tree", id=1, year=2002).value == {"rows_affected": 1}
    assert call(environment, "list_log").value == [{"line": "new quince"}]
    assert call(environment, "get_yield", sort="apple").value == [{"sort": "apple", "kilos": 7.5}]
    fork = environment.fork()
    assert fork.state_diff() == environment.state_diff()
    assert len(fork.state_diff()) == 3
    domain_environment.close()


def test_views_and_what_is_left_out_cannot_be_written_nor_the_latter_read(orchard: Path) -> None:
    image = Image.read(orchard)
    for sql, problem in {
        "INSERT INTO yields VALUES (:x, 1)": "INSERT yields is not allowed",
        "DELETE FROM best_yields WHERE sort = :x": "cannot modify best_yields because it is a view",
        "SELECT sort FROM found WHERE sort = :x": "no such module: fts5",
        "SELECT sort FROM trees_fts WHERE sort = :x": "no such module: fts5",
        "SELECT height FROM villages WHERE name = :x": "no such table: villages",
        "UPDATE stalls SET village = :x WHERE stall_id = 1 AND village = :x": "stalls",
    }.items():
        with pytest.raises(AssertionError, match=problem):
            assert verify_tool(tool("odd", sql, x=STRING), image) == []


def test_samples_come_from_views_too(orchard: Path) -> None:
    wrong = tool("get_yield", "SELECT sort FROM yields WHERE kilos = :kilos", kilos=STRING)
    assert verify_tool(wrong, Image.read(orchard)) == ["parameter kilos has type string, but yields.kilos holds 7.5"]


def test_a_database_of_which_nothing_serves_is_refused_with_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "index.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript("CREATE VIRTUAL TABLE words USING fts5 (word)")
    with pytest.raises(UserError, match="no tables that can be used here: virtual table words"):
        table_names(path)
    assert read_served(path).tables == {}


def test_states_with_foreign_keys_to_columns_without_a_unique_index_can_be_forked(tmp_path: Path) -> None:
    """SQLite lets such a table be changed, except for the column itself."""
    path = tmp_path / "valleys.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(
            "CREATE TABLE valleys (name TEXT NOT NULL, length INTEGER);"
            "CREATE TABLE huts (hut_id INTEGER PRIMARY KEY, valley TEXT REFERENCES valleys (name), beds INTEGER);"
            "INSERT INTO valleys VALUES ('Stubai', 35), ('Ziller', 47);"
            "INSERT INTO huts VALUES (1, 'Stubai', 20), (2, 'Ziller', 9);"
        )
    measure = tool("measure", "UPDATE valleys SET length = :n WHERE name = :name", n=INTEGER, name=STRING)
    furnish = tool("furnish", "UPDATE huts SET beds = :n WHERE hut_id = :id", n=INTEGER, id=INTEGER)
    build = tool("build", "INSERT INTO huts (valley, beds) VALUES (:name, :n)", name=STRING, n=INTEGER)
    image = Image.read(path)
    assert verify_tool(measure, image) == verify_tool(furnish, image) == []
    assert "foreign key mismatch" in verify_tool(build, image)[0]
    domain_environment = SqlDomainEnvironment("valleys", path, (measure, furnish))
    environment = domain_environment.open()
    call(environment, "measure", n=36, name="Stubai")
    call(environment, "furnish", n=21, id=1)
    assert environment.fork().state_hash() == environment.state_hash()
    domain_environment.close()


def test_a_key_cannot_change_in_case_alone(tmp_path: Path) -> None:
    """It is the same key to SQLite's sessions. A refused change leaves no trace in what is recorded later."""
    path = tmp_path / "peaks.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript("CREATE TABLE peaks (name TEXT COLLATE NOCASE PRIMARY KEY, height INTEGER);")
        connection.execute("INSERT INTO peaks VALUES ('glungezer', 2677)")
        connection.commit()
    shout = tool("shout", "UPDATE peaks SET name = upper(name) WHERE height = :height", height=INTEGER)
    measure = tool("measure", "UPDATE peaks SET height = :new WHERE name = :name", new=INTEGER, name=STRING)
    image = Image.read(path)
    assert "takes for equal" in verify_tool(shout, image)[0]
    assert verify_tool(measure, image) == []
    add = tool("add", "INSERT INTO peaks VALUES (:name, 1)", name=STRING)
    environment = SqlDomainEnvironment("peaks", path, (shout, measure, add)).open()
    assert call(environment, "shout", height=2677).error
    assert environment.state_diff() == ()
    call(environment, "add", name="hafelekar")
    assert call(environment, "shout", height=1).error
    call(environment, "measure", new=2678, name="GLUNGEZER")
    changes = ("INSERT peaks name='hafelekar': height 1", "UPDATE peaks name='glungezer': height 2677 -> 2678")
    assert environment.state_diff() == environment.fork().state_diff() == changes


def test_only_the_keyword_autoincrement_is_dropped(tmp_path: Path) -> None:
    """Elsewhere the word is text or a name."""
    path = tmp_path / "invoices.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(
            """
            CREATE TABLE "autoincrement's own" (
              n INTEGER PRIMARY KEY /* autoincrement's */ AUTOINCREMENT, -- autoincrement's
              numbers TEXT NOT NULL DEFAULT 'autoincrement' CHECK (numbers IN ('autoincrement', 'it''s AutoIncrement')),
              [autoincrement] TEXT DEFAULT 'x', `y autoincrement` TEXT DEFAULT 'y');
            INSERT INTO "autoincrement's own" DEFAULT VALUES;
            INSERT INTO "autoincrement's own" DEFAULT VALUES;
            DELETE FROM "autoincrement's own" WHERE n = 2;
            """
        )
    environment = SqlDomainEnvironment(
        "invoices", path, (tool("add", 'INSERT INTO "autoincrement\'s own" (numbers) VALUES (:text)', text=STRING),)
    ).open()
    call(environment, "add", text="autoincrement")
    assert environment.state_diff() == (
        "INSERT autoincrement's own n=2: numbers 'autoincrement', autoincrement 'x', y autoincrement 'y'",
    )


def test_a_table_that_only_mentions_autoincrement_serves(tmp_path: Path) -> None:
    path = tmp_path / "modes.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript("CREATE TABLE modes (id INTEGER PRIMARY KEY, mode TEXT DEFAULT 'autoincrement');")
    assert list(Image.read(path).tables) == ["modes"]


def test_rows_longer_than_tools_may_write_can_be_deleted_and_forked(tmp_path: Path) -> None:
    path = tmp_path / "scans.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE scans (scan_id INTEGER PRIMARY KEY, text TEXT)")
        connection.execute("INSERT INTO scans VALUES (1, ?)", ("x" * 1_200_000,))
        connection.commit()
    environment = SqlDomainEnvironment(
        "scans", path, (tool("delete", "DELETE FROM scans WHERE scan_id = :id", id=INTEGER),)
    ).open()
    assert not call(environment, "delete", id=1).error
    assert environment.fork().state_hash() == environment.state_hash()


def test_a_table_without_a_key_whose_row_numbers_are_hidden_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "lists.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(
            "CREATE TABLE hidden (oid INTEGER, _ROWID_ TEXT); CREATE TABLE shown (oid INTEGER, rowid TEXT);"
            "CREATE TABLE keyed (_rowid_ INTEGER, k TEXT PRIMARY KEY);"
        )
    image = Image.read(path)
    assert sorted(image.tables) == ["keyed", "shown"]
    assert image.left_out[0].startswith("table hidden: it has no key, and its column _rowid_")
