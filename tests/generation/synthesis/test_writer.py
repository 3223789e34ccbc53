"""A model writes one database: it sees its refusals, what is valid stays, and reasons are recorded."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from generation.llm.base import Completion, Request
from generation.llm.contexts import TableContext
from generation.llm.meter import Meter
from generation.synthesis.known_schemas import known_schemas
from generation.synthesis.likeness import SchemaNames, names_of
from generation.synthesis.reading import read_outline, read_table
from generation.synthesis.writer import Candidate, Idea, RepairSettings, write_candidate
from tests.generation.helpers.database_answers import OUTLINE, SENTENCE, Answer, BoatHireLLM, step, table_answer
from tests.generation.helpers.database_specs import LIMITS, boat_hire

REPAIRS = RepairSettings(attempts=3, outlines=2)


async def write(llm: BoatHireLLM, idea: Idea | None = None, known: tuple[SchemaNames, ...] = ()) -> Candidate:
    return await write_candidate(idea or Idea(number=0, domain="boats"), Meter(llm), LIMITS, REPAIRS, known, 0)


def only(name: str, *answers: Any) -> Answer:
    """These answers to the first requests of one step, then valid ones."""
    return lambda request, number: answers[number] if step(request) == name and number < len(answers) else None


async def test_a_flawless_model_is_asked_once_for_each_step() -> None:
    llm = BoatHireLLM()
    candidate = await write(llm)
    assert [step(request) for request in llm.requests] == ["sentence", "outline", "boats", "sailors", "hires"]
    assert (candidate.status, candidate.sentence, candidate.refused) == ("accepted", SENTENCE, ())
    expected = boat_hire().model_dump()
    assert candidate.spec
    assert candidate.spec.model_dump() | {"tables": ()} == expected | {"tables": ()}
    assert {t.name: t.columns for t in candidate.spec.tables} == {t.name: t.columns for t in boat_hire().tables}
    assert "Columns of boats: boat_code (text), hire_price (number), rig (text)" in llm.requests[-1].messages[0].content


async def test_a_given_sentence_is_not_asked_for() -> None:
    llm = BoatHireLLM()
    candidate = await write(llm, Idea(number=3, domain="x", sentence="A club lends boats to children."))
    assert step(llm.requests[0]) == "outline"
    assert "A club lends boats to children." in llm.requests[0].messages[0].content
    assert candidate.number == 3


async def test_the_model_sees_its_refusal_and_only_that_step_is_repeated() -> None:
    broken = table_answer("hires") | {"checks": [{"column": "hours", "op": ">", "value": 5}]}
    llm = BoatHireLLM(only("hires", broken))
    candidate = await write(llm)
    assert candidate.status == "accepted"
    assert [step(request) for request in llm.requests].count("boats") == 1
    complaint = llm.requests[-1].messages[-1].content
    assert "check hours > 5.0: the generator of hours makes 1.0 to 8.0" in complaint
    assert candidate.refused == (
        "check hours > 5.0: the generator of hours makes 1.0 to 8.0, so some rows would break it",
    )


def changed_boats(**changed: Any) -> list[dict[str, Any]]:
    """The outline's tables, boats changed."""
    return [table | changed if table["name"] == "boats" else table for table in OUTLINE["tables"]]


@pytest.mark.parametrize(
    ("tables", "left_out"),
    [
        (changed_boats(rows=40_000), ()),
        (
            changed_boats(refers_to=[{"table": "boats", "column": "boat_id"}]),
            ("boats.boat_id: is the key of the table itself",),
        ),
        (changed_boats(refers_to=["dock"]), ("boats.dock_id: dock is not one of the tables",)),
        (
            [{"name": "storms", "rows": 20, "refers_to": []}, *OUTLINE["tables"]],
            ("storms: cannot be joined with the other tables",),
        ),
        (
            [*OUTLINE["tables"], {"name": "storms", "rows": 20, "refers_to": ["weather"]}],
            ("storms.weather_id: weather is not one of the tables", "storms: cannot be joined with the other tables"),
        ),
    ],
)
async def test_what_needs_no_second_answer_is_corrected(
    tables: list[dict[str, Any]], left_out: tuple[str, ...]
) -> None:
    llm = BoatHireLLM(only("outline", OUTLINE | {"tables": tables}))
    candidate = await write(llm)
    assert [step(request) for request in llm.requests].count("outline") == 1
    assert (candidate.status, candidate.refused, candidate.left_out) == ("accepted", (), left_out)
    assert candidate.spec
    accepted = {t.name: (t.rows, [r.table for r in t.references]) for t in candidate.spec.tables}
    boats = LIMITS.rows[1] if tables[1]["rows"] == 40_000 else 12
    assert accepted == {
        "boats": (boats, []),
        "sailors": (30, ["sailors"]),
        "hires": (60, ["boats", "sailors", "sailors"]),
    }


async def test_tables_are_not_left_out_if_too_few_would_remain() -> None:
    """Two pairs of tables where three tables are the fewest, and no link that the model chooses."""
    pairs = [
        {"name": name, "rows": 20, "refers_to": refers_to}
        for name, refers_to in (("boats", []), ("hires", ["boats"]), ("storms", []), ("floods", ["storms"]))
    ]
    answers = {"outline": OUTLINE | {"tables": pairs}, "link": {"link": "each boat refers to one weather"}}
    llm = BoatHireLLM(lambda request, number: answers.get(step(request)))
    limits = LIMITS.model_copy(update={"tables": (3, 6)})
    candidate = await write_candidate(Idea(number=0, domain="boats"), Meter(llm), limits, REPAIRS, (), 0)
    assert (candidate.status, candidate.kind) == ("rejected", "unreadable")
    assert "\"link\" must be one of the possible links, not 'each boat refers to one weather'" in candidate.reason


async def test_the_model_learns_that_rows_do_not_vary() -> None:
    flat = {"columns": [{"name": "paid", "type": "boolean", "kind": "flag", "share": 0.5}], "checks": []}
    llm = BoatHireLLM(only("hires", flat | {"unique_together": []}))
    # two references to few rows and one flag: far fewer than 60 different rows
    small = OUTLINE | {
        "tables": [{**t, "refers_to": ["boats"]} if t["name"] == "hires" else t for t in OUTLINE["tables"]]
    }
    small["tables"].append({"name": "jetties", "rows": 9, "refers_to": ["boats", "sailors"]})
    llm.answer = lambda request, number: (
        small
        if step(request) == "outline"
        else flat
        if step(request) == "hires" and not number
        else {"columns": [{"name": "depth", "type": "number", "kind": "numbers", "low": 1, "high": 9, "step": 0.01}]}
        if step(request) in ("hires", "jetties")
        else None
    )
    candidate = await write(llm)
    assert candidate.status == "accepted", candidate.reason
    assert "differ in more than their key" in candidate.refused[0]


async def test_a_table_that_cannot_be_written_is_left_out() -> None:
    whole = OUTLINE | {"tables": [*OUTLINE["tables"], {"name": "storms", "rows": 20, "refers_to": ["boats"]}]}
    llm = BoatHireLLM(lambda request, number: {"outline": whole, "storms": f"No idea {number}."}.get(step(request)))
    candidate = await write(llm)
    assert candidate.status == "accepted"
    assert candidate.spec
    assert {table.name for table in candidate.spec.tables} == {"boats", "sailors", "hires"}
    assert len(candidate.left_out) == 1
    assert candidate.left_out[0].startswith("storms: nothing usable in 3 attempts")


async def test_references_to_a_table_left_out_are_dropped_and_what_falls_apart_is_refused() -> None:
    llm = BoatHireLLM(lambda request, number: f"No idea {number}." if step(request) == "hires" else None)
    candidate = await write(llm)
    assert (candidate.status, candidate.kind, candidate.spec) == ("rejected", "unreadable", None)
    assert "cannot be joined" in candidate.reason
    assert [step(request) for request in llm.requests].count("outline") == REPAIRS.outlines


async def test_the_kind_is_that_of_the_table_left_out_whatever_follows() -> None:
    broken = {"columns": [{"name": "is_leased", "type": "boolean", "kind": "flag", "share": 0.5}]}
    tables = [
        {"name": "boats", "rows": 12, "refers_to": []},
        {"name": "sailors", "rows": 30, "refers_to": ["boats"]},
    ]
    outline = OUTLINE | {"tables": tables}
    llm = BoatHireLLM(lambda request, number: {"outline": outline, "boats": broken}.get(step(request)))
    candidate = await write(llm)
    assert [step(request) for request in llm.requests][-1] == "sailors", "accepted after boats was left out"
    assert (candidate.status, candidate.kind) == ("rejected", "variety"), candidate.reason


async def test_an_answer_cut_off_after_a_refused_one_is_unreadable() -> None:
    class CutOffLLM(BoatHireLLM):
        async def complete(self, request: Request) -> Completion:
            completion = await super().complete(request)
            second = step(request) == "outline" and len(self.requests) % 2
            message = completion.message.model_copy(update={"content": "{"})
            return replace(completion, message=message, finish_reason="length") if second else completion

    unsized = OUTLINE | {"tables": []}
    llm = CutOffLLM(lambda request, number: unsized if step(request) == "outline" else None)
    repairs = RepairSettings(attempts=2, outlines=1)
    candidate = await write_candidate(Idea(number=0, domain="boats"), Meter(llm), LIMITS, repairs, (), 0)
    assert [step(request) for request in llm.requests] == ["sentence", "outline", "outline"]
    assert (candidate.status, candidate.kind) == ("rejected", "unreadable"), candidate.reason


async def test_a_copy_is_refused_and_another_outline_asked_for() -> None:
    known = (names_of(boat_hire(), "the bundled boat hire"),)
    llm = BoatHireLLM()
    candidate = await write(llm, known=known)
    assert (candidate.status, candidate.kind) == ("rejected", "copy")
    assert "100% alike the bundled boat hire" in candidate.reason
    outlines = [request for request in llm.requests if step(request) == "outline"]
    assert len(outlines) == 2
    assert "refused, and why:\n- its tables and columns are 100% alike" in outlines[1].messages[0].content


async def test_a_real_known_schema_does_not_refuse_the_boat_hire() -> None:
    assert (await write(BoatHireLLM(), known=known_schemas(None, None))).status == "accepted"


@pytest.mark.parametrize(
    ("name", "answer", "kind"),
    [
        ("sentence", {"sentence": "Boats."}, "unreadable"),
        ("sentence", {"sentence": "A society shows old lighthouses to visitors and keeps records."}, "copy"),
        ("outline", "I would use three tables.", "unreadable"),
        ("outline", OUTLINE | {"title": "Boat_hire 7"}, "names"),
        ("outline", OUTLINE | {"tables": []}, "size"),
    ],
)
async def test_a_model_that_repeats_a_fault_ends_with_its_kind(name: str, answer: Any, kind: str) -> None:
    candidate = await write(BoatHireLLM(lambda request, number: answer if step(request) == name else None))
    assert (candidate.status, candidate.kind) == ("rejected", kind), candidate.reason
    assert "repeats its answer" in candidate.reason


async def test_the_schema_of_a_table_allows_only_what_can_be_copied() -> None:
    llm = BoatHireLLM()
    await write(llm)

    def copied(request: Request) -> list[tuple[Any, Any]]:
        assert isinstance(request.context, TableContext)
        assert request.json_schema
        options = request.json_schema["properties"]["columns"]["items"]["anyOf"]
        copying = [option["properties"] for option in options if option["properties"]["kind"]["enum"] == ["copied"]]
        return [(part["through"]["enum"], part["of"]["enum"]) for part in copying]

    assert copied(llm.requests[2]) == []
    assert (["boat_id"], ["boat_code", "hire_price", "rig"]) in copied(llm.requests[4])
    assert len(copied(llm.requests[4])) == 3


def test_answers_are_read_as_models_write_them() -> None:
    outline = read_outline(
        '```json\n{"title": "Boat Hire Service", "description": "It hires boats.", "tables": [{"name": "Boats", "rows": "12"}, '
        '{"name": "HireLines", "rows": 30, "refers_to": "boat"}, {"name": "crews", "rows": 9, "refers_to": ["boat_id"]}]}\n```'
    )
    assert outline.title == "boat hire"
    assert [(table.name, table.key) for table in outline.tables] == [
        ("boats", "boat_id"),
        ("hire_lines", "hire_line_id"),
        ("crews", "crew_id"),
    ]
    assert [(r.column, r.table) for table in outline.tables for r in table.references] == [("boat_id", "boats")] * 2
    table = read_table(
        '{"columns": [{"name": "Boat ID", "type": "int", "kind": "numbers", "low": 1, "high": 2}, {"name": "dueOn", "type": '
        '"date", "kind": "days_after", "of": "lent_on", "fewest": 1, "most": 2}, {"name": "lent_on", "type": "date", "values": '
        '{"kind": "dates", "first": "2025-01-01", "last": "2025-02-01"}}]}',
        outline.tables[1],
    )
    assert [column.name for column in table.columns] == ["lent_on", "due_on"], "the reference is there already"
    with pytest.raises(ValueError, match=r"column 'price': Input tag 'python' found"):
        read_table(
            '{"columns": [{"name": "price", "type": "number", "kind": "python", "code": "1"}]}', outline.tables[0]
        )
