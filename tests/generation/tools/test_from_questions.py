"""Stage 1 for a few tools: what a model proposes becomes one set, whatever its answers look like."""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from core.messages import AssistantMessage, ToolSpec
from core.settings import UserError, typed
from generation.llm.base import Completion, LLMError, Request
from generation.llm.meter import Meter
from generation.prompts import prompt_ids
from generation.scripted.llm import ScriptedLLM
from generation.seeds.base import Seed
from generation.seeds.bundled import HELD_OUT, TRAINING, BundledSeeds
from generation.tools.from_questions import ToolmakingSettings, make_tools, read_questions, read_specs, refuse_held_out
from generation.tools.merging import merge, read_tool
from generation.tools.toolset import Toolset, ToolsetProvenance
from tests.generation.helpers.pipeline_runs import ListedAnswers


def spec(name: str, **types: str) -> dict[str, Any]:
    properties = {key: {"type": kind, "description": key} for key, kind in types.items()}
    parameters = {"type": "object", "properties": properties, "required": list(types)}
    return {"name": name, "description": f"What {name} does.", "parameters": parameters}


def nested(*specs: dict[str, Any]) -> str:
    return json.dumps([{"type": "function", "function": one} for one in specs])


GIVEN = (
    spec("search_flights", origin="string", destination="string"),
    spec("get_booking", booking_id="string"),
    spec("cancel_booking", booking_id="string"),
)
SEED = Seed(
    name="flights",
    description="An airline's bookings.",
    source="a file of tools",
    licence="CC-BY-4.0",
    tools=tuple(ToolSpec(**one) for one in GIVEN),
    rows={"bookings": [{"booking_id": "B7"}]},
)
SETTINGS = ToolmakingSettings(max_tools=20, attempts=2, questions=3, expansion=10)
QUESTIONS = json.dumps(["Where is my bag?", "Move my seat.", "Refund B7."])
NONE = "[]"


@dataclass
class Keyed:
    """Answers by the step of the request ("specs/1"), one per attempt, repeating the last.

    Steps in `slow` answer after all others.
    """

    texts: dict[str, list[str]]
    slow: tuple[str, ...] = ()
    name: str = "keyed"
    requests: list[Request] = field(default_factory=list)

    async def complete(self, request: Request) -> Completion:
        self.requests.append(request)
        domain, step, attempt = re.fullmatch(r"tools/(\w+)/(.+)/(\d+)", request.key).groups()  # type: ignore[union-attr]
        assert (domain, request.affinity, request.role) == ("flights", "tools/flights", "tool_maker")
        for _ in range(20 if step in self.slow else 1):
            await asyncio.sleep(0)
        said = self.texts.get(step, [NONE])
        return Completion(AssistantMessage(content=said[min(int(attempt), len(said) - 1)]))

    def asked(self, step: str) -> list[str]:
        return [r.messages[0].content for r in self.requests if r.key.startswith(f"tools/flights/{step}/")]

    async def close(self) -> None: ...


def names(toolset: Toolset) -> list[str]:
    return [tool.name for tool in toolset.tools]


def adds_up(toolset: Toolset) -> bool:
    """Every given, proposed or expanded tool is counted exactly once."""
    ends = ("merged_duplicates", "conflicts", "invalid", "trivial", "beyond_max", "kept")
    counts = toolset.counts
    return counts["given"] + counts["proposed"] + counts["expanded"] == sum(counts[end] for end in ends)


async def test_the_set_is_the_seeds_tools_then_the_questions_in_their_order_then_the_expansion() -> None:
    llm = Keyed(
        {
            "questions": [QUESTIONS],
            "specs/0": [nested(spec("track_bag", bag_id="string"))],
            "specs/1": [nested(spec("change_seat", booking_id="string", seat="string"), GIVEN[1])],
            "specs/2": [nested(spec("create_refund", booking_id="string"), spec("track_bag", bag_tag="string"))],
            "expansion": [json.dumps([spec("get_refund", refund_id="string"), spec("get_help")])],
        },
        slow=("specs/0",),
    )
    toolset = await make_tools(SEED, Meter(llm), SETTINGS)
    own = [tool["name"] for tool in GIVEN]
    assert names(toolset) == [*own, "track_bag", "change_seat", "create_refund", "get_refund"]
    assert toolset.tools[:3] == SEED.tools
    assert toolset.counts == {
        "questions": 3,
        "questions_without_tools": 0,
        "given": 3,
        "proposed": 5,
        "expanded": 2,
        "merged_duplicates": 1,
        "conflicts": 1,
        "invalid": 0,
        "trivial": 1,
        "beyond_max": 0,
        "kept": 7,
    }
    assert len(toolset.refused) == 2
    assert (toolset.domain, toolset.description, toolset.engine, toolset.database) == (
        SEED.name,
        SEED.description,
        None,
        None,
    )
    assert toolset.rows == SEED.rows


async def test_each_prompt_contains_what_its_step_needs() -> None:
    llm = Keyed({"questions": [QUESTIONS], "specs/0": [nested(spec("track_bag", bag_id="string"))]})
    await make_tools(SEED, Meter(llm), SETTINGS)
    (questions,) = llm.asked("questions")
    assert "An airline's bookings." in questions
    assert "cancel_booking" in questions
    assert "Write 3 such questions." in questions
    (seat,) = llm.asked("specs/1")
    assert seat.endswith("The request: Move my seat.")
    assert "cancel_booking" in seat
    (expansion,) = llm.asked("expansion")
    assert "track_bag" in expansion
    assert "cancel_booking" in expansion
    assert expansion.endswith("Write at most 10 tools.")
    schemas = {request.key: request.json_schema for request in llm.requests if request.json_schema}
    assert schemas.keys() == {"tools/flights/questions/0"}


BROKEN = {
    "prose": "I would rather talk about something else.",
    "empty": "",
    "numbers": "[1, 2, 3]",
    "cut off": '[{"type": "function", "function": {"na',
    "strings": '["get_bag", "track_bag"]',
    "half a surrogate": '[{"name": "get_bag", "description": "\\ud83d", "parameters": {}}]',
    "brackets": "[" * 20000,
    "a bare word": "null",
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN.keys())
async def test_an_unusable_answer_is_retried_then_counted_and_the_others_continue(broken: str) -> None:
    good = nested(spec("track_bag", bag_id="string"))
    llm = Keyed({"questions": [QUESTIONS], "specs/0": [broken], "specs/1": [broken, good]})
    meter = Meter(llm)
    toolset = await make_tools(SEED, meter, SETTINGS)
    assert "track_bag" in names(toolset)
    assert len(llm.asked("specs/0")) == len(llm.asked("specs/1")) == 2
    first, second = llm.asked("specs/0")
    assert second.startswith(f"{first}\n\nYour last answer could not be used: ")
    assert toolset.counts["questions_without_tools"] == 2, "an empty list is an answer, but brings no tools either"
    assert [line for line in toolset.refused if line.startswith("question 1: nothing usable in 2 attempts")]
    assert adds_up(toolset)
    assert sum(meter.flaws.values()) == 3


@pytest.mark.parametrize("broken", [BROKEN["prose"], "[[], {}, 3]", '{"answer": 42}', "[]"])
async def test_without_questions_the_given_tools_and_the_expansion_remain(broken: str) -> None:
    llm = Keyed({"questions": [broken], "expansion": [nested(spec("track_bag", bag_id="string"))]})
    toolset = await make_tools(SEED, Meter(llm), SETTINGS)
    assert names(toolset) == [*(tool["name"] for tool in GIVEN), "track_bag"]
    assert toolset.counts["questions"] == 0
    assert toolset.refused[0].startswith("questions: nothing usable in 2 attempts")


async def test_an_unusable_expansion_leaves_the_other_tools() -> None:
    toolset = await make_tools(SEED, Meter(Keyed({"questions": [QUESTIONS], "expansion": ["no"]})), SETTINGS)
    assert toolset.tools == SEED.tools
    (why,) = toolset.refused
    assert why.startswith("expansion: nothing usable in 2 attempts: expected a JSON array, got: 'no'")


async def test_surplus_questions_and_tools_are_dropped() -> None:
    many = [spec(f"get_thing{i}", **{f"thing{i}_id": "string"}) for i in range(8)]
    llm = Keyed({"questions": [json.dumps([f"Question {i}?" for i in range(9)])], "expansion": [nested(*many)]})
    settings = SETTINGS.model_copy(update={"expansion": 5, "max_tools": 6})
    toolset = await make_tools(SEED, Meter(llm), settings)
    assert len({r.key for r in llm.requests if "/specs/" in r.key}) == 3
    assert names(toolset) == [*(tool["name"] for tool in GIVEN), "get_thing0", "get_thing1", "get_thing2"]
    assert (toolset.counts["expanded"], toolset.counts["beyond_max"]) == (5, 2)
    assert toolset.refused[0] == "expansion: 3 tools more than the 5 requested"


@pytest.mark.parametrize(("questions", "expansion", "asked"), [(0, 0, 0), (0, 4, 1), (2, 0, 3)])
async def test_steps_can_be_skipped(questions: int, expansion: int, asked: int) -> None:
    llm = Keyed({"questions": [QUESTIONS]})
    settings = SETTINGS.model_copy(update={"questions": questions, "expansion": expansion})
    toolset = await make_tools(SEED, Meter(llm), settings)
    assert toolset.tools == SEED.tools
    assert len(llm.requests) == asked
    prompts = set(toolset.provenance.prompts)
    wanted = ({"questions", "tool_specs"} if questions else set()) | ({"tool_expansion"} if expansion else set())
    assert prompts == wanted


async def test_with_too_few_valid_tools_the_toolset_is_empty_and_says_why() -> None:
    seed = SEED.model_copy(update={"tools": SEED.tools[:2]})
    toolset = await make_tools(seed, Meter(Keyed({"questions": [QUESTIONS]})), SETTINGS)
    assert toolset.tools == ()
    assert toolset.refused == ("2 tools are valid, at least 3 are needed",)
    assert toolset.counts["kept"] == 2


async def test_a_domain_can_start_from_its_description_alone() -> None:
    seed = SEED.model_copy(update={"tools": ()})
    answer = nested(*(spec(f"{verb}_seat", seat_id="string") for verb in ("get", "create", "delete")))
    llm = Keyed({"questions": [QUESTIONS], "specs/2": [answer]})
    assert names(await make_tools(seed, Meter(llm), SETTINGS)) == ["get_seat", "create_seat", "delete_seat"]
    assert "Examples of tools" not in llm.asked("questions")[0]


async def test_executable_tools_are_kept_unchanged() -> None:
    odd = ToolSpec(name="Think", description="", parameters={"type": "object"}, returns={"type": "string"})
    seed = SEED.model_copy(update={"engine": "tau2", "tools": (*SEED.tools, odd)})
    llm = ListedAnswers([])
    toolset = await make_tools(seed, Meter(llm), SETTINGS.model_copy(update={"max_tools": 3}))
    assert llm.requests == []
    assert (toolset.tools, toolset.engine, toolset.rows) == (seed.tools, "tau2", seed.rows)
    assert toolset.counts == {"given": 4, "kept": 4}
    assert toolset.provenance == ToolsetProvenance(source=seed.source, licence=seed.licence)


@pytest.mark.parametrize("error", [LLMError("no model answers"), UserError("no server at http://127.0.0.1:1/v1")])
async def test_an_unreachable_model_raises_its_own_error(error: Exception) -> None:
    class Down(Keyed):
        async def complete(self, request: Request) -> Completion:
            if "/specs/" in request.key:
                raise error
            return await super().complete(request)

    with pytest.raises(type(error)) as raised:
        await make_tools(SEED, Meter(Down({"questions": [QUESTIONS]})), SETTINGS)
    assert raised.value is error


async def test_the_stand_in_makes_a_chaining_set_and_the_rules_catch_its_junk() -> None:
    settings = ToolmakingSettings(max_tools=12, attempts=2, questions=20, expansion=10)
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
        ("Nothing is missing: []", []),
    ],
)
def test_specs_are_read_in_the_ways_models_write_them(text: str, expected: list[str]) -> None:
    assert [read_tool(item).name for item in read_specs(text)] == expected


@pytest.mark.parametrize(
    ("key", "value"), [("max_tools", 2), ("attempts", 0), ("questions", -1), ("expansion", 11), ("question", 3)]
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
