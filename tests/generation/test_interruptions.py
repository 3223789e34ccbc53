"""Interrupted runs, corrupt lines and full disks: nothing written is lost."""

from __future__ import annotations

import asyncio
import errno
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from core.journal import RecordError
from generation.outcomes import Outcome
from generation.runner import finish
from generation.scripted.llm import ScriptedLLM
from tests.generation.helpers.pipeline_answers import EXECUTED, Domains
from tests.generation.helpers.pipeline_runs import (
    FinishedRun,
    files,
    ignore,
    pipeline_of,
    run_local,
)


class PulledPlugError(Exception):
    pass


def interrupt_after(count: int) -> Callable[[Outcome], None]:
    seen: list[Outcome] = []

    def on_outcome(outcome: Outcome) -> None:
        seen.append(outcome)
        if len(seen) >= count:
            raise PulledPlugError

    return on_outcome


async def _resume(domains: Domains, directory: Path, on_outcome: Callable[[Outcome], None] = ignore) -> None:
    pipeline = pipeline_of(EXECUTED, domains, ScriptedLLM())
    try:
        await run_local(pipeline, directory, 30, 8, on_outcome)
    finally:
        pipeline.environments.close()


def test_an_interrupted_run_resumes_and_gives_the_same_files(
    executed: FinishedRun, domains: Domains, tmp_path: Path
) -> None:
    for count in (3, 11, 20):
        with pytest.raises(PulledPlugError):
            asyncio.run(_resume(domains, tmp_path, interrupt_after(count)))
    journal = (tmp_path / "journal.jsonl").read_bytes()
    assert 20 <= journal.count(b"\n") < 30, "dialogues in flight may still have ended"
    assert not (tmp_path / "dialogues.jsonl").exists()
    (tmp_path / "journal.jsonl").write_bytes(journal[:-100])  # the last line is torn, as after kill -9
    reported: list[Outcome] = []
    asyncio.run(_resume(domains, tmp_path, reported.append))
    assert files(tmp_path) == files(executed.directory)
    assert sorted(outcome.dialogue_id for outcome in reported) == [f"{EXECUTED}-{i:07d}" for i in range(30)]
    sessions = {json.loads(line)["session"] for line in (tmp_path / "journal.jsonl").read_text().splitlines()}
    assert sessions == {1, 2, 3, 4}
    asyncio.run(_resume(domains, tmp_path))
    assert files(tmp_path) == files(executed.directory), "a finished run is not run again"


@pytest.mark.parametrize(
    ("line", "why"),
    [(b"{torn\n", "not a record of this journal"), (b'{"dialogue_id": "x", "status": "fine"}\n', "status")],
)
def test_a_corrupt_line_names_its_file_and_number(
    line: bytes, why: str, executed: FinishedRun, domains: Domains, tmp_path: Path
) -> None:
    lines = (executed.directory / "journal.jsonl").read_bytes().splitlines(keepends=True)
    path = tmp_path / "journal.jsonl"
    path.write_bytes(b"".join([*lines[:3], line, *lines[4:]]))
    with pytest.raises(RecordError, match=rf"{path}, line 4: .*{why}"):
        asyncio.run(_resume(domains, tmp_path))
    assert path.read_bytes().splitlines(keepends=True)[4:] == lines[4:], "later lines are kept"


def test_a_full_disk_ends_the_run_and_keeps_what_was_written(
    executed: FinishedRun, domains: Domains, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = 9
    real = os.fsync

    def fsync(descriptor: int) -> None:
        nonlocal room
        room -= 1
        if room < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match="No space left"):
        asyncio.run(_resume(domains, tmp_path))
    monkeypatch.undo()
    lines = (tmp_path / "journal.jsonl").read_text().splitlines()
    assert len(lines) == 9
    assert all(json.loads(line)["dialogue_id"] for line in lines)
    asyncio.run(_resume(domains, tmp_path))
    assert files(tmp_path) == files(executed.directory)


def test_final_files_depend_on_the_journal_alone(executed: FinishedRun, tmp_path: Path) -> None:
    lines = (executed.directory / "journal.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "journal.jsonl").write_bytes(b"".join(lines[::-1]))
    assert finish(executed.pipeline, tmp_path) == executed.statistics
    assert files(tmp_path) == files(executed.directory)
