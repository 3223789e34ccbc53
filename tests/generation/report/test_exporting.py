"""The section of an export of three dialogues, of which one names a benchmark's customer."""

from __future__ import annotations

from pathlib import Path

from core.journal import write_jsonl
from core.page.contents import Notice, Table
from generation.report.exporting import export_section
from tests.generation.helpers.export_dialogues import dialogue
from tests.generation.helpers.exports import exported


def export_of(folder: Path) -> Path:
    texts = ("Find me a hall, please.", "Book the pool for agent_99.", "What does a ticket cost?")
    answers = ("Hall one is free.", "It is booked.", "Nine euros.")
    pairs = enumerate(zip(texts, answers, strict=True))
    write_jsonl(folder / "dialogues.jsonl", [dialogue(f"d-{number}", *pair) for number, pair in pairs])
    exported([folder / "dialogues.jsonl"], folder / "export")
    return folder / "export"


def test_removals_and_shared_items_are_shown(tmp_path: Path) -> None:
    exported_dialogues, shared = export_section(export_of(tmp_path)).blocks
    assert isinstance(exported_dialogues, Table)
    assert [row.cells for row in exported_dialogues.rows] == [
        ("user_oriented", "read", "3", "100.0%"),
        ("user_oriented", "removed: entities", "−1", "33.3%"),
        ("user_oriented", "kept", "2", "66.7%"),
    ]
    assert isinstance(shared, Table)
    assert (shared.title, [row.cells for row in shared.rows]) == (
        "Shared with exam 7",
        [("entities", "1", "1", "removed", "d-1: agent_99 (task 3)")],
    )


def test_a_report_of_another_version_gives_a_warning(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text('{"run": "r"}')
    (block,) = export_section(tmp_path).blocks
    assert isinstance(block, Notice)
    assert "another version" in block.text
