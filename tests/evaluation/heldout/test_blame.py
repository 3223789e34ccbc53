"""Planted faulty users and agents in live held-out dialogues are the ones that are blamed."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

from core.messages import AssistantMessage
from evaluation.known_answers.heldout_agents import AgentClass
from evaluation.known_answers.heldout_check import KnownModel
from evaluation.known_answers.heldout_wrong_agents import WRONG
from evaluation.metrics.pass_at_k import summarize
from evaluation.trials import TrialRecord
from generation.llm.base import Request
from generation.llm.contexts import UserContext
from generation.scripted.llm import ScriptedLLM
from tests.evaluation.helpers.heldout import MakeHeldout, run_heldout


class Leaving(ScriptedLLM):
    """A user simulator that never says what it wants and then leaves."""

    def _answer(self, request: Request, rng: Random) -> AssistantMessage:
        if not isinstance(request.context, UserContext):
            return super()._answer(request, rng)
        is_first = not request.context.transcript[request.context.task_start :]
        text = "Hello, I have a question." if is_first else "Never mind, goodbye."
        return AssistantMessage(content=json.dumps({"user_message": text, "is_task_complete": not is_first}))


def outcomes(
    settings: dict[str, Any], make: MakeHeldout, agent: AgentClass, directory: Path, simulator: Any = None
) -> list[TrialRecord]:
    benchmark = make(settings | {"categories": ["unseen_databases"], "dialogues": 12}, simulator)
    return run_heldout(KnownModel("m", agent), benchmark, None, directory)


def test_a_user_that_never_says_what_it_wants_is_blamed(
    settings: dict[str, Any], heldout: MakeHeldout, tmp_path: Path
) -> None:
    records = outcomes(settings, heldout, WRONG["does nothing"][0], tmp_path, Leaving())
    assert {(record.success, record.blame) for record in records} == {(False, "user")}
    assert all("it never said " in str(record.blame_reason) for record in records)
    assert summarize(records, (1,)).blame == {"user": 12}
    transcript = (tmp_path / str(records[0].transcript)).read_text()
    assert f"\nto blame: the user ({records[0].blame_reason})\n" in transcript


def test_agents_that_do_nothing_or_err_are_blamed(
    settings: dict[str, Any], heldout: MakeHeldout, tmp_path: Path
) -> None:
    for name, (agent, _) in WRONG.items():
        records = outcomes(settings, heldout, agent, tmp_path / name)
        failed = [record for record in records if record.success is False]
        assert failed or name == "always helpful"
        assert {record.blame for record in failed} <= {"agent"}, name
        assert all(record.blame is None for record in records if record.success)
