"""Stage 1 with the stand-in's answers: its toolsets chain, repeat for a seed, and name their provenance."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.messages import ToolSpec
from core.settings import UserError, typed
from generation.llm.meter import Meter
from generation.prompts import prompt_ids
from generation.scripted.llm import ScriptedLLM
from generation.seeds.bundled import HELD_OUT, TRAINING, BundledSeeds
from generation.tools.answers import read_questions, read_tools
from generation.tools.from_questions import ToolmakingSettings, make_tools, refuse_held_out
from generation.tools.merging import merge, read_tool
from generation.tools.toolset import ToolsetProvenance
from tests.generation.helpers.question_tools import GIVEN, SEED, SETTINGS, adds_up, names, nested


async def test_the_stand_in_makes_a_chaining_set_and_the_rules_catch_its_junk() -> None:
    settings = ToolmakingSettings(max_tools=12, batch=5, attempts=2, questions=20, expansion=10)
    meter = Meter(ScriptedLLM())
    toolset = await make_tools(SEED, meter, settings)
    assert set(names(toolset)) > {tool["name"] for tool in GIVEN}
    assert 6 <= len(toolset.tools) <= 12
    assert adds_up(toolset)
    assert toolset.counts["questions"] == 20
    assert toolset.counts["questions_without_tools"] == 0
    assert toolset.counts["merged_duplicates"] > 0
    assert {reason for line in toolset.refused for reason in ("time", "rename", "no parameters") if reason in line} == {
        "time",
        "rename",
        "no parameters",
    }
    takes = [set(tool.parameters["properties"]) for tool in toolset.tools]
    alone = [
        tool.name for tool, mine in zip(toolset.tools, takes, strict=True) if sum(bool(mine & o) for o in takes) == 1
    ]
    assert len(alone) <= 2, alone
    parameters = [tool.parameters["properties"] for tool in toolset.tools]
    identifiers = {
        name: part["type"] for properties in parameters for name, part in properties.items() if "_id" in name
    }
    assert identifiers["booking_id"] == "string", "as the seed has it"
    assert identifiers["flight_id"] == "integer"
    assert meter.usage.requests == 22
    assert meter.usage.flaws == {}


async def test_the_same_seed_gives_the_same_bytes_and_another_one_other_tools() -> None:
    settings = SETTINGS.model_copy(update={"questions": 12})
    made = [await make_tools(SEED, Meter(ScriptedLLM(seed=seed)), settings) for seed in (0, 0, 1, 2)]
    assert made[0].model_dump_json() == made[1].model_dump_json()
    assert len({toolset.model_dump_json() for toolset in made}) == 3


@pytest.mark.parametrize("tools", [(), ("convert",), ("getWeather", "roll_dice"), ("search_flights_by_city",)])
async def test_the_stand_in_finds_something_for_any_seed(tools: tuple[str, ...]) -> None:
    specs = tuple(ToolSpec(name=name, description="", parameters={"type": "object"}) for name in tools)
    seed = SEED.model_copy(update={"tools": specs, "name": "city travel"})
    toolset = await make_tools(seed, Meter(ScriptedLLM()), SETTINGS)
    assert len(toolset.tools) > len(tools)
    assert adds_up(toolset)
    proposed = [tool.openai() for tool in toolset.tools[len(tools) :]]
    assert merge((), proposed).tools == tuple(map(read_tool, proposed))


async def test_provenance_names_model_prompts_source_and_licence() -> None:
    provenance = (await make_tools(SEED, Meter(ScriptedLLM()), SETTINGS)).provenance
    ids = {name: prompt_ids()[name] for name in ("questions", "tool_specs", "tool_expansion")}
    assert provenance == ToolsetProvenance(llm="scripted", prompts=ids, source=SEED.source, licence=SEED.licence)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('["A?", " B? "]', ["A?", "B?"]),
        ('Sure:\n```json\n["A?", "B?", "A?"]\n```\nAnything else?', ["A?", "B?"]),
        ('{"questions": ["A?"]}', ["A?"]),
        ('[{"question": "A?"}, {"question": "B?"}, {"other": 1}, 7, ""]', ["A?", "B?"]),
        ('{"question": "A?"}', ["A?"]),
    ],
)
def test_questions_are_read_in_the_ways_models_write_them(text: str, expected: list[str]) -> None:
    assert read_questions(text) == expected


@pytest.mark.parametrize("text", ["", "A?\nB?", "[]", "[1, 2]", '{"questions": []}', '[{"text": 1}]', '["\\udc00"]'])
def test_answers_without_questions_are_rejected(text: str) -> None:
    with pytest.raises(ValueError):
        read_questions(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (nested(GIVEN[0]), ["search_flights"]),
        (f"```json\n{json.dumps(GIVEN[:2], indent=2)}\n```", ["search_flights", "get_booking"]),
        (json.dumps({"tools": GIVEN[:2]}), ["search_flights", "get_booking"]),
        (json.dumps({"functions": GIVEN[:1]}), ["search_flights"]),
        (json.dumps(GIVEN[0]), ["search_flights"]),
        (json.dumps({"type": "function", "function": GIVEN[0]}), ["search_flights"]),
        (json.dumps([GIVEN[0], "and another"]), ["search_flights"]),
        (f"These help [see below]: {nested(GIVEN[1])}", ["get_booking"]),
        (f"As you asked in [1]: {nested(GIVEN[1])}", ["get_booking"]),
        ("Nothing is missing: []", []),
    ],
)
def test_specs_are_read_in_the_ways_models_write_them(text: str, expected: list[str]) -> None:
    assert [read_tool(item).name for item in read_tools(text)] == expected


@pytest.mark.parametrize(
    ("key", "value"),
    [("max_tools", 2), ("batch", 0), ("attempts", 0), ("questions", -1), ("expansion", 11), ("question", 3)],
)
def test_settings_out_of_range_are_named(key: str, value: int) -> None:
    with pytest.raises(UserError, match=key):
        typed(SETTINGS.model_dump() | {key: value}, ToolmakingSettings)


def test_held_out_databases_are_refused_and_never_among_the_default_ones(tmp_path: Path) -> None:
    held_out = BundledSeeds(tmp_path, held_out=True).load()
    assert {seed.name for seed in held_out} == set(HELD_OUT)
    assert len(HELD_OUT) == 3
    with pytest.raises(UserError, match=r"held-out databases are for evaluation.*film_festival, freight, repair_shop"):
        refuse_held_out([SEED, *held_out])
    refuse_held_out([SEED])
    assert not set(HELD_OUT) & {seed.name for seed in BundledSeeds(tmp_path).load()}
    assert not set(HELD_OUT) & set(TRAINING)
