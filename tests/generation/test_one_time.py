"""All prompts of a dialogue state the same time, be it new, imported with a date of its own, or resumed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from core.dialogue import Dialogue
from core.messages import AssistantMessage, SystemMessage, ToolMessage, UserMessage
from generation.environments.clock import dialogue_time, drawn_time
from generation.pipeline import DomainTools
from generation.start_states.start_states import StartState
from tests.generation.helpers.pipeline_runs import FinishedRun, run_to_end, start_states

Domains = tuple[DomainTools, ...]
_TIME = re.compile(r"The current time (?:is|was) (.+)\.$", re.M)
ALL = {"task_writer", "user", "agent", "tool_simulator", "judge"}


def times(played: FinishedRun, dialogue: Dialogue) -> dict[str, set[str]]:
    """Role -> the times that the prompts of a dialogue state."""
    stated: dict[str, set[str]] = {}
    for request, _ in played.log:
        if request.affinity == dialogue.dialogue_id:
            text = "\n".join(message.content for message in request.messages)
            stated.setdefault(request.role, set()).update(_TIME.findall(text) or {""})
    return stated


def dialogues(played: FinishedRun) -> list[Dialogue]:
    return [*played.accepted, *(rejection.dialogue for rejection in played.rejected if rejection.dialogue)]


def drawn(dialogue_id: str, domain: str, domains: Domains) -> str:
    """The time of a new dialogue about this domain."""
    return drawn_time(dialogue_id, next(d.toolset.now for d in domains if d.toolset.domain == domain))


def test_every_prompt_of_a_dialogue_states_its_time(
    executed: FinishedRun, simulated: dict[str, FinishedRun], domains: Domains
) -> None:
    for played in (executed, *simulated.values()):
        known = set()
        for dialogue in dialogues(played):
            now = drawn(dialogue.dialogue_id, dialogue.domain, domains)
            assert all(stated == {now} for stated in times(played, dialogue).values())
            known.add(now)
        assert len(known) == len(dialogues(played))
    assert {role for dialogue in dialogues(played) for role in times(played, dialogue)} == ALL


HOUR = "Friday, June 7 at 9:30"


@pytest.mark.parametrize(
    ("system", "greeting", "now"),
    [
        ("You serve. It is now 2024-01-05 10:00.", "Today is May 5, 2023.", "2024-01-05 10:00"),
        ("You serve.", f"Hi, it is currently {HOUR}.", HOUR),
        ("You serve.", "Hi.", None),
    ],
)
def test_an_imported_dialogue_keeps_its_time(
    system: str, greeting: str, now: str | None, domains: Domains, tmp_path: Path
) -> None:
    """Extended, then extended again under another id: what its simulated user says changes nothing."""
    imported = Dialogue(
        dialogue_id="x",
        pipeline="given",
        domain=domains[0].domain.name,
        tools=domains[0].toolset.tools,
        messages=(
            SystemMessage(content=system),
            UserMessage(content=greeting),
            AssistantMessage(content="It is now 2020-01-01. What can I do for you?"),
        ),
        given=3,
    )
    played = extend(imported, domains, tmp_path / "first")
    (dialogue,) = dialogues(played)
    now = now or drawn(dialogue.dialogue_id, dialogue.domain, domains)
    assert dialogue.messages[:3] == imported.messages
    assert dialogue_time(dialogue, domains[0].toolset.now) == now
    stated = times(played, dialogue)
    assert set(stated) == ALL
    assert all(stated[role] == {now} for role in ALL - {"agent"})
    talkative = dialogue.messages[:-1] if isinstance(dialogue.messages[-1], UserMessage) else dialogue.messages
    talkative = (*talkative, UserMessage(content="It is now 11:45."), AssistantMessage(content="So it is."))
    more = dialogue.model_copy(update={"messages": talkative, "verdict": None})
    again = extend(more, domains, tmp_path / "second", number=1)
    (continued,) = dialogues(again)
    assert continued.dialogue_id != dialogue.dialogue_id
    assert {time for role, stated in times(again, continued).items() if role != "agent" for time in stated} == {now}


def extend(dialogue: Dialogue, domains: Domains, directory: Path, number: int = 0) -> FinishedRun:
    """The dialogue extended by one task, as dialogue `number` of a run whose other start states are unusable."""
    unusable = (StartState("y", None, "unusable"),) * number
    starts = start_states((*unusable, StartState("x", dialogue)))
    more: dict[str, Any] = {"starts": starts, "count": {1: 1.0}}
    played = run_to_end("user_oriented", domains, directory, n=number + 1, **more)
    assert played.statistics.failed == 0
    return played


def test_a_resumed_dialogue_asks_the_same(executed: FinishedRun, domains: Domains, tmp_path: Path) -> None:
    """A dialogue that was interrupted before an answer of the agent repeats the very request."""
    parent = next(d for d in executed.accepted[1:] if any(isinstance(message, ToolMessage) for message in d.messages))
    cut = next(i for i, message in enumerate(parent.messages) if isinstance(message, ToolMessage)) + 1
    unfinished = parent.model_copy(
        update={
            "messages": parent.messages[:cut],
            "tasks": parent.tasks[:1],
            "task_starts": parent.task_starts[:1],
            "stop": "open",
            "verdict": None,
        }
    )
    starts = start_states((StartState("x", unfinished),))
    played = run_to_end("user_oriented_exec", domains, tmp_path, n=1, starts=starts)
    first = next(request for request, _ in played.log if request.role == "agent")
    original = [r for r, _ in executed.log if r.role == "agent" and r.affinity == parent.dialogue_id]
    assert first.messages in [request.messages for request in original]
    (resumed,) = dialogues(played)
    assert resumed.dialogue_id != parent.dialogue_id
    now = drawn(parent.dialogue_id, parent.domain, domains)
    assert {time for stated in times(played, resumed).values() for time in stated} == {now}
