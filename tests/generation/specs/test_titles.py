"""Titles and descriptions by rule, against hand-written ones."""

from __future__ import annotations

import pytest

from core.messages import ToolSpec
from generation.specs.titles import description_of, readable, table_nouns, title_of, tool_nouns


def tools(*names: str) -> list[ToolSpec]:
    return [ToolSpec(name=name, description="", parameters={"type": "object"}) for name in names]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("department_store", "department store"),
        ("weather_tools", "weather"),
        ("MusicStore", "music store"),
        ("crm", "crm"),
        ("tools", ""),
        ("my_data", ""),
        ("nemotron_000000aa", ""),
        ("nemotron_deadbeef", ""),
        ("5f3a9c", ""),
        ("xkqtz", ""),
        ("", ""),
    ],
)
def test_a_name_is_readable_or_not(name: str, words: str) -> None:
    assert readable(name) == words


def test_the_most_frequent_nouns_make_the_title() -> None:
    nouns = tool_nouns(tools("search_flights", "get_booking", "get_flight_status", "cancel_booking", "update_flight"))
    assert nouns == ["flight", "booking"]
    assert title_of("nemotron_1f2e3d4c", nouns) == "flight and booking"
    assert title_of("air_travel", nouns) == "air travel"
    assert description_of(nouns) == "It works with flights and bookings."


def test_tools_without_nouns_have_their_verbs() -> None:
    assert title_of("", tool_nouns(tools("convert"))) == "convert"
    assert title_of("", []) == "general"
    assert description_of([]) == ""


def test_tables_keep_their_order() -> None:
    nouns = table_nouns(["Album", "InvoiceLines", "customers", "t_1"])
    assert nouns == ["album", "invoice line", "customer"]
    assert description_of(nouns) == "It works with albums, invoice lines and customers."
    assert description_of(list("abcdefgh")).count(",") == 3, "no more than five"
