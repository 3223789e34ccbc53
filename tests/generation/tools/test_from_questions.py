"""Stage 1 for a few tools: what a model proposes becomes one set, whatever its answers look like."""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import dataclass, field, replace

import pytest

from core.messages import AssistantMessage, ToolSpec
from core.settings import UserError
from generation.llm.base import Completion, LLMError, Request
from generation.llm.meter import Meter
from generation.tools.from_questions import make_tools
from generation.tools.toolset import ToolsetProvenance
from tests.generation.helpers.pipeline_runs import ListedAnswers
from tests.generation.helpers.question_tools import GIVEN, SEED, SETTINGS, adds_up, names, nested, spec

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
        domain, step, attempt = re.fullmatch(r"tools/(\w+)/(.+)/(\d+)", request.key).groups()
        assert (domain, request.affinity, request.role) == ("flights", "tools/flights", "tool_maker")
        for _ in range(20 if step in self.slow else 1):
            await asyncio.sleep(0)
        said = self.texts.get(step, [NONE])
        return Completion(AssistantMessage(content=said[min(int(attempt), len(said) - 1)]))

    def asked(self, step: str) -> list[str]:
        return [r.messages[0].content for r in self.requests if r.key.startswith(f"tools/flights/{step}/")]

    async def close(self) -> None: ...


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
    assert "Write 3 requests," in questions
    (seat,) = llm.asked("specs/1")
    assert seat.endswith("The request: Move my seat.")
    assert "cancel_booking" in seat
    (expansion,) = llm.asked("expansion")
    assert "track_bag" in expansion
    assert "cancel_booking" in expansion
    assert expansion.endswith("Write at most 10 tools.")
    assert all(request.json_schema and request.json_schema["type"] == "array" for request in llm.requests)


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
    first, second = (r.messages for r in llm.requests if r.key.startswith("tools/flights/specs/0/"))
    if broken:
        assert [second[0], second[1].content[:4000]] == [first[0], broken[:4000]]
        assert second[2].content.startswith("This answer cannot be used: ")
    else:
        assert second == first, "there is no answer to repair"
    assert toolset.counts["questions_without_tools"] == 2, "an empty list is an answer, but brings no tools either"
    assert [line for line in toolset.refused if line.startswith("question 1: nothing usable in 2 attempts")]
    assert adds_up(toolset)
    assert sum(meter.flaws.values()) == 3


async def test_an_answer_in_which_no_spec_is_a_tool_is_sent_back_with_the_reasons() -> None:
    nameless = json.dumps([{"description": "?"}, {"name": "get_bag", "parameters": {"type": "objekt"}}])
    llm = Keyed({"questions": [QUESTIONS], "specs/0": [nameless, nested(spec("track_bag", bag_id="string"))]})
    toolset = await make_tools(SEED, Meter(llm), SETTINGS)
    assert "track_bag" in names(toolset)
    second = next(request for request in llm.requests if request.key == "tools/flights/specs/0/1")
    assert "get_bag: the type 'objekt' has no JSON form" in second.messages[-1].content
    assert "None: letters, digits and underscores are expected as its name" in second.messages[-1].content


class Cut(Keyed):
    """Answers, each cut off by the token limit."""

    async def complete(self, request: Request) -> Completion:
        return replace(await super().complete(request), finish_reason="length")


async def test_the_whole_records_of_cut_answers_are_kept() -> None:
    specs = nested(spec("track_bag", bag_id="string"), spec("change_seat", seat="string"))
    expansion = nested(spec("get_refund", refund_id="string"), spec("create_refund", booking_id="string"))
    llm = Cut({"questions": [QUESTIONS[:-4]], "specs/0": [specs[:-30]], "expansion": [expansion[:-30]]})
    meter = Meter(llm)
    toolset = await make_tools(SEED, meter, SETTINGS.model_copy(update={"attempts": 1}))
    assert names(toolset)[3:] == ["track_bag", "get_refund"]
    assert toolset.counts["questions"] == 2, "the third is cut"
    assert meter.flaws == {"tool_maker/truncated": len(llm.requests)}


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
