"""Nulls that pad objects are removed, nulls that mean something stay."""

from __future__ import annotations

from typing import Any

import pytest

from generation.specs.padding import without_padding

TEXT, NULLABLE = {"type": "string"}, {"type": ["string", "null"]}


@pytest.mark.parametrize(
    ("schema", "given", "columnar", "lines"),
    [
        ({"properties": {"note": NULLABLE}}, {"note": None}, {}, {"note": None}),
        ({"properties": {"note": TEXT}}, {"note": None}, {}, {}),
        ({"properties": {"note": TEXT}, "required": ["note"]}, {"note": None}, {"note": None}, {"note": None}),
        ({"properties": {"note": TEXT}}, {"other": None}, {}, {}),
        ({}, {"any": None}, {}, {"any": None}),
        ({"additionalProperties": NULLABLE}, {"red": None}, {"red": None}, {"red": None}),
        ({"additionalProperties": TEXT}, {"red": None}, {}, {}),
        ({"patternProperties": {"^x-": NULLABLE}}, {"x-red": None, "red": None}, {"x-red": None}, {"x-red": None}),
        (
            {"additionalProperties": {"$ref": "#/$defs/n"}, "$defs": {"n": NULLABLE}},
            {"red": None},
            {"red": None},
            {"red": None},
        ),
    ],
)
def test_which_nulls_are_padding(schema: dict[str, Any], given: Any, columnar: Any, lines: Any) -> None:
    assert without_padding(given, schema, columnar=True) == columnar
    assert without_padding(given, schema, columnar=False) == lines
