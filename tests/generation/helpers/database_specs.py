"""A small valid database spec, changed versions of it, and hypothesis strategies for generators."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from generation.database.spec import DatabaseSpec
from generation.synthesis.limits import Limits

LIMITS = Limits(tables=(2, 6), rows=(5, 400), columns=(1, 12), distinct=0.9, likeness=0.6, likeness_in_run=0.6)

BOATS: dict[str, Any] = {
    "name": "boats",
    "key": "boat_id",
    "rows": 12,
    "columns": [
        {"name": "boat_code", "type": "text", "unique": True, "values": {"kind": "pattern", "pattern": "B-##?"}},
        {"name": "hire_price", "type": "number", "values": {"kind": "numbers", "low": 5, "high": 40, "step": 0.5}},
        {"name": "rig", "type": "text", "values": {"kind": "choices", "options": ["sloop", "cat"], "weights": [3, 1]}},
    ],
    "checks": [{"column": "hire_price", "op": ">=", "value": 5}],
}
SAILORS: dict[str, Any] = {
    "name": "sailors",
    "key": "sailor_id",
    "rows": 30,
    "references": [{"column": "taught_by_id", "table": "sailors"}],
    "columns": [
        {"name": "sailor_name", "type": "text", "values": {"kind": "faker", "provider": "person"}},
        {"name": "email", "type": "text", "unique": True, "values": {"kind": "email", "of": "sailor_name"}},
        {"name": "is_novice", "type": "boolean", "values": {"kind": "flag", "share": 0.4}},
    ],
}
HIRES: dict[str, Any] = {
    "name": "hires",
    "key": "hire_id",
    "rows": 60,
    "references": [
        {"column": "boat_id", "table": "boats"},
        {"column": "sailor_id", "table": "sailors", "skewed": True},
        {"column": "skipper_id", "table": "sailors", "missing": 0.5},
    ],
    "columns": [
        {"name": "hired_on", "type": "date", "values": {"kind": "dates", "first": "2025-01-01", "last": "2025-06-30"}},
        {
            "name": "returned_on",
            "type": "date",
            "missing": 0.2,
            "values": {"kind": "days_after", "of": "hired_on", "fewest": 1, "most": 9},
        },
        {"name": "starts_at", "type": "time", "values": {"kind": "times", "first": "08:00", "last": "12:00"}},
        {"name": "hours", "type": "integer", "values": {"kind": "numbers", "low": 1, "high": 8, "shape": "skewed"}},
        {
            "name": "hourly_price",
            "type": "number",
            "values": {"kind": "copied", "through": "boat_id", "of": "hire_price"},
        },
        {"name": "total", "type": "number", "values": {"kind": "product", "of": ["hours", "hourly_price"]}},
    ],
    "unique_together": ["boat_id", "sailor_id"],
    "checks": [
        {"column": "returned_on", "op": ">", "other": "hired_on"},
        {"column": "total", "op": "<=", "value": 320},
    ],
}


def boat_hire(**changed: dict[str, Any]) -> DatabaseSpec:
    """The boat hire, with changed keys of the tables `boats`, `sailors` or `hires`."""
    tables = [table | changed.get(table["name"], {}) for table in (BOATS, SAILORS, HIRES)]
    return DatabaseSpec.model_validate(
        {"title": "boat hire", "description": "It hires boats to sailors by the hour.", "tables": tables}
    )


def with_column(**column: Any) -> DatabaseSpec:
    """The boat hire with one more column in the table boats."""
    return boat_hire(boats={"columns": [*BOATS["columns"], {"name": "more", **column}]})


_words = st.lists(st.text("abcdefg ", min_size=1, max_size=5).map(lambda w: f"w{w.strip()}"), min_size=1, max_size=6)
_cents = st.integers(-500_000, 500_000).map(lambda cents: cents / 100)
_days = st.dates().map(lambda day: day.isoformat())
_times = st.times().map(lambda time: time.strftime("%H:%M"))

GENERATORS: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "faker": st.fixed_dictionaries({"provider": st.sampled_from(["person", "city", "job", "iban", "phone", "isbn"])}),
    "choices": st.one_of(
        st.fixed_dictionaries(
            {"options": options}, optional={"weights": st.lists(st.floats(0.1, 9), min_size=2, max_size=5)}
        )
        for options in (_words, st.lists(st.integers(-9, 9), max_size=5), st.lists(_cents, max_size=5))
    ),
    "words": st.fixed_dictionaries({"parts": st.lists(_words, max_size=3)}),
    "pattern": st.fixed_dictionaries({"pattern": st.text("AB-#?", max_size=9)}),
    "numbers": st.fixed_dictionaries(
        {"low": _cents, "high": _cents},
        optional={
            "step": st.integers(0, 500).map(lambda cents: cents / 100),
            "shape": st.sampled_from(["normal", "skewed"]),
        },
    ),
    "dates": st.fixed_dictionaries({"first": _days, "last": _days}),
    "times": st.fixed_dictionaries({"first": _times, "last": _times}, optional={"step_minutes": st.integers(0, 90)}),
    "flag": st.fixed_dictionaries({"share": st.floats(0, 1)}),
    "product": st.fixed_dictionaries({"of": st.lists(st.sampled_from(["c0", "c1", "c2"]), max_size=3)}),
    "days_after": st.fixed_dictionaries(
        {"of": st.sampled_from(["c0", "c1", "c2"]), "fewest": st.integers(-50, 50), "most": st.integers(-50, 50)}
    ),
    "copied": st.fixed_dictionaries(
        {"through": st.just("boat_id"), "of": st.sampled_from(["hire_price", "rig", "boat_code"])}
    ),
    "email": st.fixed_dictionaries({"of": st.sampled_from(["c0", "c1", "c2"])}),
}
_TYPES = {
    "faker": ["text"], "choices": ["text", "integer", "number"], "words": ["text"], "pattern": ["text"],
    "numbers": ["integer", "number"], "dates": ["date"], "times": ["time"], "flag": ["boolean"],
    "product": ["integer", "number"], "days_after": ["date"], "copied": ["number", "text"], "email": ["text"],
}  # fmt: skip


@st.composite
def columns(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Up to six columns of any generators, valid or not."""
    drawn = []
    for number in range(draw(st.integers(1, 6))):
        kind = draw(st.sampled_from(sorted(GENERATORS)))
        drawn.append(
            {
                "name": f"c{number}",
                "type": draw(st.sampled_from(_TYPES[kind])),
                "values": {"kind": kind} | draw(GENERATORS[kind]),
                "unique": draw(st.booleans()),
                "missing": draw(st.sampled_from([0, 0, 0.3])),
            }
        )
    return drawn


@st.composite
def checks(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Up to two comparisons of these columns, which may hold or not."""
    name = st.sampled_from([f"c{number}" for number in range(6)])
    literal = st.one_of(_cents, st.sampled_from([0, -5000, 5000]), _days)
    drawn = []
    for _ in range(draw(st.integers(0, 2))):
        right = {"other": draw(name)} if draw(st.booleans()) else {"value": draw(literal)}
        drawn.append({"column": draw(name), "op": draw(st.sampled_from([">", ">=", "<", "<="]))} | right)
    return drawn
