"""Errors that a simulated tool may and may not return.

Answers marked "recorded" are quoted from Qwen2.5-Coder-0.5B-Instruct.
"""

from __future__ import annotations

import json

import pytest

from generation.environments.simulated.tool_errors import EXAMPLE_ERROR
from generation.llm.base import UnusableAnswerError
from tests.generation.helpers.simulated_visits import environment, prompts

LION = '{"animal_id": 7, "name": "Leo"}'
OTHER = '[{"id": 1, "animal": {"id": 7, "name": "Rex"}}]'
SAME = OTHER.replace("Rex", "Leo")


def error(text: str) -> str:
    return json.dumps({"error": text})


@pytest.mark.parametrize("text", ["why", "error", "reason", "...", ""])
async def test_a_placeholder_is_no_error(text: str) -> None:
    """Recorded: {"error": "why"}, copied from the prompt of that time."""
    zoo, llm, meter = environment(error(text), '[{"id": 1}]')
    assert (await zoo.call("list_visits", {"day": "monday"})).value == [{"id": 1}]
    assert "an error is a sentence that says what is wrong" in llm.requests[1].messages[-1].content
    assert meter.flaws == {"tool_simulator/refused": 1}


@pytest.mark.parametrize("copied", [EXAMPLE_ERROR.capitalize(), "no booking with id 815 exists"])
async def test_the_example_of_the_prompt_is_not_copied(copied: str) -> None:
    """Recorded: with the number of the other example, for a search by name."""
    zoo, llm, _ = environment(error(copied), '[{"id": 1}]', error(EXAMPLE_ERROR))
    assert (await zoo.call("list_visits", {"day": "monday"})).value == [{"id": 1}]
    assert EXAMPLE_ERROR in prompts(llm)[0]
    assert (await zoo.call("get_animal", {"animal_id": 4712})).error, "for this call it is a fitting error"


@pytest.mark.parametrize(
    "text", ["no animal with id 9 exists", "the zoo is closed on mondays", "permission denied", "动物不存在"]
)
async def test_what_a_real_system_says_is_an_error(text: str) -> None:
    zoo, llm, _ = environment(error(text))
    assert (await zoo.call("get_animal", {"animal_id": 9})).value == {"error": text}
    assert len(llm.requests) == 1


@pytest.mark.parametrize("text", ["animal_id=7 exists", "the animal could not be fetched", "animal not found"])
async def test_a_known_record_is_found_after_a_complaint(text: str) -> None:
    """Recorded: [] for a known book, then {"error": "book_id=51 exists"}, which quotes the complaint."""
    zoo, llm, meter = environment(SAME, "{}", error(text), LION)
    await zoo.call("list_visits", {"day": "monday"})
    assert (await zoo.call("get_animal", {"animal_id": 7})).value == json.loads(LION)
    assert "animal_id=7 exists" in llm.requests[2].messages[-1].content
    assert "nothing speaks against the call" in llm.requests[3].messages[-1].content
    assert meter.flaws["tool_simulator/refused"] == 2


async def test_a_known_record_is_found_at_once_too() -> None:
    zoo, llm, _ = environment(SAME, error("the animal could not be fetched"), LION)
    await zoo.call("list_visits", {"day": "monday"})
    assert (await zoo.call("get_animal", {"animal_id": 7})).value == json.loads(LION)
    assert "animal_id=7 exists" in llm.requests[2].messages[-1].content
    zoo, _, _ = environment(SAME, error("the service is busy, try again later"))
    await zoo.call("list_visits", {"day": "monday"})
    assert (await zoo.call("get_animal", {"animal_id": 7})).error, "a transient error contradicts nothing"


async def test_a_contradiction_is_not_evaded_by_an_error() -> None:
    zoo, _, _ = environment(LION, OTHER, error("the visits could not be listed"), SAME)
    await zoo.call("get_animal", {"animal_id": 7})
    assert (await zoo.call("list_visits", {"day": "monday"})).value == json.loads(SAME)


@pytest.mark.parametrize("tool", ["get_animal", "rename_animal"])
async def test_what_does_not_exist_may_fail_after_a_complaint(tool: str) -> None:
    zoo, llm, _ = environment(error("no animal with id 7 exists"), LION, error("animal_id=7 does not exist"))
    await zoo.call("get_animal", {"animal_id": 7})
    assert (await zoo.call(tool, {"animal_id": 7, "name": "Leo"})).error
    assert "the call must fail or find nothing" in llm.requests[2].messages[-1].content


async def test_an_error_that_only_quotes_the_complaint_is_refused() -> None:
    zoo, _, _ = environment('[{"id": "seven"}]', error("'seven' is not of type 'integer'"), attempts=2)
    with pytest.raises(UnusableAnswerError, match=r"^tool_simulator: .*nothing speaks against the call"):
        await zoo.call("list_visits", {"day": "monday"})
    zoo, _, _ = environment("There are no visits on mondays.", error("the zoo is closed on mondays"))
    assert (await zoo.call("list_visits", {"day": "monday"})).error, "put into the right form"


@pytest.mark.parametrize(
    ("text", "denied"),
    [
        ("no animal with id 7 exists", True),  # recorded in this form, after the animal had been returned
        ("No such animal.", True),
        ("Animal 7 does not exist", True),
        ("unknown animal: 7", True),
        ("could not find the animal", True),
        ("no visits for animal 7", False),
        ("the animal is not allowed to be renamed", False),
        ("no animal visits on mondays", False),
    ],
)
async def test_no_tool_denies_a_known_record(text: str, denied: bool) -> None:
    zoo, llm, _ = environment(LION, error(text), '{"success": true}')
    await zoo.call("get_animal", {"animal_id": 7})
    assert (await zoo.call("rename_animal", {"animal_id": 7, "name": "Rex"})).error is not denied
    assert ("animal_id=7 exists" in llm.requests[-1].messages[-1].content) is denied
