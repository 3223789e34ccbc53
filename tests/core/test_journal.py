from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

from core.files import write_atomically, write_json
from core.journal import Journal, RecordError, lines_of, read_jsonl, read_jsonl_at, write_jsonl


class Line(BaseModel):
    key: str
    text: str | None = None


def journal(path: Path) -> Journal:
    return Journal(path, key=lambda record: str(record["key"]))


def test_a_record_is_on_disk_before_the_journal_is_closed(tmp_path: Path) -> None:
    opened = journal(tmp_path / "new" / "deep" / "j.jsonl")
    opened.append(Line(key="a", text="Zoë"), "a")
    assert list(read_jsonl(opened.path, Line)) == [Line(key="a", text="Zoë")]
    opened.close()
    with journal(opened.path) as again:
        assert again.keys == {"a"}
        again.append(Line(key="b"), "b")
        assert again.keys == {"a", "b"}
    with pytest.raises(ValueError, match="closed file"):
        again.append(Line(key="c"), "c")
    assert [line.key for line in read_jsonl(opened.path, Line)] == ["a", "b"]


@pytest.mark.parametrize("cut", range(1, 30, 4))
def test_a_torn_last_line_is_cut_off(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "j.jsonl"
    with journal(path) as opened:
        opened.append(Line(key="a", text="first"), "a")
        complete = path.stat().st_size
        opened.append(Line(key="b", text="second"), "b")
    os.truncate(path, path.stat().st_size - cut if path.stat().st_size - cut > complete else complete)
    with journal(path) as opened:
        assert opened.keys == {"a"}
        opened.append(Line(key="c"), "c")
    assert [line.key for line in read_jsonl(path, Line)] == ["a", "c"]


@pytest.mark.parametrize("bad", ["not json", "[]", '{"other": 1}'])
def test_a_corrupt_line_in_the_middle_names_file_and_line(tmp_path: Path, bad: str) -> None:
    path = tmp_path / "j.jsonl"
    path.write_text(f'{{"key": "a"}}\n{bad}\n{{"key": "c"}}\n')
    with pytest.raises(RecordError, match=r"j\.jsonl, line 2: not a record of this journal"):
        journal(path)
    with pytest.raises(RecordError, match=r"j\.jsonl, line 2: not a Line"):
        list(read_jsonl(path, Line))
    assert path.read_text().count("\n") == 3, "the file was not repaired silently"


def test_blank_lines_are_no_records(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    path.write_bytes(b'{"key":"a"}\n\n{"key":"b"}\r\n \n\n')
    assert [line.key for line in read_jsonl(path, Line)] == ["a", "b"]
    assert [read_jsonl_at(path, offset, Line).key for offset, _, _ in lines_of(path)] == ["a", "b"]
    with pytest.raises(RecordError, match="line 2: not a record of this journal"):
        journal(path)  # which no one edits


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="there is no such file"):
        list(read_jsonl(tmp_path / "none.jsonl", Line))


FULL_DISK = """
    import resource, signal, sys
    from pathlib import Path
    from core.journal import Journal
    from pydantic import BaseModel
    class Line(BaseModel):
        key: str
        text: str
    # A write beyond the limit fails as on a full disk: part of it is written, then OSError.
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    journal = Journal(Path(sys.argv[1]), key=lambda record: record["key"])
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
    for number in range(20):
        try:
            journal.append(Line(key=str(number), text="x" * 150), str(number))
        except OSError:
            break
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    journal.append(Line(key="after", text="the disk has room again"), "after")
    journal.close()
"""


def test_a_full_disk_leaves_complete_lines_and_a_usable_journal(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    subprocess.run([sys.executable, "-c", textwrap.dedent(FULL_DISK), str(path)], check=True)
    assert [json.loads(line)["key"] for line in path.read_text().splitlines()] == [*"01234", "after"]


def test_a_process_killed_during_a_write_loses_no_reported_record(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    program = textwrap.dedent("""
        import sys
        from pathlib import Path
        from core.journal import Journal
        from pydantic import BaseModel
        class Line(BaseModel):
            key: str
        journal = Journal(Path(sys.argv[1]), key=lambda record: record["key"])
        number = 0
        while True:
            journal.append(Line(key=str(number)), str(number))
            print(number, flush=True)
            number += 1
    """)
    writer = subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    reported = [int(writer.stdout.readline()) for _ in range(50)]
    writer.kill()
    reported += [int(line) for line in writer.stdout.read().splitlines()]
    writer.wait()
    with journal(path) as opened:
        assert {str(number) for number in reported} <= opened.keys
        assert len(opened.keys) <= len(reported) + 1


def test_a_file_is_replaced_completely_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "sub" / "f.txt"
    write_atomically(path, "old")

    def broken() -> Iterator[str]:
        yield "half of the new"
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        write_atomically(path, broken())
    assert path.read_text() == "old"
    assert [p.name for p in path.parent.iterdir()] == ["f.txt"]
    write_json(path, {"b": 1, "a": "Zoë"})
    assert path.read_text() == '{\n  "b": 1,\n  "a": "Zoë"\n}\n'


def test_records_are_written_without_empty_fields(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "r.jsonl", [Line(key="a"), Line(key="b", text="t")])
    assert (tmp_path / "r.jsonl").read_text() == '{"key":"a"}\n{"key":"b","text":"t"}\n'
