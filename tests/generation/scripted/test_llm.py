"""The weights-free stand-in: deterministic by key, varied, sometimes wrong, and honest about results."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from core.dialogue import Dialogue, calls
from core.messages import AssistantMessage, ToolMessage, UserMessage
from generation.llm.contexts import TaskWriterContext, UserContext
from generation.metrics.task_dependency import dependency_scores
from generation.pipeline import DomainTools
from generation.run import domains as domains_of
from generation.scripted.llm import ScriptedLLM
from generation.tools.toolset import Toolset
from tests.generation.helpers.pipeline_runs import FinishedRun, run_to_end, user_settings
from tests.generation.helpers.travel_tools import TRAVEL

Domains = tuple[DomainTools, ...]


def user_texts(dialogue: Dialogue) -> list[str]:
    return [message.content for message in dialogue.messages if isinstance(message, UserMessage)]


async def test_an_answer_depends_on_seed_and_key_alone(executed: FinishedRun) -> None:
    """Whatever was requested in between, and in whatever order."""
    model = ScriptedLLM()
    for request, completion in executed.log[::-7]:
        assert await model.complete(request) == completion
    user = [request for request, _ in executed.log if request.role == "user"]
    other = ScriptedLLM(seed=1)
    assert [await other.complete(r) for r in user] != [await model.complete(r) for r in user]
    renamed = [replace(request, key=f"{request.key}x") for request in user]
    assert [await model.complete(r) for r in renamed] != [await model.complete(r) for r in user]


def test_without_mistakes_every_dialogue_that_gets_its_tasks_is_accepted(domains: Domains, tmp_path: Path) -> None:
    played = run_to_end("user_oriented_exec", domains, tmp_path, n=60, llm=ScriptedLLM(error_rate=0.0))
    assert len(played.accepted) >= 55
    assert all(r.reasons[0].startswith("finished: task_writer: ") for r in played.rejected)


def test_mistakes_are_caught_by_execution(executed: FinishedRun, domains: Domains, tmp_path: Path) -> None:
    played = run_to_end("user_oriented_exec", domains, tmp_path, n=30, llm=ScriptedLLM(error_rate=1.0))
    assert played.statistics.rejected > 2 * executed.statistics.rejected
    assert {"told", "state"} <= played.statistics.reasons.keys()
    assert played.statistics.failed == 0


def test_some_accepted_dialogues_recover_from_a_wrong_argument(domains: Domains, tmp_path: Path) -> None:
    played = run_to_end("user_oriented_exec", domains, tmp_path, n=90)
    recovered = 0
    for dialogue in played.accepted:
        history = calls(dialogue.messages)
        for (first, wrong, result), (second, right, _) in itertools.pairwise(history):
            recovered += first == second and wrong != right and result == "[]"
    assert recovered >= 1
    thoughts = [
        m.reasoning_content or "" for d in played.accepted for m in d.messages if isinstance(m, AssistantMessage)
    ]
    assert all(thoughts)
    assert len(set(thoughts)) > 200
    users = Counter(text for dialogue in played.accepted for text in user_texts(dialogue))
    everything = " ".join(users)
    assert re.search(r"wait, let me put that right", everything), "corrections"
    assert re.search(r"\bYes\b", everything), "confirmations"
    answers = [m.content for d in played.accepted for m in d.messages if isinstance(m, AssistantMessage)]
    assert any("What should the new value be?" in text for text in answers), "clarifications"
    assert any("Do you confirm?" in text for text in answers)


def test_nothing_is_deleted_without_a_yes(executed: FinishedRun) -> None:
    deleted = 0
    for dialogue in executed.accepted:
        for position, message in enumerate(dialogue.messages):
            if isinstance(message, AssistantMessage) and message.tool_calls:
                for call in message.tool_calls:
                    if call.name.startswith("delete_"):
                        before = [m.content for m in dialogue.messages[:position] if isinstance(m, UserMessage)]
                        assert any(text.startswith("Yes") for text in before)
                        deleted += 1
    assert deleted >= 3


def test_voices_differ_and_words_vary(executed: FinishedRun) -> None:
    first: dict[str, set[str]] = {}
    for request, completion in executed.log:
        if isinstance(request.context, UserContext) and not request.context.transcript[1:]:
            voice = request.context.persona.partition(":")[0]
            first.setdefault(voice, set()).add(completion.message.content)
    assert len(first) >= 4
    texts = [text for voice in first.values() for text in voice]
    assert len(set(texts)) == len(texts)


def test_the_agent_reports_only_what_tools_returned(executed: FinishedRun) -> None:
    """Every number in the agent's answers occurs in a user message or a tool result."""
    for dialogue in executed.accepted:
        known = ""
        for message in dialogue.messages[1:]:
            if isinstance(message, UserMessage | ToolMessage):
                known += f" {message.content}"
            elif isinstance(message, AssistantMessage) and not message.tool_calls:
                invented = set(re.findall(r"\d+", message.content)) - set(re.findall(r"\d+", known))
                assert not invented, (dialogue.dialogue_id, message.content)


@pytest.mark.parametrize("pipeline", ["user_oriented", "task_oriented"])
def test_tools_without_a_database_give_dialogues(pipeline: str, tmp_path: Path) -> None:
    """With specs alone and invented results, most dialogues are accepted, none fails, and the others name who is to
    blame."""
    domains = domains_of([Toolset(domain="travel", description="Flights.", tools=TRAVEL)], 5, seed=0)
    played = run_to_end(pipeline, domains, tmp_path, n=40)
    assert played.statistics.failed == 0
    assert len(played.accepted) >= 24
    assert {call for dialogue in played.accepted for call, _, _ in calls(dialogue.messages)} == {t.name for t in TRAVEL}
    scores = [score for dialogue in played.accepted for score in dependency_scores(dialogue)]
    assert 0.05 < sum(scores) / len(scores) < 0.9


@pytest.mark.parametrize("preset", ["incremental", "upfront", "terse", "adversarial"])
def test_without_mistakes_every_kind_of_user_is_served(preset: str, domains: Domains, tmp_path: Path) -> None:
    user = user_settings(preset)
    played = run_to_end("user_oriented_exec", domains, tmp_path, n=24, llm=ScriptedLLM(error_rate=0.0), user=user)
    assert len(played.accepted) >= 22
    assert all(r.reasons[0].startswith("finished: task_writer: ") for r in played.rejected)


def test_tasks_have_the_requested_difficulty(executed: FinishedRun) -> None:
    """Measured by execution: an accepted first task nearly always has the difficulty requested from its writer."""
    requested = {
        request.affinity: request.context.difficulty
        for request, _ in executed.log
        if isinstance(request.context, TaskWriterContext) and not request.context.previous
    }
    hits = [dialogue.tasks[0].difficulty == requested[dialogue.dialogue_id] for dialogue in executed.accepted]
    assert len(hits) >= 20
    assert sum(hits) / len(hits) >= 0.9
