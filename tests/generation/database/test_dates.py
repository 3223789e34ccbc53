"""Dialogues take place soon after the day up to which the data reach."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path

import pytest

from generation.database.dates import recent_day
from generation.database.image import Image
from generation.environments.clock import drawn_time


def database(path: Path, columns: dict[str, list[str | int | None]]) -> Image:
    """A table with these columns."""
    with closing(sqlite3.connect(path)) as connection:
        names = ", ".join(f"{name} TEXT" for name in columns)
        connection.execute(f"CREATE TABLE orders (order_id INTEGER PRIMARY KEY, {names})")
        rows = list(zip(*columns.values(), strict=True))
        marks = ", ".join("?" * len(columns))
        connection.executemany(f"INSERT INTO orders ({', '.join(columns)}) VALUES ({marks})", rows)
        connection.commit()
    return Image.read(path)


def days(first: str, count: int, step: int = 1) -> list[str | int | None]:
    return [(date.fromisoformat(first) + timedelta(days=step * number)).isoformat() for number in range(count)]


def test_the_middle_column_decides(tmp_path: Path) -> None:
    ordered = days("2024-01-01", 100)  # its 90th day is 2024-03-30
    columns = {
        "born_on": days("1950-01-01", 100, 100),
        "ordered_on": ordered,
        "warranty_until": days("2030-01-01", 100),
    }
    assert recent_day(database(tmp_path / "a.sqlite", columns)) == "2024-03-30"


@pytest.mark.parametrize(
    ("values", "day"),
    [
        (["2024-05-01 10:30:00", "2024-05-01T08:00", None], "2024-05-01"),
        (["2024-05-01", "soon", "later"], ""),
        (["2024-02-30", "2024-02-30", "2024-02-30"], ""),
        ([20240501, 5, None], ""),
        ([None, None, None], ""),
    ],
)
def test_what_counts_as_a_column_of_dates(tmp_path: Path, values: list[str | int | None], day: str) -> None:
    assert recent_day(database(tmp_path / "a.sqlite", {"at": values})) == day


def test_dialogues_take_place_within_two_weeks() -> None:
    times = {drawn_time(f"d{number}", "2024-12-25") for number in range(300)}
    assert {time.split()[1] for time in times} == set(days("2024-12-25", 14))
    assert len(times) > 200
    assert drawn_time("d", "Wednesday 2024-05-15 15:00") == "Wednesday 2024-05-15 15:00"
