"""make show: which dialogue is shown, what of it, and errors that say how to choose."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from core.journal import write_jsonl
from core.messages import AssistantMessage, UserMessage
from core.page.contents import CallView, Expected, Mark, MessageView, TaskView, Transcript
from core.runs import open_run
from core.settings import UserError
from evaluation.metrics.scores import RECORDS
from generation.outcomes import Outcome, journal
from scripts.show import find_transcript, first_of_kind, render, show
from tests.evaluation.helpers.finished_runs import EVALUATION, finished
from tests.evaluation.helpers.trials import trial
from tests.scripts.helpers.descending_runs import everything_below
from tests.training.helpers.dialogues import dialogue


def text_of(transcript: Transcript) -> str:
    console = Console(width=120, record=True, file=open("/dev/null", "w"))  # noqa: PTH123, SIM115
    console.print(render(transcript))
    return console.export_text()


@pytest.fixture
def generation(tmp_path: Path) -> Path:
    """An interrupted run with an accepted, a rejected and a failed dialogue."""
    with open_run(tmp_path, "generate", {"pipelines": {"user_oriented_exec": {}}}) as run:
        pass
    ends = {0: ("accepted", ()), 1: ("rejected", ("told in task 0",)), 2: ("failed", ("the server is down",))}
    with journal(run.directory / "user_oriented_exec") as lines:
        for number, (status, reasons) in ends.items():
            ended = dialogue(number)
            record = Outcome.model_validate(
                {"dialogue_id": ended.dialogue_id, "status": status, "reasons": reasons, "dialogue": ended}
            )
            lines.append(record, record.dialogue_id)
    return run.directory


def test_the_first_one_that_was_not_accepted_is_shown_and_how_to_choose(generation: Path) -> None:
    found, advice = find_transcript(generation, None)
    assert (found.key, found.outcome) == ("user_oriented_exec-shop-1", "rejected")
    assert advice == ("2 of 3 were not accepted or passed; another one with id=…, such as user_oriented_exec-shop-2")


def test_a_dialogue_is_chosen_by_its_id(generation: Path) -> None:
    found, _ = find_transcript(generation, "user_oriented_exec-shop-0")
    assert found.outcome == "accepted"
    source = dialogue(0)
    shown = text_of(found)
    for message in source.messages:
        if isinstance(message, UserMessage | AssistantMessage) and message.content:
            assert message.content in shown
    assert "You help the customers of the shop." in shown
    assert source.tasks[0].goal in shown


def test_a_dialogue_is_chosen_by_the_kind_of_a_request(generation: Path, tmp_path: Path) -> None:
    assert first_of_kind(generation, "plain") == "user_oriented_exec-shop-0"
    with pytest.raises(UserError, match=r"kind=plian: .* has no such request; did you mean 'plain'"):
        first_of_kind(generation, "plian")
    run = finished(tmp_path, "evaluate", {**EVALUATION, "ks": [1]}, {"models": []})
    with pytest.raises(UserError, match="is a run of evaluate; expected one of generate"):
        first_of_kind(run, "plain")


def test_an_unknown_id_is_refused_with_a_similar_one(generation: Path) -> None:
    with pytest.raises(UserError, match="has no such dialogue; expected an id such as user_oriented_exec-shop-2"):
        find_transcript(generation, "user_oriented_exec-shop2")


def test_a_trial_is_chosen_by_its_key_or_its_task(tmp_path: Path) -> None:
    run = finished(tmp_path, "evaluate", {**EVALUATION, "ks": [1]}, {"models": []})
    write_jsonl(run / RECORDS, [trial("tau2", "retail", n, 0, n != 2, stop_reason=f"end {n}") for n in (1, 2, 3)])
    assert find_transcript(run, None)[0].key == "m/tau2/retail/2/0"
    assert find_transcript(run, "m/tau2/retail/3/0")[0].key == "m/tau2/retail/3/0"
    assert find_transcript(run, "3")[0].key == "m/tau2/retail/3/0"
    assert find_transcript(run, None)[1] == "1 of 3 were not accepted or passed; id=… chooses another one"


def test_a_run_without_dialogues_is_refused(tmp_path: Path) -> None:
    with open_run(tmp_path, "train", {}) as training:
        pass
    with pytest.raises(UserError, match="is a run of train; expected one of generate or evaluate"):
        find_transcript(training.directory, None)
    with open_run(tmp_path, "generate", {"pipelines": {}}) as begun:
        pass
    with pytest.raises(UserError, match="has no dialogue that has ended yet"):
        find_transcript(begun.directory, None)
    with pytest.raises(UserError, match="is not a run"):
        find_transcript(tmp_path, None)


def test_showing_writes_nothing(generation: Path) -> None:
    before = everything_below(generation)
    show(Console(file=open("/dev/null", "w")), generation, None, pager=True)  # noqa: PTH123, SIM115
    assert everything_below(generation) == before


def test_marks_stand_where_they_belong() -> None:
    call = CallView(
        name="cancel", arguments="{}", result="[ok]", marks=(Mark(kind="gold", text="gold call 1 of 1", task=0),)
    )
    shown = text_of(
        Transcript(
            key="k",
            title="t",
            outcome="failed",
            reason="[why]",
            tasks=(
                TaskView(
                    goal="Cancel it.",
                    start=1,
                    gold_calls=(Expected(text="cancel()", met_at=2),),
                    told_values=(Expected(text="14"),),
                ),
            ),
            messages=(
                MessageView(index=1, role="user", content="Please\x1b[2J cancel [bold]."),
                MessageView(index=2, role="assistant", reasoning="I think.", calls=(call,)),
                MessageView(
                    index=4,
                    role="assistant",
                    content="Done.",
                    marks=(Mark(kind="broken_rule", text="ask_first: Ask.", task=None),),
                ),
            ),
        )
    )
    lines = [line.strip() for line in shown.splitlines()]
    assert "failed: [why]" in lines
    assert "✓ gold call cancel() (message 2)" in lines
    assert "✗ tell 14 (not met)" in lines
    assert "Please�[2J cancel [bold]." in lines  # no control character reaches the terminal, and no markup
    ordered = ["[2] assistant", "I think.", "→ cancel({})", "★ gold call 1 of 1 (task 0)", "[ok]", "[4] assistant"]
    assert [line for line in lines if line in ordered] == ordered
    assert "✗ broken rule ask_first: Ask." in lines
    assert any("task 0 begins" in line for line in lines[: lines.index("[1] user") + 1])


def test_reasoning_is_dimmed() -> None:
    message = MessageView(index=0, role="assistant", reasoning="I think.", content="I say.")
    transcript = Transcript(key="k", title="t", outcome="passed", messages=(message,))
    console = Console(width=80, record=True, force_terminal=True, file=open("/dev/null", "w"))  # noqa: PTH123, SIM115
    console.print(render(transcript))
    text = console.export_text(styles=True)
    assert "\x1b[2;3mI think.\x1b[0m" in text
    assert "\x1b[0mI say." in text or "\nI say." in text
