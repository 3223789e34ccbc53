"""The file of a page: the same bytes for the same contents, whole or not at all, and small."""

from __future__ import annotations

import base64
import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.page.contents import CallView, MessageView, Page, Transcript
from core.page.page import write_page
from core.page.payload import CHUNK_TRANSCRIPTS
from tests.core.page.helpers.fake_pages import fake_page, fake_transcripts

ELEMENT = re.compile(r'<script type="application/octet-stream" id="([^"]+)">([A-Za-z0-9+/=]*)</script>')


def payload(path: Path) -> dict[str, Any]:
    found = ELEMENT.findall(path.read_text(encoding="utf-8"))
    return {name: json.loads(gzip.decompress(base64.b64decode(data))) for name, data in found}


def transcripts_in(chunk: dict[str, Any]) -> list[Transcript]:
    messages = chunk["messages"]
    return [
        Transcript.model_validate({**one, "messages": [messages[place] for place in one["messages"]]})
        for one in chunk["transcripts"]
    ]


def test_equal_contents_give_equal_bytes_and_their_number_is_returned(tmp_path: Path) -> None:
    one, other = tmp_path / "one.html", tmp_path / "new" / "other.html"
    assert write_page(one, fake_page(20), fake_transcripts(20)) == one.stat().st_size
    write_page(other, fake_page(20), fake_transcripts(20))
    assert one.read_bytes() == other.read_bytes()


def test_transcripts_stand_in_chunks_and_in_an_index(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    transcripts = list(fake_transcripts(CHUNK_TRANSCRIPTS + 5, messages=4))
    write_page(path, fake_page(1), transcripts)
    data = payload(path)
    assert list(data) == ["ui-chunk-0", "ui-chunk-1", "ui-index"]
    assert data["ui-index"]["counts"] == [CHUNK_TRANSCRIPTS, 5]
    assert transcripts_in(data["ui-chunk-0"]) + transcripts_in(data["ui-chunk-1"]) == transcripts
    assert data["ui-index"]["entries"][9] == {
        "key": "d9",
        "title": transcripts[9].title,
        "outcome": "rejected",
        "reason": "state differs",
        "same_task": "task-2",
        "facets": {"domain": ["library"], "difficulty": ["medium"], "tools": ["tool_2", "tool_4"]},
        "turns": 1,
        "branch": {"parent": "d8", "shared": 2},
    }


def test_equal_messages_of_a_chunk_are_written_once(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    write_page(path, fake_page(1), fake_transcripts(10, messages=4))
    # One system message for all, and one first message of the user for each of the three tasks.
    assert len(payload(path)["ui-chunk-0"]["messages"]) == 1 + 3 + 10 * 3


def test_a_chunk_of_long_transcripts_is_closed_early(tmp_path: Path) -> None:
    transcripts = []
    for key in "abc":
        call = CallView(name="dump", arguments="{}", result=key * 3_000_000)
        message = MessageView(index=0, role="assistant", calls=(call,))
        transcripts.append(Transcript(key=key, title="", outcome="passed", messages=(message,)))
    write_page(tmp_path / "page.html", Page(title="page"), transcripts)
    assert payload(tmp_path / "page.html")["ui-index"]["counts"] == [2, 1]


def test_transcripts_are_read_once_and_a_failure_leaves_the_old_page(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text("old")

    def failing() -> Iterator[Transcript]:
        yield from fake_transcripts(3, messages=2)
        raise OSError("disk")

    with pytest.raises(OSError, match="disk"):
        write_page(path, fake_page(3), failing())
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_key_that_occurs_twice_is_refused(tmp_path: Path) -> None:
    twice = [*fake_transcripts(2, messages=2), *fake_transcripts(1, messages=2)]
    with pytest.raises(ValueError, match="two transcripts have the key 'd0'"):
        write_page(tmp_path / "page.html", fake_page(2), twice)


def test_a_page_allows_no_script_but_its_own_and_no_request(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    write_page(path, Page(title="empty"), [])
    html = path.read_text(encoding="utf-8")
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', html)
    assert policy is not None
    assert "default-src 'none'" in policy[1]
    assert re.search(r"script-src 'sha256-[A-Za-z0-9+/]{43}='", policy[1])
    assert "http:" not in html
    assert "https:" not in html


def test_dialogues_take_less_than_four_kilobytes_each(tmp_path: Path) -> None:
    size = write_page(tmp_path / "page.html", fake_page(200), fake_transcripts(200))
    empty = write_page(tmp_path / "empty.html", fake_page(0), [])
    assert (size - empty) / 200 < 4000
