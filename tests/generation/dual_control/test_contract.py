"""The contract of what users do: where it stands in a dialogue, and how it is written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from core.dialogue import Dialogue
from core.dual_control import UserAction, check_user_actions
from core.messages import ContractError
from generation.pipeline import DomainTools
from tests.generation.helpers.pipeline_runs import FinishedRun
from tests.generation.helpers.support_desks import play


def test_actions_must_fit_their_dialogue(played: FinishedRun) -> None:
    dialogue = next(d for d in played.accepted if len({action.message for action in d.user_actions}) > 1)
    first, last = dialogue.user_actions[0], dialogue.user_actions[-1]

    def moved(message: int) -> UserAction:
        return first.model_copy(update={"message": message})

    wrong: list[tuple[str, dict[str, Any]]] = [
        ("not one of the user's tools", {"user_actions": (first.model_copy(update={"tool": "fly"}),)}),
        ("do not fit", {"user_actions": (first.model_copy(update={"arguments": {}}),)}),
        (f"message {first.message + 1}, which is not a user", {"user_actions": (moved(first.message + 1),)}),
        ("which is not a user message", {"user_actions": (moved(len(dialogue.messages)),)}),
        (f"not a user message from {last.message} on", {"user_actions": (last, first)}),
        ("tools of both", {"user_tools": (*dialogue.user_tools, dialogue.tools[0])}),
    ]
    dialogue.check()
    for problem, changes in wrong:
        with pytest.raises(ContractError, match=problem):
            dialogue.model_copy(update=changes).check()


def test_a_dialogue_at_its_limit_is_valid_although_the_user_had_acted_again(
    desks: tuple[DomainTools, ...], tmp_path: Path
) -> None:
    run = play(desks, tmp_path, n=4, max_user_turns=2)
    stopped = [r.dialogue for r in run.rejected if r.dialogue and r.dialogue.stop == "user: not done after 2 messages"]
    assert stopped
    for dialogue in stopped:
        check_user_actions(dialogue.user_actions, dialogue.user_tools, dialogue.tools, dialogue.messages)


def test_a_line_reads_back(played: FinishedRun) -> None:
    for dialogue in played.accepted:
        line = json.loads(dialogue.model_dump_json(exclude_none=True))
        assert isinstance(line["user_tools"], str)
        assert isinstance(line["user_actions"], str)
        assert Dialogue.model_validate(line) == dialogue
