"""Placeholders filled from results, compared with hand-computed values."""

from __future__ import annotations

from typing import Any

import pytest

from core.placeholders import Placeholder, placeholder, resolve

RESULTS: dict[int, Any] = {
    0: [{"id": 1, "price": 20, "day": "2025-06-02"}, {"id": 2, "price": 15.5, "day": "2025-06-01"}],
    1: [{"id": 3, "price": 15.5, "day": "2025-05-30"}, {"id": 4, "price": None, "day": None}],
    2: {"id": 5, "price": 3, "day": "2025-07-01"},
    3: [],
    4: [{"id": 6, "price": 0.1}, {"id": 7, "price": 0.2}],
    5: [{"id": 8, "place": [{"city": "Oslo"}]}],
}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${lowest price of 0: id}", 2),
        ("${highest price of 0, 2: id}", 1),
        ("${lowest day of 0,1: id}", 3),
        ("${lowest price of 0,2: day}", "2025-07-01"),
        ("${count of 0,1}", 4),
        ("${count of 3}", 0),
        ("${sum of 0: price}", 35.5),
        ("${sum of 4: price}", 0.3),
        ("${average of 0,2: price}", 12.833333),
        ("${2.price}", 3),
        ("${5.id}", 8),
        ("${5.place.city}", "Oslo"),
        ("${where day is 2025-06-01 of 0,1: id}", 2),
        ("${where price is 20 of 0: id}", 1),
    ],
)
def test_values_are_chosen_and_computed_over_rows(text: str, value: Any) -> None:
    assert resolve(text, RESULTS) == value


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("${lowest price of 0,1: id}", "2 rows fit"),
        ("${0.id}", "needs one row, call 0 returned 2"),
        ("${3.id}", "needs one row, call 3 returned 0"),
        ("${5.day}", "no field 'day'"),
        ("${5}", "not a single value"),
        ("${lowest size of 0: id}", "no field 'size'"),
        ("${highest price of 0: name}", "no field 'name'"),
        ("${sum of 1: price}", "not every value is a number"),
        ("${sum of 0: day}", "not every value is a number"),
        ("${average of 3: price}", "returned no rows"),
        ("${lowest price of 3: id}", "returned no rows"),
        ("${where price is 15.5 of 0,1: id}", "2 rows fit"),
        ("${where price is 99 of 0,1: id}", "no row has that price"),
    ],
)
def test_what_has_no_single_value_is_refused(text: str, problem: str) -> None:
    with pytest.raises(LookupError, match=problem):
        resolve(text, RESULTS)


def test_rows_of_different_types_cannot_be_compared() -> None:
    with pytest.raises(LookupError, match="cannot be compared"):
        resolve("${lowest x of 0: x}", {0: [{"x": 1}, {"x": "b"}]})


def test_two_rows_with_the_same_answer_are_no_contradiction() -> None:
    assert resolve("${lowest price of 0,1: price}", RESULTS) == 15.5


@pytest.mark.parametrize(
    "text", ["${count of 0: id}", "${sum of 0}", "${lowest of 0: id}", "${sum of x: id}", "${}", "a"]
)
def test_other_texts_are_no_placeholders(text: str) -> None:
    assert placeholder(text) is None
    assert resolve(text, RESULTS) == text


def test_a_placeholder_names_the_calls_and_fields_that_it_reads() -> None:
    assert placeholder("${lowest price of 0, 12: id}") == Placeholder((0, 12), "id", "lowest", "price")
    assert placeholder("${lowest price of 0: id}").fields == ("price", "id")
    assert placeholder("${3}") == Placeholder((3,), None)
