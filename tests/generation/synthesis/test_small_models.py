"""What Qwen2.5-Coder-0.5B-Instruct answered or was refused for in recorded trials ends in a database that passes all
checks, or cannot be written under the answer's schema."""

from __future__ import annotations

import json
from typing import Any

import pytest
import xgrammar
from jsonschema import Draft202012Validator, ValidationError, validate

from generation.database.spec import TableOutline, TableSpec
from generation.llm.contexts import LinkContext
from generation.llm.meter import Meter
from generation.synthesis import answer_schemas
from generation.synthesis.outline_checks import outline_problems
from generation.synthesis.outline_corrections import corrected
from generation.synthesis.problems import Problem
from generation.synthesis.reading import read_outline, read_table
from generation.synthesis.table_checks import table_problems
from generation.synthesis.table_corrections import usable_part
from generation.synthesis.writer import Candidate, Idea, RepairSettings, write_candidate
from tests.generation.helpers.database_answers import BoatHireLLM, step
from tests.generation.helpers.database_specs import LIMITS

SCHOOL = (
    '{"description": "It teaches students in courses held by teachers.", "tables": [{"name": "courses", "refers_to": [], '
    '"rows": 100}, {"name": "teachers", "refers_to": [], "rows": 100}, {"name": "students", "refers_to": [], "rows": 100}], '
    '"title": "language school"}'
)
"""An outline as it was recorded: nothing joins the tables."""
PERSON = {"name": "full_name", "type": "text", "kind": "faker", "provider": "person"}
JOINED = {"name": "joined_on", "type": "date", "kind": "dates", "first": "2024-01-01", "last": "2025-01-01"}
OWNERS: dict[str, Any] = {
    "columns": [
        PERSON | {"name": "owner_name", "missing": 10.0},
        {"name": "owner_email", "type": "text", "kind": "email", "of": "owners", "missing": 100.0},
        {"name": "treatment_name", "type": "text", "kind": "words", "parts": [["Dr. Wu's treatment"]]},
        JOINED,
        PERSON,
    ],
    "checks": [{"column": "full_name", "op": ">", "value": 0}],
}
"""The faults that were recorded of owners, pets and treatments."""
THREE = LIMITS.model_copy(update={"tables": (3, 4), "columns": (2, 4)})


async def written(llm: BoatHireLLM) -> Candidate:
    sentence = "A language school teaches students in courses held by teachers."
    repairs = RepairSettings(attempts=2, outlines=1)
    return await write_candidate(Idea(number=6, domain="school", sentence=sentence), Meter(llm), THREE, repairs, (), 0)


async def test_tables_that_nothing_joins_are_joined_by_links_that_the_model_chooses() -> None:
    def answer(request: Any, number: int) -> Any:
        if isinstance(request.context, LinkContext):
            return {"link": request.context.links[-1]}
        return SCHOOL if step(request) == "outline" else {"columns": [PERSON, JOINED]}

    llm = BoatHireLLM(answer)
    candidate = await written(llm)
    assert (candidate.status, candidate.refused) == ("accepted", ()), candidate.reason
    assert candidate.spec
    links = [request for request in llm.requests if step(request) == "link"]
    offered = [request.json_schema["properties"]["link"]["enum"] for request in links if request.json_schema]
    assert [len(options) for options in offered] == [4, 4]
    assert "each course refers to one teacher" in offered[0]
    assert {t.name: [r.column for r in t.references] for t in candidate.spec.tables} == {
        "courses": [],
        "teachers": [],
        "students": ["course_id", "teacher_id"],
    }


def outline_of(*tables: dict[str, Any]) -> str:
    return json.dumps({"title": "bees", "description": "It looks after hives of bees.", "tables": tables})


@pytest.mark.parametrize(
    ("text", "left_out", "remaining"),
    [
        (
            outline_of(
                {"name": "orders", "rows": 50000, "refers_to": ["deliveries"]},
                {"name": "consume_orders", "rows": 9, "refers_to": ["orders"]},
                {"name": "bakeries", "rows": 9, "refers_to": ["consume_orders", "cake_orders"]},
                {"name": "consume_orders", "rows": 9, "refers_to": ["bakes"]},
            ),
            [
                "consume_orders: another table has this name",
                "orders.delivery_id: deliveries is not one of the tables",
                "bakeries.cake_order_id: cake_orders is not one of the tables",
            ],
            {"orders": [], "consume_orders": ["orders"], "bakeries": ["consume_orders"]},
        ),
        (
            outline_of(
                {"name": "hives", "rows": 9},
                {"name": "bees", "rows": 9, "refers_to": ["hives"]},
                {"name": "visits", "rows": 9, "refers_to": ["hive"]},
                {"name": "hive", "rows": 9},
            ),
            ["hive: another table has this name"],
            {"hives": [], "bees": ["hives"], "visits": ["hives"]},
        ),
        (
            outline_of(
                {"name": "bees", "rows": 500, "refers_to": ["bees", "hives"]},
                {"name": "hives", "rows": 9, "refers_to": [{"table": "sales", "column": "hive_id"}, "recordings"]},
                {"name": "recordings", "rows": 500, "refers_to": ["bees"]},
                {"name": "sales", "rows": 500, "refers_to": ["recordings", {"table": "sales", "column": "follows_id"}]},
            ),
            [
                "bees.bee_id: is the key of the table itself",
                "hives.hive_id: is the key of the table itself",
                "recordings.bee_id: bees refers to recordings already",
            ],
            {"bees": ["hives"], "hives": ["recordings"], "recordings": [], "sales": ["recordings", "sales"]},
        ),
    ],
)
def test_outlines_are_corrected(text: str, left_out: list[str], remaining: dict[str, list[str]]) -> None:
    outline, missing = corrected(read_outline(text), THREE)
    assert missing == left_out
    assert {table.name: [r.table for r in table.references] for table in outline.tables} == remaining
    assert outline_problems(outline, THREE) == []


def owners() -> TableSpec:
    outline = read_outline(outline_of({"name": "owners", "rows": 60, "refers_to": []}))
    return read_table(json.dumps(OWNERS), outline.tables[0])


def test_of_an_answer_that_is_not_repaired_the_usable_part_remains() -> None:
    part = usable_part(owners(), lambda table: table_problems(table, {}, THREE), THREE)
    assert part
    table, left_out = part
    assert [column.name for column in table.columns] == ["joined_on", "full_name"]
    assert (table.checks, table.rows) == ((), 60)
    assert [text.partition(":")[0] for text in left_out] == [
        "owners, owner_name",
        "owners, owner_email",
        "owners, treatment_name",
        "owners, check of full_name",
    ]
    strict = THREE.model_copy(update={"columns": (3, 6)})
    assert usable_part(owners(), lambda table: table_problems(table, {}, strict), strict) is None


def test_surplus_columns_are_left_out_at_once() -> None:
    flags = [{"name": f"flag_{n}", "type": "boolean", "kind": "flag", "share": 0.5, "unique": True} for n in range(400)]
    outline = read_outline(outline_of({"name": "owners", "rows": 60, "refers_to": []}))
    table = read_table(json.dumps({"columns": [PERSON, JOINED, *flags]}), outline.tables[0])
    looked_at = []

    def problems_of(table: TableSpec) -> list[Problem]:
        looked_at.append(len(table.columns))
        return table_problems(table, {}, THREE)

    part = usable_part(table, problems_of, THREE)
    assert part
    assert [column.name for column in part[0].columns] == ["full_name", "joined_on", "flag_0", "flag_1"]
    assert max(looked_at) == 8
    assert part[1][0] == "owners, flag_6: there are 402 columns besides key and references; expected at most 4"
    assert len(part[1]) == 398 + 2  # two flags are no longer unique


def test_rows_are_halved_until_their_names_suffice() -> None:
    words = {"name": "pet_name", "type": "text", "kind": "words", "parts": [["Rex", "Tom", "Kit"], ["Red", "Old"]]}
    outline = read_outline(outline_of({"name": "pets", "rows": 100, "refers_to": []}))
    table = read_table(json.dumps({"columns": [words, JOINED]}), outline.tables[0])
    part = usable_part(table, lambda table: table_problems(table, {}, THREE), THREE)
    assert part
    assert (part[0].rows, len(part[0].columns), len(part[1])) == (12, 2, 3)
    assert "no column names a pet" in part[1][0]
    many = THREE.model_copy(update={"rows": (20, 400)})
    assert usable_part(table, lambda table: table_problems(table, {}, many), many) is None


async def test_a_model_that_repeats_faults_of_columns_still_makes_a_database() -> None:
    def answer(request: Any, number: int) -> Any:
        return {"outline": SCHOOL, "link": None, "teachers": OWNERS}.get(step(request), {"columns": [PERSON, JOINED]})

    candidate = await written(BoatHireLLM(answer))
    assert candidate.status == "accepted", candidate.reason
    assert candidate.spec
    assert {len(table.columns) for table in candidate.spec.tables} == {2}
    assert len(candidate.refused) == 2
    assert len(candidate.left_out) == 4


ACTORS = TableOutline(name="actors", key="actor_id", rows=60)
KEY = {"name": "actor_id"}


def test_a_schema_admits_none_of_the_recorded_faults() -> None:
    named = answer_schemas.table(ACTORS, (2, 5), {}, named_rows=60)
    validate({"columns": [KEY, PERSON, JOINED]}, named)
    for column in OWNERS["columns"][:3]:
        with pytest.raises(ValidationError):
            validate({"columns": [KEY, PERSON, column]}, named)
    with pytest.raises(ValidationError):
        validate({"columns": [KEY, JOINED, JOINED]}, named)  # no column names an actor
    validate({"columns": [KEY, JOINED, JOINED]}, answer_schemas.table(ACTORS, (2, 5), {}))
    outline = json.loads(SCHOOL)
    validate(outline, answer_schemas.outline((3, 4), (5, 400)))
    outline["tables"][0]["rows"] = 40_000
    with pytest.raises(ValidationError):
        validate(outline, answer_schemas.outline((3, 4), (5, 400)))
    for title in ("", "owlery" * 50):
        with pytest.raises(ValidationError):
            validate(json.loads(SCHOOL) | {"title": title}, answer_schemas.outline((3, 4), (5, 400)))


@pytest.mark.parametrize("name", ["actor_name", "video", "paid", "address_2", "kind_of_i2", "i2"])
def test_columns_have_names(name: str) -> None:
    assert are_columns(KEY, PERSON | {"name": name}, JOINED)


@pytest.mark.parametrize("name", ["actor_id", "id", "actor_id1", "name_of_actor_id", "2_seats", "Name"])
def test_keys_and_references_have_their_place(name: str) -> None:
    """Recorded: without one, actor_id became the first of the other columns, as words, and then actor_id1."""
    assert not are_columns(KEY, PERSON | {"name": name}, JOINED)
    assert not are_columns(KEY, PERSON, JOINED | {"name": name})
    assert not are_columns(PERSON, JOINED)


def are_columns(*columns: dict[str, Any]) -> bool:
    """Whether the answer's schema admits them, by jsonschema and by the grammar that vLLM makes of it."""
    schema, answer = answer_schemas.table(ACTORS, (2, 5), {}, named_rows=60), {"columns": list(columns)}
    by_schema = Draft202012Validator(schema).is_valid(answer)
    bytes_ = xgrammar.TokenizerInfo([bytes([i]) for i in range(256)], xgrammar.VocabType.RAW, stop_token_ids=[0])
    grammar = xgrammar.GrammarCompiler(bytes_).compile_json_schema(json.dumps(schema))
    by_grammar = xgrammar.GrammarMatcher(grammar).accept_string(json.dumps(answer))
    assert by_schema == by_grammar
    return by_schema


def test_the_complete_columns_of_an_answer_that_was_cut_off_are_read() -> None:
    outline = read_outline(outline_of({"name": "owners", "rows": 60, "refers_to": []}))
    table = read_table(json.dumps([PERSON, JOINED]), outline.tables[0])
    assert [column.name for column in table.columns] == ["full_name", "joined_on"]
