"""The held-out benchmark judges what agents do, not how they word it: correct agents solve everything, wrong ones
nothing, with every kind of user, several tasks in a dialogue, and databases that are not ours."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from evaluation.heldout.benchmark import Heldout
from evaluation.known_answers.check import KnownSettings
from evaluation.known_answers.heldout_check import check, run_agent
from evaluation.known_answers.heldout_voices import CORRECT, Confirming, Inquiring
from evaluation.known_answers.heldout_wrong_agents import WRONG
from generation.scripted.llm import ScriptedLLM
from generation.seeds.bundled import BundledSeeds
from generation.seeds.sqlite import SqliteSeeds
from tests.evaluation.helpers.heldout import MakeHeldout, dialogues, user_preset
from tests.helpers.paths import CONF, SHARED_DATA

PRESETS = sorted(path.stem for path in (CONF / "user").glob("*.yaml"))
CHINOOK = SHARED_DATA / "chinook" / "chinook.sqlite"
SPIDER = sorted((SHARED_DATA / "spider" / "database").glob("*/*.sqlite"))
EVERY_DIFFICULTY = {"easy": 1.0, "medium": 1.0, "hard": 1.0}


def posed(settings: dict[str, Any], dialogues: int, tasks: int = 1, **more: Any) -> dict[str, Any]:
    """The shipped settings for unseen databases only, with tasks of every difficulty."""
    changes = {"dialogues": dialogues, "categories": ["unseen_databases"]}
    changes["tasks"] = settings["tasks"] | {"difficulties": EVERY_DIFFICULTY}
    changes["base"] = settings["base"] | {"tasks_per_dialogue": tasks}
    return settings | changes | more


def test_correct_agents_solve_all_bundled_tasks_and_wrong_ones_none(
    settings: dict[str, Any], heldout: MakeHeldout, tmp_path: Path
) -> None:
    benchmark = heldout(posed(settings, dialogues=15))
    rows = check({"bundled": benchmark}, KnownSettings(outputs=tmp_path, concurrency=8))
    assert [row.answers for row in rows] == [*CORRECT, *WRONG]
    assert [row.answers for row in rows if not row.holds] == []
    assert [row.passed for row in rows[:-1]] == [15] * 5 + [0] * 5
    assert 0 < rows[-1].passed < 15, "the helpful agent never asks, as two of the policies demand before some calls"
    several = [d for d in dialogues(tmp_path / "known/heldout/bundled/terse").values() if len(d.tasks[0].subgoals) > 2]
    assert len(several) >= 3


def test_requests_of_every_kind_have_known_answers(
    settings: dict[str, Any], heldout: MakeHeldout, tmp_path: Path
) -> None:
    """What the table expects of the agents is compared with what the kinds mean."""
    kinds = settings["axes"]["kind"]
    benchmark = heldout(posed(settings, dialogues=3, subset="full", axes={"kind": kinds}))
    rows = check({"bundled": benchmark}, KnownSettings(outputs=tmp_path, concurrency=8))
    assert [(row.category, row.answers) for row in rows if not row.holds] == []
    passed = {
        (row.category.removeprefix("bundled, "), row.answers): row.passed / row.tasks for row in rows if row.tasks
    }
    for kind in kinds:
        assert [passed[kind, name] for name in CORRECT] == [1.0] * 5
        assert passed[kind, "does nothing"] == (1.0 if kind == "irrelevant" else 0.0)
        assert passed[kind, "changes more"] < 1.0 or kind == "no_tool"
    must_ask_or_decline = set(kinds) - {"evidence", "computed", "long_result", "changed"}
    assert {kind for kind in kinds if not passed[kind, "always helpful"]} == must_ask_or_decline
    unposed = [row for row in rows if not row.tasks]
    assert all("not posed on " in row.answers for row in unposed)
    assert ["repair_shop (" in row.answers for row in unposed if "forbidden" in row.category] == [True]


@pytest.mark.parametrize("preset", PRESETS)
def test_with_every_kind_of_user_and_several_tasks_in_a_dialogue(
    preset: str, settings: dict[str, Any], heldout: MakeHeldout, tmp_path: Path
) -> None:
    user = user_preset(preset)
    benchmark = heldout(posed(settings, dialogues=5, tasks=3, user=user))
    rows = check({preset: benchmark}, KnownSettings(outputs=tmp_path, concurrency=8))
    assert [row.answers for row in rows if not row.holds] == []


@pytest.mark.parametrize("path", [CHINOOK, *SPIDER], ids=lambda path: path.stem)
def test_on_given_databases(path: Path, settings: dict[str, Any], heldout: MakeHeldout, tmp_path: Path) -> None:
    if not path.is_file():
        pytest.skip(f"no ../shared/data with {path.name} here")
    benchmark = heldout(posed(settings, dialogues=8), databases=SqliteSeeds([path]))
    rows = check({path.stem: benchmark}, KnownSettings(outputs=tmp_path, concurrency=8))
    assert [row.answers for row in rows if not row.holds] == []


class OddlyConfirming(Confirming):
    """Its wording is in no rule of the scripted user."""

    CONFIRM = (
        "A word from you and I am off",
        "Objections",
        "I would rather have your blessing first.",
        "Over to you; nothing has happened so far.",
        "Speak now or forever hold your peace.",
        "Sorry to be a nuisance: one little nod is all it takes.",
        "Standing by",
        "On your mark.",
        "Unless you object, this comes next.",
        "The button is armed…",
    )

    def confirm(self, wish: str) -> str:
        """Where a policy demands the user's yes, only a question gets it."""
        return f"May I {wish} now?"


class OddlyAsking(Inquiring):
    """Its wording is in no rule of the scripted user."""

    QUESTIONS = (
        "Hmm, two of those come to mind.",
        "Got it — and the particulars",
        "Go on.",
        "Let me look into that for you, with a bit of context.",
        "Too little for me to work with, I am afraid. My apologies!",
        "One of many. Narrow it down",
        "Beg your pardon",
        "The long version, if you don't mind.",
        "Details. Details.",
        "You lost me there.",
    )


@pytest.mark.parametrize("agent", [OddlyConfirming, OddlyAsking])
@pytest.mark.parametrize("preset", ["terse", "adversarial"])  # the least patient ones
def test_wording_that_no_rule_knows_fails_no_one(
    preset: str, agent: Any, settings: dict[str, Any], heldout: MakeHeldout, tmp_path: Path
) -> None:
    user = user_preset(preset)
    benchmark = heldout(posed(settings, dialogues=8, tasks=2, user=user))
    records, _ = run_agent("odd", agent, benchmark, tmp_path, concurrency=8)
    assert [record.task_id for record in records if not record.success] == []


def test_the_agents_differ_in_their_words(settings: dict[str, Any], cache: Path, tmp_path: Path) -> None:
    changes = {"subset": "full", "axes": {"kind": ["incomplete", "withdrawn", "forbidden", "no_tool", "irrelevant"]}}
    benchmark = Heldout(ScriptedLLM(), BundledSeeds(cache, held_out=True), **posed(settings, dialogues=4, **changes))
    answers: dict[str, set[str]] = {}
    for name, agent in CORRECT.items():
        run_agent(name, agent, benchmark, tmp_path, concurrency=8)
        played = dialogues(tmp_path / name.replace(" ", "_")).values()
        texts = [m.content for d in played for m in d.messages if m.role == "assistant" and not m.tool_calls]
        answers[name] = {re.sub(r"\W+", " ", text) for text in texts}
    for name, texts in answers.items():
        assert not any(texts & other for key, other in answers.items() if key != name)
