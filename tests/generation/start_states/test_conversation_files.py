"""Files of foreign conversations: JSON lines, a list, lists by split, a single one, and folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from core.settings import UserError
from generation.start_states.conversation_files import conversation_files, raw_conversations

ONE, TWO = {"messages": [{"role": "user", "content": "1"}]}, {"turns": [{"speaker": "USER", "utterance": "2"}]}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ([ONE, TWO], [ONE, TWO]),
        ({"train": [ONE], "dev": [TWO, ONE], "version": "1"}, [ONE, TWO, ONE]),
        (ONE, [ONE]),
        (TWO, [TWO]),
        ([], []),
    ],
)
def test_a_json_file_holds_a_conversation_or_lists_of_them(value: Any, expected: list[Any], tmp_path: Path) -> None:
    (tmp_path / "some.json").write_text(json.dumps(value, indent=1), encoding="utf-8-sig")
    assert list(raw_conversations(tmp_path / "some.json")) == expected


def test_json_lines_may_be_blank(tmp_path: Path) -> None:
    (tmp_path / "some.jsonl").write_text(f"{json.dumps(ONE)}\n\n{json.dumps(TWO)}\n")
    assert list(raw_conversations(tmp_path / "some.jsonl")) == [ONE, TWO]


def test_a_folder_stands_for_its_json_files(tmp_path: Path) -> None:
    for name in ("b.json", "a.jsonl", "notes.txt"):
        (tmp_path / name).write_text("[]")
    assert [file.name for file in conversation_files(tmp_path)] == ["a.jsonl", "b.json"]
    assert conversation_files(tmp_path / "notes.txt") == (tmp_path / "notes.txt",)


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"expected: a \.json or \.jsonl file"):
        conversation_files(tmp_path)
    for name, kind in (("x.json", "JSON"), ("x.jsonl", "JSON lines")):
        (tmp_path / name).write_text("{nothing")
        with pytest.raises(UserError, match=f"{name} is not {kind}:"):
            list(raw_conversations(tmp_path / name))
