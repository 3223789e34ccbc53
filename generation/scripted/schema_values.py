"""Plausible scalars for a JSON Schema: within its enums, formats, bounds and lengths, and fitting the field's name."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from random import Random
from typing import Any, TypeVar

from generation.specs.naming import identifies, is_identifier
from generation.specs.resolved_schema import Schema, kind
from generation.specs.spelling import snake

T = TypeVar("T")

_NAMES = [
    "Ada Moreno",
    "Jon Aldous",
    "Mira Castell",
    "Tom Okafor",
    "Lena Brandt",
    "Ravi Menon",
    "Ines Duarte",
    "Karl Lund",
]
_CITIES = ["Utrecht", "Porto", "Leeds", "Graz", "Aarhus", "Lyon"]
_STREETS = ["12 Mill Lane", "3 Harbour Street", "48 Elm Road"]
_TOPICS = ["garden tools", "jazz for beginners", "hiking boots", "sourdough"]
_TEXTS = {
    "first_name": [name.split()[0] for name in _NAMES],
    "last_name": [name.split()[1] for name in _NAMES],
    "title": ["Quiet Harbour", "The Long Field", "Northern Light", "Paper Boats", "Second Spring"],
    "city": _CITIES,
    "location": _CITIES,
    "origin": _CITIES[:3],
    "destination": _CITIES[3:],
    "country": ["Portugal", "Austria", "Denmark", "France"],
    "address": _STREETS,
    "street": _STREETS,
    "zip": ["48210", "73015", "90127"],
    "postal": ["48210", "73015", "90127"],
    "phone": ["555-0142", "555-0178", "555-0199"],
    "currency": ["EUR", "USD", "GBP"],
    "language": ["English", "Portuguese", "German"],
    "symbol": ["ACME", "NRTH", "QHBR"],
    "time": ["09:30", "14:00", "18:45"],
    "query": _TOPICS,
    "keyword": _TOPICS,
    "status": ["active", "open", "pending", "shipped"],
    "message": ["Please call me back", "I will be ten minutes late", "The parcel has arrived"],
    "reason": ["ordered by mistake", "no longer needed"],
    "color": ["blue", "green", "dark red"],
    "description": ["as agreed", "a quiet one near the park", "renewed last year"],
    "name": _NAMES,
}
"""Texts for fields whose names contain these words; the first match counts."""
_OTHER = ["standard", "basic", "special", "regular", "north wing", "category A"]
_SPANS = {"year": (2018, 2025), "age": (18, 80), "latitude": (-60, 60), "longitude": (-170, 170), "limit": (2, 10)}
_SPANS |= dict.fromkeys(("quantity", "rating", "guests", "nights", "days", "hours", "seats", "rooms"), (1, 5))


def _day(rng: Random) -> str:
    return f"2025-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}"


def _time(rng: Random) -> str:
    return f"{rng.randint(8, 19):02}:{rng.choice((0, 15, 30, 45)):02}"


def _hex(rng: Random, digits: int) -> str:
    return f"{rng.getrandbits(4 * digits):0{digits}x}"


_FORMATS: dict[str, Callable[[Random], str]] = {
    "date": _day,
    "date-time": lambda rng: f"{_day(rng)}T{_time(rng)}:00Z",
    "time": lambda rng: f"{_time(rng)}:00Z",
    "email": lambda rng: f"{rng.choice(_NAMES).split()[0].lower()}{rng.randint(1, 99)}@example.com",
    "uri": lambda rng: f"https://example.com/{_hex(rng, 6)}",
    "url": lambda rng: f"https://example.com/{_hex(rng, 6)}",
    "uuid": lambda rng: f"{_hex(rng, 8)}-{_hex(rng, 4)}-4{_hex(rng, 3)}-a{_hex(rng, 3)}-{_hex(rng, 12)}",
    "ipv4": lambda rng: f"10.{rng.randint(0, 255)}.{rng.randint(0, 255)}.{rng.randint(1, 254)}",
}
_FORMAT_OF_NAME = {
    "email": "email",
    "url": "uri",
    "date": "date",
    "day": "date",
    "on": "date",
    "at": "date-time",
    "uuid": "uuid",
}


def scalar_value(schema: Schema, name: str, rng: Random) -> Any:
    """A value of a resolved schema that is neither an object nor an array; a string if any type goes."""
    if "const" in schema:
        return schema["const"]
    if options := [option for option in schema.get("enum", ()) if option is not None]:
        return rng.choice(options)
    match kind(schema):
        case "integer" | "number" as number:
            return _number(schema, name, number == "integer", rng)
        case "boolean":
            return rng.random() < 0.5
        case "null":
            return None
        case _:
            return _text(schema, name, rng)


def _number(schema: Schema, name: str, integral: bool, rng: Random) -> int | float:
    if name == "rows_affected":
        return 1
    usual = (100, 99_999) if is_identifier(name) else _usual(_SPANS, name, (2, 900))
    width = usual[1] - usual[0]
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    high = schema.get("maximum", schema.get("exclusiveMaximum"))
    if low is None:
        low = usual[0] if high is None or high >= usual[0] else high - width
    if high is None:
        high = usual[1] if usual[1] >= low else low + width
    step = schema.get("multipleOf", 1 if integral else 0.01 if high - low >= 1 else (high - low) / 10 or 1)
    first = math.floor(low / step) + 1 if "exclusiveMinimum" in schema else math.ceil(low / step - 1e-9)
    last = math.ceil(high / step) - 1 if "exclusiveMaximum" in schema else math.floor(high / step + 1e-9)
    value = rng.randint(first, max(first, last)) * step
    return int(value) if integral else round(value, 2 if step == 0.01 else 9)


def _text(schema: Schema, name: str, rng: Random) -> str:
    if schema.get("format") in _FORMATS:
        return _FORMATS[schema["format"]](rng)
    if format_name := _usual(_FORMAT_OF_NAME, name, ""):
        text = _FORMATS[format_name](rng)
    elif stem := identifies(name):
        text = f"{stem[-1][:3].upper()}-{rng.randint(1000, 99_999)}"
    else:
        text = rng.choice(_usual(_TEXTS, name, _OTHER))
    least, most = schema.get("minLength", 0), schema.get("maxLength", len(text) + schema.get("minLength", 0))
    return text.ljust(least, "x")[:most]


def _usual(table: Mapping[str, T], name: str, otherwise: T) -> T:
    """The table's entry for the first of its words that the name contains."""
    delimited = f"_{snake(name)}_"
    return next((entry for word, entry in table.items() if f"_{word}_" in delimited), otherwise)
