"""Every reason for which a proposed database is refused, each with its kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from core.settings import UserError, typed
from generation.database.spec import DatabaseSpec, Outline, TableSpec
from generation.synthesis.known_schemas import known_schemas
from generation.synthesis.likeness import likeness, most_alike, names_of, schema_names
from generation.synthesis.limits import Limits
from generation.synthesis.outline_checks import outline_problems, parents_first
from generation.synthesis.sqlite_file import write_database, written_problems
from generation.synthesis.table_checks import table_problems
from tests.generation.helpers.database_specs import BOATS, HIRES, LIMITS, SAILORS, boat_hire, with_column


def outline(**changed: Any) -> Outline:
    tables = [
        {key: table.get(key, ()) for key in ("name", "key", "rows", "references")} for table in (BOATS, SAILORS, HIRES)
    ]
    whole = {"title": "boat hire", "description": "It hires boats to sailors by the hour.", "tables": tables}
    return Outline.model_validate(whole | changed)


def test_the_valid_outline_is_valid() -> None:
    assert outline_problems(outline(), LIMITS) == []
    assert [t.name for t in (parents_first(outline()) or outline()).tables] == ["boats", "sailors", "hires"]
    backwards = outline(tables=outline().tables[::-1])
    assert [t.name for t in (parents_first(backwards) or backwards).tables] == ["sailors", "boats", "hires"]


def tables(**changed: Any) -> dict[str, Any]:
    """The outline's tables, the first one changed."""
    first, *others = outline().tables
    return {"tables": [first.model_dump() | changed, *others]}


@pytest.mark.parametrize(
    ("changed", "kind", "words"),
    [
        ({"title": "Boat_Hire 3000"}, "names", "title"),
        ({"title": "the great harbour boat hire company"}, "names", "title"),
        ({"title": "harbour" * 50}, "names", "has 350 characters; expected at most 60"),
        ({"description": "Boats."}, "names", "description"),
        ({"tables": []}, "size", "0 tables"),
        (tables(rows=3), "size", "3 rows; expected 5 to 400"),
        (tables(rows=4000), "size", "4000 rows"),
        (tables(name="Boats!"), "names", "snake_case"),
        (tables(name="group"), "names", "SQL uses that word"),
        (tables(name="sqlite_boats"), "names", "SQL uses that word"),
        (tables(name="sailor"), "names", "two tables"),
        (tables(key="rowid"), "names", "SQL uses that word"),
        (tables(references=[{"column": "dock_id", "table": "docks"}]), "references", "not one of the tables"),
        (tables(references=[{"column": "boat_id", "table": "sailors"}]), "names", "two columns"),
        (tables(references=[{"column": "sailor_id", "table": "sailors", "missing": 1}]), "references", "missing"),
        (tables(references=[{"column": "hire_id", "table": "hires"}]), "references", "circle"),
        ({"tables": [*outline().tables[:2]]}, "references", "cannot be joined"),
    ],
)
def test_refused_outlines(changed: dict[str, Any], kind: str, words: str) -> None:
    problems = outline_problems(outline(**changed), LIMITS)
    assert any(problem.kind == kind and words in problem.text for problem in problems), problems


def problems_of(spec: DatabaseSpec) -> list[tuple[str, str]]:
    by_name = {table.name: table for table in spec.tables}
    return [tuple(problem) for table in spec.tables for problem in table_problems(table, by_name, LIMITS)]


def numbers(**values: Any) -> dict[str, Any]:
    return {"type": "number", "values": {"kind": "numbers", "low": 0, "high": 9} | values}


def of(kind: str, **values: Any) -> dict[str, Any]:
    return {"kind": kind} | values


@pytest.mark.parametrize(
    ("spec", "kind", "words"),
    [
        (with_column(**numbers()), "", ""),
        (boat_hire(boats={"columns": []}), "size", "0 columns"),
        (with_column(**numbers() | {"name": "select"}), "names", "SQL uses that word"),
        (with_column(**numbers() | {"name": "rig"}), "names", "two columns"),
        (with_column(**numbers() | {"name": "boat_id"}), "names", "two columns"),
        (with_column(**numbers() | {"missing": 0.95}), "generators", "missing"),
        (with_column(**numbers() | {"type": "text"}), "types", "expected integer or number"),
        (with_column(**numbers(step=0.5) | {"type": "integer"}), "types", "expected number"),
        (with_column(type="date", values=of("flag", share=0.5)), "types", "expected boolean"),
        (with_column(**numbers(high=0)), "generators", "low must be below high"),
        (with_column(**numbers(step=0.001)), "generators", "multiples of 0.01"),
        (with_column(**numbers(high=float("inf"))), "generators", "multiples of 0.01"),
        (with_column(type="text", values=of("choices", options=["one"])), "generators", "different values"),
        (with_column(type="text", values=of("choices", options=["a", "a"])), "generators", "different values"),
        (with_column(type="text", values=of("choices", options=["a", "b')"])), "generators", "plain words"),
        (with_column(type="text", values=of("choices", options=["a", "b"], weights=[1])), "generators", "1 weights"),
        (with_column(type="text", values=of("choices", options=["a", "b"], weights=[1, 0])), "generators", "above 0"),
        (with_column(type="number", values=of("choices", options=[0.125, 1.0])), "generators", "multiple of 0.01"),
        (with_column(type="text", values=of("words", parts=[])), "generators", "1 to 4 lists"),
        (with_column(type="text", values=of("words", parts=[["a"], ['"']])), "generators", "plain words"),
        (
            with_column(type="text", unique=True, values=of("words", parts=[["a b", "c"], ["d"]])),
            "generators",
            "single words",
        ),
        (with_column(type="text", values=of("pattern", pattern="fixed")), "generators", "# for a digit"),
        (with_column(type="text", values=of("pattern", pattern="#'; --")), "generators", "# for a digit"),
        (
            with_column(type="date", values=of("dates", first="2025-02-30", last="2025-03-01")),
            "generators",
            "days such as",
        ),
        (
            with_column(type="date", values=of("dates", first="2025-W10-1", last="2025-W20-1")),
            "generators",
            "days such as",
        ),
        (
            with_column(type="date", values=of("dates", first="2025-02-03", last="2025-02-01")),
            "generators",
            "before last",
        ),
        (with_column(type="date", values=of("dates", first="1066-10-14", last="2025-02-01")), "generators", "1900"),
        (with_column(type="time", values=of("times", first="8", last="12:00")), "generators", "times such as"),
        (with_column(type="time", values=of("times", first="12:00", last="08:00")), "generators", "earlier than last"),
        (with_column(type="boolean", values=of("flag", share=1)), "generators", "share"),
        (with_column(type="number", values=of("product", of=["hire_price", "weight"])), "generators", "stands before"),
        (with_column(type="number", values=of("product", of=["rig"])), "generators", "a number column"),
        (with_column(type="date", values=of("days_after", of="rig", fewest=1, most=2)), "generators", "a date column"),
        (with_column(type="text", values=of("email", of="hire_price")), "generators", "with names"),
        (with_column(type="text", values=of("copied", through="dock_id", of="x")), "generators", "not a reference"),
        (with_column(**numbers() | {"unique": True}), "constraints", "only 10 values"),
        (with_column(**numbers(high=99, shape="normal") | {"unique": True}), "constraints", "uniform"),
        (
            with_column(type="number", unique=True, values=of("product", of=["hire_price"])),
            "constraints",
            "cannot be unique",
        ),
        (boat_hire(boats={"columns": BOATS["columns"][1:]}), "variety", "no column names a boat"),
    ],
)
def test_refused_columns(spec: DatabaseSpec, kind: str, words: str) -> None:
    problems = problems_of(spec)
    if not kind:
        assert not problems
    else:
        assert any(of_kind == kind and words in text for of_kind, text in problems), problems


UNIQUE_BERTH = {
    "name": "berth",
    "type": "integer",
    "unique": True,
    "values": {"kind": "choices", "options": list(range(1, 41))},
}

FLAGS = [{"name": f"flag_{n}", "type": "boolean", "values": {"kind": "flag", "share": 0.5}} for n in range(5)]


@pytest.mark.parametrize(
    ("hires", "words"),
    [
        ({"unique_together": ["boat_id"]}, "at least two"),
        ({"unique_together": ["boat_id", "hours"]}, "neither a reference nor"),
        ({"unique_together": ["boat_id", "skipper_id"]}, "never be missing"),
        ({"rows": 200}, "only 360 combinations"),
        ({"columns": [*HIRES["columns"], UNIQUE_BERTH], "unique_together": ["boat_id", "berth"]}, "unique by itself"),
        (
            {"columns": [*HIRES["columns"], *FLAGS], "unique_together": [f"flag_{n}" for n in range(5)]},
            "5 columns; expected at most 4",
        ),
        ({"checks": [{"column": "hours", "op": ">", "value": 1}]}, "some rows would break it"),
        ({"checks": [{"column": "hours", "op": "<", "value": 8}]}, "some rows would break it"),
        ({"checks": [{"column": "returned_on", "op": "<", "other": "hired_on"}]}, "some rows would break it"),
        ({"checks": [{"column": "returned_on", "op": "<", "value": "2025-07-05"}]}, "2025-01-02 to 2025-07-09"),
        ({"checks": [{"column": "hourly_price", "op": "<", "value": 40}]}, "5.0 to 40.0"),
        ({"checks": [{"column": "total", "op": ">", "value": 5}]}, "5.0 to 320.0"),
        ({"checks": [{"column": "hours", "op": ">", "value": 0, "other": "total"}]}, "exactly one"),
        ({"checks": [{"column": "hours", "op": ">"}]}, "exactly one"),
        ({"checks": [{"column": "days", "op": ">", "value": 0}]}, "not one of the columns"),
        ({"checks": [{"column": "hours", "op": ">", "value": "2025-01-01"}]}, "its own kind"),
        ({"checks": [{"column": "hours", "op": "<", "other": "hired_on"}]}, "its own kind"),
        ({"checks": [{"column": "starts_at", "op": "<", "other": "hired_on"}]}, "its own kind"),
        ({"checks": [{"column": "hired_on", "op": "<", "value": "tomorrow"}]}, "its own kind"),
    ],
)
def test_refused_constraints(hires: dict[str, Any], words: str) -> None:
    problems = problems_of(boat_hire(hires=hires))
    assert any(kind == "constraints" and words in text for kind, text in problems), problems


def test_combinations_that_numpy_cannot_count_are_refused() -> None:
    many = {name: TableSpec.model_validate({**BOATS, "name": name, "rows": 2**32}) for name in ("boats", "docks")}
    references = [{"column": "boat_id", "table": "boats"}, {"column": "dock_id", "table": "docks"}]
    berths = TableSpec.model_validate(
        {**HIRES, "references": references, "unique_together": ["boat_id", "dock_id"], "checks": [], "columns": FLAGS}
    )
    assert [problem.text for problem in table_problems(berths, many, LIMITS)] == [
        "unique_together: there are too many combinations; take fewer columns"
    ]


@pytest.mark.parametrize("bounds", [(5, 3), (0, 5), (-3, -1)])
@pytest.mark.parametrize("field", ["tables", "rows", "columns"])
def test_limits_are_ranges(field: str, bounds: tuple[int, int]) -> None:
    with pytest.raises(UserError, match=f"'{field}'.* first the fewest and then the most"):
        typed(LIMITS.model_dump() | {field: bounds}, Limits)


def test_constraints_at_the_very_bounds_hold() -> None:
    bounds = {"returned_on": ("2025-01-02", "2025-07-09"), "hourly_price": (5, 40), "starts_at": ("08:00", "12:00")}
    ends = [(name, op, value) for name, pair in bounds.items() for op, value in zip((">=", "<="), pair, strict=True)]
    checks = [{"column": name, "op": op, "value": value} for name, op, value in ends]
    assert problems_of(boat_hire(hires={"checks": checks})) == []


def test_rows_are_looked_at_when_they_are_written(tmp_path: Path) -> None:
    few = {"columns": [{"name": "hours", "type": "integer", "values": {"kind": "numbers", "low": 1, "high": 2}}]}
    none = {"missing": 0.9, "name": "left_on", "type": "date"}
    alone = {"references": [{"column": "boat_id", "table": "boats", "missing": 0.9}], "rows": 5, "unique_together": []}
    cases = {
        "same value in all rows": {
            "columns": [HIRES["columns"][3], none | {"values": of("dates", first="2025-01-01", last="2025-01-02")}]
        },
        "differ in more than their key": few | {"references": [{"column": "boat_id", "table": "boats"}]},
        "reaches only": alone | few,
    }
    for words, changed in cases.items():
        spec = boat_hire(hires={"rows": 5, "unique_together": [], "checks": []} | changed)
        kinds = set()
        for seed in range(12):  # rare values may still turn up
            write_database(spec, seed, tmp_path / "trial.sqlite")
            kinds |= {p.kind for p in written_problems(spec, tmp_path / "trial.sqlite", LIMITS) if words in p.text}
        assert kinds, words


def test_a_renamed_copy_of_a_bundled_or_held_out_database_is_found() -> None:
    known = known_schemas(None, None)
    film = next(schema for schema in known if schema.of == "the bundled film_festival")
    renamed = schema_names("copy", ((f"my_{name}", [f"{c}" for c in columns]) for name, columns in film.tables.items()))
    alike, other = most_alike(renamed, known)
    assert other is film
    assert alike > 0.95
    part = schema_names("part", [(name, columns) for name, columns in film.tables.items()][:4])
    assert likeness(part, film) > 0.95, "a part of it is a copy, too"
    assert most_alike(names_of(boat_hire(), "boats"), known)[0] < 0.4


def test_known_schemas_are_unlike_each_other() -> None:
    bundled = [schema for schema in known_schemas(None, None) if "bundled" in schema.of]
    assert len(bundled) == 13
    assert max(likeness(a, b) for a in bundled for b in bundled if a is not b) < LIMITS.likeness


def test_likeness_by_hand() -> None:
    one = schema_names(
        "one", [("boats", ["boat_id", "boat_name", "length"]), ("Sailor", ["name"]), ("jetties", ["depth"])]
    )
    assert one.tables["boat"] == {"name", "length"}
    other = schema_names("other", [("boat", ["name", "width"]), ("captains", ["Captain Name"]), ("moons", ["phase"])])
    # boats: same name, one of three columns: (1 + 1/3) / 2; sailors and captains share their only column: 1; jetties: 0
    assert likeness(one, other) == pytest.approx((2 / 3 + 1) / 3)
    assert likeness(one, one) == 1
