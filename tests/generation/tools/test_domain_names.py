"""Titles and descriptions of domains: every one reads well in a prompt, given, written by the model or derived."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from generation.database.schema import read_schema
from generation.dialogue.agent import agent_system_message
from generation.llm.base import LLM
from generation.llm.meter import Meter
from generation.prompts.scene import Scene
from generation.scripted.llm import ScriptedLLM
from generation.seeds.base import Seed
from generation.seeds.bundled import BundledSeeds
from generation.seeds.sqlite import SqliteSeeds
from generation.seeds.tau2_data import DOMAINS
from generation.tools.domain_names import read_domain
from generation.tools.from_questions import make_tools
from tests.generation.helpers.pipeline_runs import ListedAnswers
from tests.generation.helpers.question_tools import SEED, SETTINGS
from tests.generation.helpers.shop_database import build

HASHED = SEED.model_copy(update={"name": "nemotron_0a1b2c3d", "title": "booking and flight", "description": ""})
GIVEN_ONLY = SETTINGS.model_copy(update={"questions": 0, "expansion": 0})
GOOD = json.dumps({"title": "air travel", "description": "it books flights and keeps records of the bookings"})


def reads_well(title: str, description: str) -> bool:
    """Whether a title is in lower case, and a description in full sentences that name no identifiers."""
    sentences = re.split(r"(?<=[.!?]) ", description)
    return bool(
        re.fullmatch(r"[a-z][a-z -]{2,40}", title)
        and all(re.fullmatch(r"[A-Z].+\.", sentence) and len(sentence.split()) > 3 for sentence in sentences)
        and not re.search(r"_|\d{5}|\.\.", description)
    )


async def named(seed: Seed, llm: LLM) -> tuple[str, str]:
    toolset = await make_tools(seed, Meter(llm), GIVEN_ONLY)
    return toolset.called, toolset.description


def test_the_bundled_domains_read_well(tmp_path: Path) -> None:
    seeds = (*BundledSeeds(tmp_path).load(), *BundledSeeds(tmp_path, held_out=True).load())
    names = [(seed.called, seed.description) for seed in seeds]
    names += [(domain.title, domain.description) for domain in DOMAINS.values()]
    assert len(names) == 15
    assert [name for name in names if not reads_well(*name)] == []


async def test_the_model_names_a_domain_that_has_no_description() -> None:
    llm = ListedAnswers([GOOD])
    toolset = await make_tools(HASHED, Meter(llm), GIVEN_ONLY)
    assert (toolset.domain, toolset.title) == ("nemotron_0a1b2c3d", "air travel")
    assert toolset.description == "It books flights and keeps records of the bookings."
    (request,) = llm.requests
    assert (request.role, request.key) == ("tool_maker", "tools/nemotron_0a1b2c3d/domain/0")
    assert request.json_schema
    assert "nemotron" not in request.messages[0].content
    assert "- search_flights: " in request.messages[0].content
    assert toolset.provenance.prompts.keys() == {"domain"}
    message = agent_system_message(Scene(toolset.called, toolset.description, "Tuesday 2025-03-04 10:15"))
    assert message
    assert message.content.startswith(f"You are the assistant of the air travel service. {toolset.description}")


async def test_a_database_is_named_after_its_schema(tmp_path: Path) -> None:
    (seed,) = SqliteSeeds([build(tmp_path / "d41d8cd98f.sqlite")]).load()
    llm = ListedAnswers([GOOD, "no tools"])
    await make_tools(seed, Meter(llm), GIVEN_ONLY.model_copy(update={"attempts": 1}))
    assert seed.database
    assert read_schema(seed.database, seed.name).ddl in llm.requests[0].messages[0].content
    assert "The service: air travel. It books flights" in llm.requests[1].messages[0].content
    assert "d41d8cd98f" not in "".join(request.messages[0].content for request in llm.requests)


async def test_a_domain_with_a_description_costs_no_request() -> None:
    assert await named(SEED, ListedAnswers([])) == ("flights", "An airline's bookings.")


@pytest.mark.parametrize(
    "answer",
    [
        "I would call it air travel.",
        '{"title": "nemotron_0a1b2c3d", "description": "It books flights for people."}',
        '{"title": "the best service for every flight and booking there is", "description": "It books flights for all."}',
        '{"title": "air travel", "description": "Flights."}',
        '{"title": "air travel", "description": "It offers search_flights and more."}',
        '{"title": "", "description": "It books flights for people."}',
    ],
)
async def test_without_a_usable_answer_the_names_of_the_tools_make_one(answer: str) -> None:
    llm = ListedAnswers([answer, answer])
    title, description = await named(HASHED, llm)
    assert (title, description) == ("booking and flight", "It works with bookings and flights.")
    assert reads_well(title, description)
    assert len(llm.requests) == 2


def test_small_slips_are_corrected() -> None:
    text = '{"title": " The Air Travel service. ", "description": "it books flights for people"}'
    assert read_domain(text, SEED.tools) == ("Air Travel", "It books flights for people.")


async def test_the_stand_ins_names_read_well(tmp_path: Path) -> None:
    assert reads_well(*await named(HASHED, ScriptedLLM()))
    (seed,) = SqliteSeeds([build(tmp_path / "shop.sqlite")]).load()
    assert reads_well(*await named(seed, ScriptedLLM()))
