"""What names say, against lists made by hand."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from generation.scripted.verbs import destroys, spoken_deed
from generation.specs.json_values import json_or_text, leaves
from generation.specs.naming import _VERBS, changes, creates, deed, identifier_key, is_identifier
from generation.specs.spelling import plural, singular, snake, words


def test_every_verb_does_one_thing() -> None:
    verbs = " ".join(_VERBS.values()).split()
    assert len(verbs) == len(set(verbs)) > 90


@pytest.mark.parametrize(
    ("tool", "what", "writes", "makes"),
    [
        ("get_order", "see", False, False),
        ("lookupOrder", "see", False, False),
        ("search_orders", "search", False, False),
        ("top_orders_by_total", "rank", False, False),
        ("convert_currency", "turn", False, False),
        ("calculate", "work out", False, False),
        ("book_flight", "make", True, True),
        ("create_order", "create", True, True),
        ("update_order", "set", True, False),
        ("send_certificate", "do", True, False),
        ("cancel_order", "end", True, False),
        ("delete_order", "delete", True, False),
        ("restore_order", "restore", True, False),
        ("frobnicate_order", None, True, False),
    ],
)
def test_what_a_tool_does(tool: str, what: str | None, writes: bool, makes: bool) -> None:
    assert (deed(tool), changes(tool), creates(tool)) == (what, writes, makes)
    assert destroys(tool) is tool.startswith(("cancel", "delete"))


@pytest.mark.parametrize(
    ("tool", "said"),
    [
        ("get_order_details", ("see the", "order details")),
        ("list", ("see the", "details")),
        ("searchOrders", ("look for the", "orders")),
        ("book_flight", ("book a new", "flight")),
        ("cancel_order", ("cancel the", "order")),
        ("convert_currency", ("convert the", "currency")),
        ("delete", ("delete the", "entry")),
        ("weather_forecast", ("get the", "weather forecast")),
    ],
)
def test_how_a_user_says_it(tool: str, said: tuple[str, str]) -> None:
    assert spoken_deed(tool) == said


@pytest.mark.parametrize(
    ("name", "identifier"),
    [
        *(
            (name, True)
            for name in ("id", "ids", "order_id", "orderIds", "uuid", "sku", "product_sku", "order_no", "flight_number")
        ),
        *((name, True) for name in ("promo_code", "item_ids", "airport_codes")),
        *(
            (name, False)
            for name in ("number", "code", "no", "phone_number", "zip_code", "currency_codes", "number_of_guests")
        ),
        *((name, False) for name in ("name", "status", "paid", "api_key", "sort_key", "idea")),
    ],
)
def test_which_fields_say_which_record_is_meant(name: str, identifier: bool) -> None:
    assert is_identifier(name) is identifier


def test_a_bare_identifier_is_named_after_what_it_is_of() -> None:
    assert identifier_key("id", 7, ("film", "copy")) == "copy_id=7"
    assert identifier_key("sku", "A1", ("product",)) == "product_sku=A1"
    assert identifier_key("orderId", 7, ("product",)) == "order_id=7"
    assert identifier_key("id", 7, ()) is None


@pytest.mark.parametrize(
    ("one", "several"),
    [
        ("order", "orders"),
        ("category", "categories"),
        ("box", "boxes"),
        ("branch", "branches"),
        ("day", "days"),
        ("class", "classes"),
        ("film_copy", "film_copies"),
    ],
)
def test_one_and_several(one: str, several: str) -> None:
    assert (plural(one), plural(several), singular(several), singular(one)) == (several, several, one, one)


@pytest.mark.parametrize(
    ("name", "spelt"),
    [
        ("InvoiceLine", "invoice_line"),
        ("Invoice Line", "invoice_line"),
        ("userID", "user_id"),
        ("HTMLPage", "html_page"),
        ("a--b", "a_b"),
        ("é", ""),
    ],
)
def test_one_spelling(name: str, spelt: str) -> None:
    assert snake(name) == snake(spelt) == spelt
    assert words(name) == spelt.replace("_", " ")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def scalars(value: Any) -> list[Any]:
    if isinstance(value, list):
        return [leaf for part in value for leaf in scalars(part)]
    return scalars(list(value.values())) if isinstance(value, dict) else [value]


@given(JSON)
def test_leaves_are_all_scalars_in_order(value: Any) -> None:
    assert [leaf for _, leaf in leaves(value)] == scalars(value)


def test_leaves_go_by_the_nearest_name() -> None:
    value = {"a": [1, [2, {"b": 3}]], "c": {}, "d": None}
    assert list(leaves(value)) == [("a", 1), ("a", 2), ("b", 3), ("d", None)]
    assert list(leaves("x")) == [("", "x")]


def test_results_that_are_no_json_are_text() -> None:
    assert json_or_text('{"a": [1, null]}') == {"a": [1, None]}
    assert [json_or_text(text) for text in ("Error: no", "[" * 100_000, "")] == ["Error: no", "[" * 100_000, ""]
