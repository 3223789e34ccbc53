"""What names reveal, against hand-written lists."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from generation.scripted.verbs import destroys, spoken_action
from generation.specs.json_values import json_or_text, leaves
from generation.specs.naming import _VERBS, action, changes, creates, identifier_key, is_identifier
from generation.specs.spelling import plural, singular, snake, words


def test_each_verb_has_one_action() -> None:
    verbs = " ".join(_VERBS.values()).split()
    assert len(verbs) == len(set(verbs)) > 90


@pytest.mark.parametrize(
    ("tool", "kind", "writes", "makes"),
    [
        ("get_order", "get", False, False),
        ("lookupOrder", "get", False, False),
        ("search_orders", "search", False, False),
        ("top_orders_by_total", "rank", False, False),
        ("convert_currency", "convert", False, False),
        ("calculate", "compute", False, False),
        ("book_flight", "book", True, True),
        ("create_order", "create", True, True),
        ("update_order", "update", True, False),
        ("send_certificate", "act", True, False),
        ("cancel_order", "cancel", True, False),
        ("delete_order", "delete", True, False),
        ("restore_order", "restore", True, False),
        ("frobnicate_order", None, True, False),
    ],
)
def test_the_action_of_a_tool(tool: str, kind: str | None, writes: bool, makes: bool) -> None:
    assert (action(tool), changes(tool), creates(tool)) == (kind, writes, makes)
    assert destroys(tool) is tool.startswith(("cancel", "delete"))


@pytest.mark.parametrize(
    ("tool", "phrase"),
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
def test_how_a_user_phrases_an_action(tool: str, phrase: tuple[str, str]) -> None:
    assert spoken_action(tool) == phrase


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
def test_which_fields_identify_a_record(name: str, identifier: bool) -> None:
    assert is_identifier(name) is identifier


def test_a_bare_identifier_is_prefixed_with_its_entity() -> None:
    assert identifier_key("id", 7, ("film", "copy")) == "copy_id=7"
    assert identifier_key("sku", "A1", ("product",)) == "product_sku=A1"
    assert identifier_key("orderId", 7, ("product",)) == "order_id=7"
    assert identifier_key("id", 7, ()) is None


@pytest.mark.parametrize(
    ("one", "many"),
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
def test_singular_and_plural(one: str, many: str) -> None:
    assert (plural(one), plural(many), singular(many), singular(one)) == (many, many, one, one)


@pytest.mark.parametrize(
    ("name", "spelling"),
    [
        ("InvoiceLine", "invoice_line"),
        ("Invoice Line", "invoice_line"),
        ("userID", "user_id"),
        ("HTMLPage", "html_page"),
        ("a--b", "a_b"),
        ("é", ""),
    ],
)
def test_snake_case(name: str, spelling: str) -> None:
    assert snake(name) == snake(spelling) == spelling
    assert words(name) == spelling.replace("_", " ")


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


def test_leaves_carry_the_nearest_name() -> None:
    value = {"a": [1, [2, {"b": 3}]], "c": {}, "d": None}
    assert list(leaves(value)) == [("a", 1), ("a", 2), ("b", 3), ("d", None)]
    assert list(leaves("x")) == [("", "x")]


def test_text_that_is_not_json_stays_text() -> None:
    assert json_or_text('{"a": [1, null]}') == {"a": [1, None]}
    assert [json_or_text(text) for text in ("Error: no", "[" * 100_000, "")] == ["Error: no", "[" * 100_000, ""]
