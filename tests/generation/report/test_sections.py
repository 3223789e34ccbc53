"""The sections of runs whose dialogues are known one by one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from core.page.contents import Block, Figure, Notice, Section, Table, Tiles
from core.provenance import Provenance
from generation.outcomes import Outcome
from generation.report.counts import Counts
from generation.report.drawings import shares
from generation.report.sections import sections
from generation.report.transcripts import transcripts
from tests.generation.report.hand_made_runs import (
    ASKED,
    PIPELINE,
    accepted,
    edited,
    failed,
    finished_run,
    greeting,
    interrupted_run,
    manifest_of,
    rejected,
    small_dialogue,
    statistics_of,
    task_of,
    write_manifest,
)


def outcomes() -> list[Outcome]:
    """Six accepted, four rejected and one failed."""
    request = {"difficulty": "hard", "follow_up": False, "kind": "evidence"}
    asked = Provenance.model_validate({"writer_requests": {"t0": request}, "tasks_requested": 2})
    two = (task_of(0, kind="evidence"), task_of(1, difficulty="hard"))
    return [
        *(accepted(f"{PIPELINE}-000000{number}") for number in range(4)),
        accepted(f"{PIPELINE}-0000004", tasks=two, provenance=asked, domain="gym"),
        accepted(f"{PIPELINE}-0000005", tasks=two, provenance=asked, domain="gym"),
        rejected(f"{PIPELINE}-0000006", "told in task 0: never told: 7"),
        rejected(f"{PIPELINE}-0000007", "told in task 0: never told: 8", "policy: get (message 3) breaks r"),
        rejected(f"{PIPELINE}-0000008", "state of task 0: wrong", blame="tool", domain="gym"),
        rejected(f"{PIPELINE}-0000009", "finished: task_writer: nothing usable", blame="task"),
        failed(f"{PIPELINE}-0000010"),
    ]


def section(found: Iterable[Section], key: str) -> tuple[Block, ...]:
    return next(section.blocks for section in found if section.key == key)


def tables(blocks: Iterable[Block]) -> dict[str, Table]:
    return {block.title: block for block in blocks if isinstance(block, Table)}


def cells(table: Table) -> list[tuple[str, ...]]:
    return [row.cells for row in table.rows]


def test_the_funnel_counts_each_dialogue_once_and_ends_with_the_accepted(tmp_path: Path) -> None:
    run = finished_run(tmp_path / "run", outcomes())
    found = tables(section(sections(run, manifest_of()), "rejections"))
    assert [row[:3] for row in cells(found[f"{PIPELINE}: from started to accepted"])] == [
        ("started", "11", "11"),
        ("failed", "−1", "10"),
        ("rejected: finished: task_writer", "−1", "9"),
        ("rejected: state", "−1", "8"),
        ("rejected: told", "−2", "6"),
        ("accepted", "6", "6"),
    ]
    assert cells(found[f"{PIPELINE}: reasons of rejections, by blame"]) == [
        ("told", "agent", "2", "18.2%", "1"),
        ("finished: task_writer", "task", "1", "9.1%", "1"),
        ("policy", "agent", "1", "9.1%", "0"),
        ("state", "tool", "1", "9.1%", "1"),
    ]


def test_every_count_of_dialogues_leads_to_as_many_transcripts(tmp_path: Path) -> None:
    run = finished_run(tmp_path / "run", outcomes())
    shown = list(transcripts(run, {}, limit=100, seed=0))
    rejections = tables(section(sections(run, manifest_of()), "rejections"))
    rows = [
        *(
            (int(row.cells[1].strip("−")), row.filter)
            for row in rejections[f"{PIPELINE}: from started to accepted"].rows
        ),
        *((int(row.cells[2]), row.filter) for row in rejections[f"{PIPELINE}: reasons of rejections, by blame"].rows),
    ]
    tiles = next(block for block in section(sections(run, manifest_of()), "generation") if isinstance(block, Tiles))
    rows += [(int(tile.value), tile.filter) for tile in tiles.tiles]
    assert len(rows) == 14
    for count, chosen in rows:
        matching = [
            transcript
            for transcript in shown
            if all(
                value == transcript.outcome if facet == "outcome" else value in transcript.facets.get(facet, ())
                for facet, value in chosen.items()
            )
        ]
        assert len(matching) == count, chosen


def test_reasons_are_counted_as_in_the_statistics() -> None:
    reasons = [
        ("finished: agent: repeats itself",),
        ("told in task 2: never told: 17", "judge: no"),
        ("start: x.jsonl, line 3: not JSON",),
        ("declined in task 0: the agent never said no",),
    ]
    ended = [rejected(f"d{number}", *why) for number, why in enumerate(reasons)]
    counts = Counts({})
    for outcome in ended:
        counts.add(outcome)
    by_kind: Counter[str] = Counter()
    for (kind, _), count in counts.reasons.items():
        by_kind[kind] += count
    assert dict(by_kind) == statistics_of(ended).reasons
    assert len(by_kind) == 5


def test_a_dialogue_with_a_kind_of_reason_in_two_tasks_is_counted_once() -> None:
    counts = Counts({})
    counts.add(rejected("d", "told in task 0: never told: 17", "told in task 1: never told: 4"))
    assert counts.reasons == counts.alone == {("told", "agent"): 1}


def test_what_was_asked_for_and_what_came(tmp_path: Path) -> None:
    run = finished_run(tmp_path / "run", outcomes())
    found = tables(section(sections(run, manifest_of()), "requests"))
    assert [row[:4] for row in cells(found[f"{PIPELINE}: by kind of request"])] == [
        ("plain", "0", "10", "6"),
        ("evidence", "2", "2", "2"),
    ]
    assert cells(found[f"{PIPELINE}: by difficulty"]) == [("easy", "0", "10", "6"), ("hard", "2", "2", "2")]
    assert cells(found[f"{PIPELINE}: by domain"]) == [
        ("gym", "3", "2", "1", "0", "66.7%"),
        ("shop", "7", "4", "3", "0", "57.1%"),
    ]


def test_the_distributions_are_those_of_accepted_dialogues(tmp_path: Path) -> None:
    counts = Counts({})
    for outcome in outcomes():
        counts.add(outcome)
    assert counts.histograms["turn"] == {2: 4, 4: 2}
    assert counts.histograms["task"] == {1: 4, 2: 2}
    assert counts.histograms["user_turns"] == {1: 4, 2: 2}
    assert counts.histograms["step"] == {}
    assert shares(counts.histograms["turn"], 1) == ([2, 3, 4], [4 / 6, 0.0, 2 / 6])
    assert shares(counts.histograms["turn"], 2) == ([2, 4], [4 / 6, 2 / 6])
    run = finished_run(tmp_path / "run", outcomes())
    (figure,) = [b for b in section(sections(run, manifest_of()), "generation") if isinstance(b, Figure)]
    assert figure.svg.startswith("<svg")


def test_warnings_come_first(tmp_path: Path) -> None:
    """The failed dialogue; and a user who always says the same, so that the gate finds too few distinct openings."""
    same = {"messages": small_dialogue("same").messages}
    ended = [accepted(f"{PIPELINE}-{number}", **same) for number in range(3)] + [failed("x")]
    run = finished_run(tmp_path / "run", ended)
    blocks = section(sections(run, manifest_of()), "generation")
    notices = [block for block in blocks if isinstance(block, Notice)]
    assert list(blocks[: len(notices)]) == notices
    assert [notice.level for notice in notices] == ["error", "warning", "warning"]
    assert notices[0].text == (
        f"{PIPELINE}: 1 of 4 dialogues failed (internal), for example x: internal: KeyError: 'x'"
    )
    assert "2.0 turns on average for 1.0 tasks" in notices[1].text
    assert "did not pass its quality gate: distinct_openings are 33.3%" in notices[2].text


def test_a_saturated_run_is_warned_of(tmp_path: Path) -> None:
    run = finished_run(tmp_path / "run", [accepted(f"{PIPELINE}-{number:07d}") for number in range(210)])
    notices = [b.text for b in section(sections(run, manifest_of()), "generation") if isinstance(b, Notice)]
    assert any("goals repeat themselves: 1 distinct ones, without their values, in 210 dialogues" in n for n in notices)


def test_a_fault_of_the_user_simulator_is_shown_with_its_message(tmp_path: Path) -> None:
    tasks = (task_of(0), task_of(0, task_id="t1"))
    repeating = accepted(f"{PIPELINE}-0000000", tasks=tasks)
    run = finished_run(tmp_path / "run", [repeating, accepted(f"{PIPELINE}-0000001")])
    (table,) = tables(section(sections(run, manifest_of()), "user-simulator")).values()
    row = next(row for row in table.rows if row.cells[0] == "repeated messages")
    assert row.cells[1:3] == ("1", "50.0%")
    assert row.cells[4:] == (
        greeting(f"{PIPELINE}-0000000"),
        f"{PIPELINE}-0000000, message 3",
    )
    shown = {t.key: t for t in transcripts(run, {}, limit=1, seed=0)}
    transcript = shown[f"{PIPELINE}-0000000"]
    assert [m.index for m in transcript.messages if any(mark.kind == "fault" for mark in m.marks)] == [3]
    assert row.filter == {"pipeline": PIPELINE, "user fault": "repeated_messages"}
    assert transcript.facets["user fault"] == ("repeated_messages",)


def test_an_interrupted_run_shows_what_has_ended(tmp_path: Path) -> None:
    """Of a dialogue with two attempts, the last counts."""
    ended = [failed(f"{PIPELINE}-0000002", "llm: no answer"), *outcomes()[:3], outcomes()[6]]
    retried = outcomes()[2].model_copy(update={"attempt": 2})
    run = interrupted_run(tmp_path / "run", [*ended[:3], retried, ended[4]])
    with (run / PIPELINE / "journal.jsonl").open("a") as journal:
        journal.write('{"dialogue_id": "torn')
    found = sections(run, manifest_of("running"))
    notices = [block.text for block in section(found, "generation") if isinstance(block, Notice)]
    assert notices[0].startswith("The run has not finished")
    assert notices[1] == f"{PIPELINE}: interrupted: 4 of {ASKED} dialogues have ended."
    tiles = next(block for block in section(found, "generation") if isinstance(block, Tiles))
    assert [tile.value for tile in tiles.tiles] == ["4", "3", "1", "0"]
    assert cells(tables(section(found, "rejections"))[f"{PIPELINE}: from started to accepted"])[1][:2] == (
        "rejected: told",
        "−1",
    )
    assert {"requests", "tasks", "cost", "user-simulator"} <= {found_section.key for found_section in found}
    assert Counter(t.outcome for t in transcripts(run, {}, limit=10, seed=0)) == {"accepted": 3, "rejected": 1}


def test_statistics_of_another_version_are_left_out_with_a_warning(tmp_path: Path) -> None:
    run = finished_run(tmp_path / "run", outcomes())
    edited(run / PIPELINE / "statistics.json", 0, temperature=3)
    found = sections(run, manifest_of())
    notices = [block.text for block in section(found, "generation") if isinstance(block, Notice)]
    assert any("another version" in notice for notice in notices)
    assert {found_section.key for found_section in found} == {"generation", "requests", "rejections"}


def test_a_corrupt_journal_is_reported_and_hides_no_other_pipeline(tmp_path: Path) -> None:
    run = finished_run(tmp_path / "run", outcomes())
    (run / "broken").mkdir()
    (run / "broken" / "journal.jsonl").write_text("{}\n")
    manifest = manifest_of("running", "broken", PIPELINE)
    write_manifest(run, manifest)
    found = sections(run, manifest)
    assert any(isinstance(b, Notice) and "broken cannot be read" in b.text for b in section(found, "generation"))
    assert len(tables(section(found, "rejections"))) == 2
    assert len(list(transcripts(run, {}, limit=100, seed=0))) == 11


def test_a_run_that_made_tools_only_says_so(tmp_path: Path) -> None:
    (tmp_path / "toolsets.jsonl").touch()
    (only,) = sections(tmp_path, manifest_of())
    assert [block.text for block in only.blocks if isinstance(block, Notice)] == [
        "The run made tools only, no dialogues."
    ]
