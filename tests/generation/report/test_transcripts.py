"""Transcripts of a dialogue written by hand, and which dialogues are drawn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.dialogue import PlannedCall
from core.page.contents import Branch, Expected, Mark, Transcript
from core.provenance import Provenance
from generation.environments.base import DomainEnvironment, EnvironmentFactory
from generation.environments.sql import SqlEnvironmentFactory
from generation.report.expectations import met_tasks
from generation.report.transcripts import draw, transcripts
from tests.generation.report.hand_made_runs import (
    CHANGE,
    PIPELINE,
    RULE,
    accepted,
    edited,
    failed,
    finished_run,
    rejected,
    shop_run,
    small_dialogue,
    task_of,
)


@pytest.fixture
def environments() -> Iterator[dict[str, EnvironmentFactory]]:
    factory = SqlEnvironmentFactory()
    yield {PIPELINE: factory}
    factory.close()


def marks(transcript: Transcript) -> dict[int, list[tuple[str, str]]]:
    """Index of a message -> kind and text of its marks, and of those of its calls."""
    found = {
        message.index: [
            (mark.kind, mark.text) for mark in (*message.marks, *(m for call in message.calls for m in call.marks))
        ]
        for message in transcript.messages
    }
    return {index: of_message for index, of_message in found.items() if of_message}


def test_marks_stand_where_it_happened(tmp_path: Path, environments: dict[str, EnvironmentFactory]) -> None:
    (transcript,) = transcripts(shop_run(tmp_path / "run"), environments, limit=10, seed=0)
    assert marks(transcript) == {
        2: [("gold", "gold call 2 of 3")],
        5: [("broken_rule", f"private_visits: {RULE.text}")],
        7: [("gold", "gold call 1 of 3"), ("change", CHANGE)],
        9: [("told", "1.5")],
    }
    by_index = {message.index: message for message in transcript.messages}
    assert list(by_index) == [0, 1, 2, 5, 7, 9, 10]
    assert [call.marks for call in by_index[2].calls] == [(), (Mark(kind="gold", text="gold call 2 of 3", task=0),)]
    assert by_index[7].calls[0].result == '{"rows_affected": 1}'
    assert by_index[7].reasoning == "I look."


def test_the_task_stands_beside_its_proof_and_judgment(
    tmp_path: Path, environments: dict[str, EnvironmentFactory]
) -> None:
    (transcript,) = transcripts(shop_run(tmp_path / "run"), environments, limit=10, seed=0)
    (task,) = transcript.tasks
    assert task.start == 1
    assert task.gold_calls == (
        Expected(text='update_city(customer_id=1, city="Paris")', met_at=7),
        Expected(text="list_products()", met_at=2),
        Expected(text='update_price(sku="pen", price=2.0)', met_at=None),
    )
    assert task.told_values == (Expected(text="1.5", met_at=9), Expected(text="Oslo", met_at=None))
    assert dict(task.facts) == {
        "kind": "evidence",
        "difficulty": "medium",
        "withheld": "Paris",
        "evidence": "3 rows, 2 look-ups",
        "changes the state": "yes",
    }
    assert [(check.name, check.passed) for check in task.checks] == [
        ("state of task 0", True),
        ("told in task 0", False),
    ]
    assert [(check.name, check.passed) for check in transcript.checks] == [("finished", True), ("policy", False)]
    assert task.judgment == "valid (2 of 3 votes)"
    assert task.judge_reasoning == "All was done.\nnot met (NonCritical): It is polite."
    assert transcript.changes == (CHANGE,)
    assert (transcript.outcome, transcript.key) == ("rejected", f"{PIPELINE}-0000003")
    assert transcript.reason.startswith("told in task 0: never told: Oslo; policy:")
    assert transcript.facets == {
        "pipeline": (PIPELINE,),
        "reason": ("policy", "told"),
        "first reason": ("told",),
        "blame": ("agent",),
        "domain": ("shop",),
        "kind": ("evidence",),
        "difficulty": ("medium",),
        "tasks": ("1",),
        "tool": ("get_customer", "list_products", "list_visits", "update_city"),
        "parallel calls": ("yes",),
        "stop": ("complete",),
    }


def test_without_an_environment_nothing_is_replayed(tmp_path: Path) -> None:
    (transcript,) = transcripts(shop_run(tmp_path / "run"), {}, limit=10, seed=0)
    assert {kind for of_message in marks(transcript).values() for kind, _ in of_message} == {"gold", "told"}
    assert transcript.changes == (CHANGE,)


def test_tools_that_a_model_simulates_are_not_called(tmp_path: Path) -> None:
    """A simulated environment would answer with other results, and a model's would cost."""

    class Simulated:
        executable, engine = False, None

        def for_domain(self, *arguments: object) -> DomainEnvironment:
            opened.append(arguments)
            raise AssertionError

        def close(self) -> None: ...

    opened: list[object] = []
    (transcript,) = transcripts(shop_run(tmp_path / "run"), {PIPELINE: Simulated()}, limit=10, seed=0)
    assert set(marks(transcript)) == {2, 7, 9}
    assert not opened


def test_a_dialogue_that_does_not_replay_has_no_marks_of_a_replay(
    tmp_path: Path, environments: dict[str, EnvironmentFactory]
) -> None:
    run = shop_run(tmp_path / "run")
    rejections = run / PIPELINE / "rejected.jsonl"
    rejections.write_text(rejections.read_text().replace('{\\"rows_affected\\": 1}', '{\\"rows_affected\\": 2}'))
    (transcript,) = transcripts(run, environments, limit=10, seed=0)
    assert 'rows_affected": 2' in str(transcript.messages[4].calls[0].result)
    assert {kind for of_message in marks(transcript).values() for kind, _ in of_message} == {"gold", "told"}


def test_a_missing_database_leaves_the_transcript(tmp_path: Path, environments: dict[str, EnvironmentFactory]) -> None:
    run = shop_run(tmp_path / "run")
    (run / "shop.db").unlink()
    (transcript,) = transcripts(run, environments, limit=10, seed=0)
    assert set(marks(transcript)) == {2, 7, 9}


def test_a_gold_call_has_equal_arguments_and_each_call_stands_for_one() -> None:
    """Record 1 is looked up in message 2, record 2 in messages 4 and 6."""
    tool = {"name": "get", "description": "get", "parameters": {"type": "object"}}
    messages: list[dict[str, object]] = [{"role": "system", "content": ""}, {"role": "user", "content": "Hi."}]
    for call_id, record in (("a", 1), ("b", 2), ("c", 2)):
        function = {"name": "get", "arguments": f'{{"record": {record}}}'}
        messages.append({"role": "assistant", "tool_calls": [{"id": call_id, "function": function}]})
        messages.append({"role": "tool", "tool_call_id": call_id, "content": "[]"})
    gold = [PlannedCall(tool="get", arguments={"record": record}) for record in (2, 2, 3, 1)]
    task = task_of(gold_calls=gold)
    (met,) = met_tasks(small_dialogue("d", tasks=(task,), messages=messages, tools=[tool]))
    assert [call.met_at for call in met.gold_calls] == [4, 6, None, 2]
    assert met.calls == {(4, "b"): 0, (6, "c"): 1, (2, "a"): 3}


def test_a_value_in_parts_is_told_by_the_answer_that_completes_it() -> None:
    """As validation reads it: all answers as one text."""
    texts = ("You serve.", "Move me.", "I moved you to", "Where?", "Paris it is.", "Thanks.", "Paris is nice.")
    roles = ("system", *("user", "assistant") * 3)
    messages = [{"role": role, "content": text} for role, text in zip(roles, texts, strict=True)]
    task = task_of(told_values=("to Paris", "Paris", "Rome"))
    (met,) = met_tasks(small_dialogue("d", tasks=(task,), messages=messages))
    assert [value.met_at for value in met.told_values] == [4, 4, None]


def test_a_line_that_cannot_be_read_stops_no_other(tmp_path: Path) -> None:
    run = finished_run(tmp_path / "run", [accepted(f"{PIPELINE}-{number}") for number in range(3)] + [failed("x")])
    edited(run / PIPELINE / "dialogues.jsonl", 0, colour="red")
    with (run / PIPELINE / "dialogues.jsonl").open("a") as lines:
        lines.write("not JSON\n")
    found = {transcript.key: transcript for transcript in transcripts(run, {}, limit=10, seed=0)}
    assert len(found) == 5
    assert "colour" in found[f"{PIPELINE}-0"].reason
    assert found[f"{PIPELINE}-1"].messages
    assert found[f"{PIPELINE}/dialogues.jsonl, line 4"].facets["reason"] == ("unreadable",)
    assert found[f"{PIPELINE}/x"].text == "Traceback: …"


def test_a_dialogue_that_cannot_be_shown_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = finished_run(tmp_path / "run", [accepted(f"{PIPELINE}-{number}") for number in range(2)])
    edited(run / PIPELINE / "dialogues.jsonl", 0, task_starts=[40])
    found = {transcript.key: transcript for transcript in transcripts(run, {}, limit=10, seed=0)}
    assert found[f"{PIPELINE}-1"].messages

    def broken(*arguments: object) -> None:
        raise KeyError("tool")

    monkeypatch.setattr("generation.report.transcript.met_tasks", broken)
    assert {t.text for t in transcripts(run, {}, limit=10, seed=0)} == {
        "The dialogue cannot be shown: KeyError: 'tool'"
    }


def test_forks_name_their_parent_and_share_its_task(tmp_path: Path) -> None:
    """The parent is in another run; its id is also that of a dialogue of this one."""
    parent = {"parent": f"{PIPELINE}-0", "parent_messages": 3, "parent_config": "other", "config": "this"}
    other, here = Provenance.model_validate(parent), Provenance.model_validate(parent | {"parent_config": "this"})
    ended = [accepted(f"{PIPELINE}-0"), *(accepted(f"{PIPELINE}-{n}", provenance=other) for n in (1, 2))]
    run = finished_run(tmp_path / "run", [*ended, accepted(f"{PIPELINE}-3", provenance=here)])
    found = {t.key.removeprefix(f"{PIPELINE}-"): t for t in transcripts(run, {}, limit=10, seed=0)}
    assert [found[n].branch for n in "0123"] == [
        None,
        Branch(parent="", shared=3),
        Branch(parent="", shared=3),
        Branch(parent=f"{PIPELINE}-0", shared=3),
    ]
    assert found["1"].same_task == found["2"].same_task != ""
    assert found["0"].same_task == "" != found["3"].same_task != found["1"].same_task


@pytest.mark.parametrize(
    ("good", "bad", "limit", "shown"),
    [
        (40, 10, 100, (40, 10)),
        (40, 10, 50, (40, 10)),
        (90, 10, 20, (16, 4)),
        (97, 3, 20, (17, 3)),
        (60, 60, 20, (10, 10)),
        (10, 90, 20, (2, 18)),
        (0, 30, 20, (0, 20)),
        (30, 0, 20, (20, 0)),
    ],
)
def test_rejected_dialogues_have_their_share_and_at_least_a_fifth(
    tmp_path: Path, good: int, bad: int, limit: int, shown: tuple[int, int]
) -> None:
    ended = [accepted(f"{PIPELINE}-{n}", messages=()) for n in range(good)]
    ended += [rejected(f"{PIPELINE}-{good + n}", "judge: no") for n in range(bad)]
    run = finished_run(tmp_path / "run", ended)
    drawn = draw(run, limit, seed=3)
    assert (drawn.accepted, drawn.not_accepted) == shown
    outcomes = Counter(transcript.outcome for transcript in transcripts(run, {}, limit, seed=3))
    assert (outcomes["accepted"], outcomes["rejected"]) == shown


def test_a_draw_depends_on_its_seed_only(tmp_path: Path) -> None:
    ended = [accepted(f"{PIPELINE}-{number:07d}", messages=()) for number in range(1500)]
    run = finished_run(tmp_path / "run", ended)
    keys = [t.key for t in transcripts(run, {}, limit=30, seed=1)]
    assert keys == sorted(keys) == [t.key for t in transcripts(run, {}, limit=30, seed=1)]
    assert set(keys) == {f"{name}" for name in draw(run, 30, seed=1).chosen[PIPELINE]}
    assert set(keys) != set(draw(run, 30, seed=2).chosen[PIPELINE])
    picked = Counter(int(name[-7:]) // 500 for seed in range(20) for name in draw(run, 30, seed).chosen[PIPELINE])
    assert all(150 < picked[third] < 250 for third in range(3)), "600 draws, a third from each third of the file"


def test_the_note_says_how_many_of_how_many(tmp_path: Path) -> None:
    ended = [accepted(f"{PIPELINE}-{n}") for n in range(1200)] + [rejected("r", "judge: no"), failed("f")]
    run = finished_run(tmp_path / "run", ended)
    assert draw(run, 2000, 0).note == "all 1,202 dialogues"
    assert draw(run, 1000, 0).note == ("1,000 of 1,202 dialogues, drawn at random: 998 of 1,200 accepted, 2 of 2 not")


def test_fewer_long_dialogues_are_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = [accepted(f"{PIPELINE}-{n}") for n in range(100)]
    run = finished_run(tmp_path / "run", ended)
    (file,) = run.glob("*/dialogues.jsonl")
    monkeypatch.setattr("generation.report.transcripts.MOST_BYTES", file.stat().st_size // 4)
    assert draw(run, 100, 0).note.startswith(
        "25 of 100 dialogues, drawn at random, as many as a file of 20 MB holds: 25 of 100"
    )
    assert draw(run, 10, 0).note.startswith("10 of 100 dialogues, drawn at random: ")
    assert len(list(transcripts(run, {}, limit=100, seed=0))) == 25
