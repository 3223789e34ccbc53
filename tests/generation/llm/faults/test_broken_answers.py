"""Broken answers are either repaired, and flagged as such, or unusable."""

from __future__ import annotations

import json
from collections import Counter
from random import Random

import pytest

from core.messages import AssistantMessage, FunctionCall, ToolCall
from generation.dialogue.agent import check_answer
from generation.llm.base import Completion, Request
from generation.llm.faults.broken_answers import BREAKAGES, break_answer
from generation.llm.parsing.json_text import first_json
from tests.generation.helpers.broken_answers import (
    AGENT,
    CALLED,
    IN_JSON,
    JUDGED,
    THOUGHT,
    TOOL,
    WORDS,
    completion_of,
    request,
)


@pytest.mark.parametrize(("completion", "asked"), [(WORDS, AGENT), (CALLED, AGENT), (IN_JSON, request())])
def test_an_answer_is_truncated_emptied_or_left_in_unclosed_thinking(completion: Completion, asked: Request) -> None:
    for number in range(50):
        empty = break_answer(completion, "empty", asked, Random(number))
        if not completion.message.tool_calls:
            assert empty.message == AssistantMessage(content="", reasoning_content=THOUGHT)
        unclosed = break_answer(completion, "unclosed", asked, Random(number))
        assert (unclosed.message.content, unclosed.message.tool_calls, unclosed.flaws) == ("", None, ("unclosed",))
        assert THOUGHT in (unclosed.message.reasoning_content or "")
        cut = break_answer(completion, "truncated", asked, Random(number))
        assert cut.finish_reason == "length"
        assert completion.message.content.startswith(cut.message.content)
        assert cut.message != completion.message or "repaired" in cut.flaws, "only the closing brace is gone"
        for spoilt in (empty, unclosed, cut):
            assert (spoilt.prompt_tokens, spoilt.completion_tokens) == (20, 7)


def test_an_empty_answer_calls_nothing() -> None:
    assert break_answer(CALLED, "empty", AGENT, Random(0)).message.tool_calls is None


def usable(completion: Completion) -> bool:
    try:
        check_answer(completion, (TOOL,))
    except ValueError:
        return False
    return True


def test_a_malformed_call_is_repaired_and_flagged_or_unusable() -> None:
    seen: Counter[str] = Counter()
    for number in range(300):
        spoilt = break_answer(CALLED, "malformed", AGENT, Random(number))
        assert "repaired" in spoilt.flaws or not usable(spoilt)
        calls = spoilt.message.tool_calls or ()
        if "repaired" in spoilt.flaws and usable(spoilt):
            seen["repaired"] += 1
        elif not calls:
            seen["in the text"] += 1
        elif calls[0].name != "get_pet":
            seen["no such tool"] += 1
        else:
            seen["arguments"] += 1
    assert set(seen) == {"repaired", "in the text", "no such tool", "arguments"}
    assert min(seen.values()) > 20


def test_a_malformed_json_answer_is_cut_prose_python_or_lacks_a_field() -> None:
    seen: Counter[str] = Counter()
    for number in range(300):
        text = break_answer(IN_JSON, "malformed", request(), Random(number)).message.content
        try:
            value = json.loads(text)
        except ValueError:
            if json.dumps(JUDGED).startswith(text):
                seen["cut"] += 1
            elif text == str(JUDGED):
                seen["python"] += 1
                assert first_json(text, dict) == JUDGED
            else:
                seen["prose"] += 1
                with pytest.raises(ValueError):
                    first_json(text, dict)
        else:
            seen["a field less"] += 1
            assert len(value) == 3
            assert value.items() <= JUDGED.items()
    assert set(seen) == {"cut", "prose", "python", "a field less"}
    assert min(seen.values()) > 40


def test_malformed_prose_contains_markup() -> None:
    assert not any(usable(break_answer(WORDS, "malformed", AGENT, Random(number))) for number in range(50))


def test_broken_answers_can_be_broken_again() -> None:
    bad = ToolCall(id="c", function=FunctionCall(name="get_pet", arguments="{'pet_id':"))
    for completion in (
        completion_of("", bad),
        completion_of(""),
        completion_of("no JSON at all"),
        completion_of("[]"),
        completion_of("[" * 5000),
    ):
        for kind in BREAKAGES:
            for number in range(20):
                for asked in (AGENT, request()):
                    assert isinstance(break_answer(completion, kind, asked, Random(number)), Completion)
