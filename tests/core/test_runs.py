from __future__ import annotations

import errno
import hashlib
import json
import os
import subprocess
import sys
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Any

import pytest

from core.journal import RecordError
from core.manifest import read_manifest
from core.runs import Run, latest, open_run, sha256
from core.settings import UserError

CONFIG = {"n": 3, "outputs": "x", "tracking": {"mode": "offline"}}


def test_a_finished_run_is_the_latest_and_records_how_it_was_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["scripts/generate.py", "n=3", "seed=1"])
    with open_run(tmp_path, "generate", CONFIG, {"data": "abc"}) as run:
        assert not run.resumed
        run.finish({"samples": 7})
    assert latest(tmp_path, "generate", "make generate") == run.directory.resolve()
    manifest = read_manifest(run.directory)
    assert (manifest.status, manifest.results, manifest.config) == ("finished", {"samples": 7}, CONFIG)
    assert (manifest.inputs, manifest.group, manifest.run_id) == (
        {"data": "abc"},
        run.directory.name,
        run.directory.name,
    )
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True, check=False
    )
    assert manifest.commit == (head.stdout.strip() or "unknown")
    assert manifest.command == ("n=3", "seed=1")
    assert "apsw" in manifest.packages


def test_runs_that_start_in_the_same_second_are_numbered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Noon(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Noon:
            return cls(2026, 1, 2, 12, 0, 0, tzinfo=tz)

    monkeypatch.setattr("core.runs.datetime", Noon)
    names = []
    for _ in range(3):
        with open_run(tmp_path, "generate", CONFIG) as run:
            run.finish({})
        names.append(run.directory.name.partition("-")[2].partition("-")[0])
    assert names == ["120000", "120000.2", "120000.3"]


def test_only_the_same_configuration_resumes_an_unfinished_run(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), open_run(tmp_path, "generate", CONFIG) as first:
        raise KeyboardInterrupt
    assert read_manifest(first.directory).status == "running"
    with open_run(tmp_path, "generate", CONFIG | {"n": 4}) as other:
        assert not other.resumed
    with open_run(tmp_path, "generate", CONFIG, {"data": "changed"}) as other:
        assert not other.resumed
    with open_run(tmp_path, "generate", CONFIG | {"tracking": {"mode": "disabled"}}) as again:
        assert (again.resumed, again.directory) == (True, first.directory)
        again.finish({})
    with open_run(tmp_path, "generate", CONFIG) as fresh:
        assert not fresh.resumed, "a finished run is never changed"
        assert fresh.directory != first.directory


def test_seconds_add_up_over_interruptions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([100.0, 110.5, 3000.0, 3002.0, 500.0, 504.25])
    monkeypatch.setattr("core.runs.time.monotonic", lambda: next(clock))
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt), open_run(tmp_path, "generate", CONFIG) as run:
            raise KeyboardInterrupt
    assert read_manifest(run.directory).seconds == 12.5
    with open_run(tmp_path, "generate", CONFIG) as run:
        run.finish({})
    assert read_manifest(run.directory).seconds == 16.75


@pytest.mark.parametrize(("variable", "value"), [("PATH", "/nonexistent"), ("GIT_DIR", "/nonexistent")])
def test_without_git_or_a_checkout_the_code_counts_as_changed(
    variable: str, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    with open_run(tmp_path, "generate", CONFIG) as run:
        assert (run.manifest.commit, run.manifest.dirty) == ("unknown", True)


@pytest.mark.parametrize(("status", "dirty"), [("", False), (" M core/runs.py\n", True)])
def test_a_changed_checkout_is_dirty(status: str, dirty: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def git(command: list[str], text: bool, **_: Any) -> subprocess.CompletedProcess[str]:
        assert text, "otherwise commits are bytes, which no JSON holds"
        return subprocess.CompletedProcess(command, 0, stdout=status if "status" in command else "abc123\n")

    monkeypatch.setattr("core.manifest.subprocess.run", git)
    with open_run(tmp_path, "generate", CONFIG) as run:
        assert (run.manifest.commit, run.manifest.dirty) == ("abc123", dirty)


def test_a_named_run_is_resumed_or_refused_with_the_differences(tmp_path: Path) -> None:
    config = CONFIG | {"llm": {"model": "m", "base_urls": ["http://a/v1"], "inner": {"base_urls": [], "seed": 1}}}
    neutral = ("outputs", "llm.base_urls", "llm.inner.base_urls")

    def resume_with(changes: dict[str, Any], inputs: dict[str, str] | None = None) -> Run:
        resume = next((tmp_path / "generate").iterdir())
        return open_run(tmp_path, "generate", config | changes, inputs, neutral=neutral, resume=resume)

    first = open_run(tmp_path, "generate", config, {"data": "1"}, neutral=neutral)
    with first, pytest.raises(UserError, match="another process is working on this run"):
        resume_with({}, {"data": "1"})
    moved = {"model": "m", "base_urls": ["http://b/v1", "http://c/v1"], "inner": {"base_urls": [1], "seed": 1}}
    with resume_with({"llm": moved, "outputs": "elsewhere"}, {"data": "1"}) as again:
        assert (again.resumed, again.directory) == (True, first.directory), "other servers of the same model"
    changed = {"model": "m", "base_urls": [], "inner": {"base_urls": [], "seed": 2}}
    with pytest.raises(UserError, match=r'llm\.inner\.seed was 1 and is 2; n was 3 and is 4; data was "1" and is "2"$'):
        resume_with({"n": 4, "llm": changed}, {"data": "2"})
    with resume_with({}, {"data": "1"}) as last:
        last.finish({})
    with pytest.raises(UserError, match="this run is finished"):
        resume_with({}, {"data": "1"})
    with pytest.raises(RecordError, match="is not a run"):
        open_run(tmp_path, "generate", config, resume=tmp_path)


def test_a_run_locked_by_another_process_is_not_resumed(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib; from core.runs import open_run\n"
        f"run = open_run(pathlib.Path(sys.argv[1]), 'generate', {CONFIG!r})\n"
        "print(run.directory.name, flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    locked_run = holder.stdout.readline().strip()
    with open_run(tmp_path, "generate", CONFIG) as run:
        assert not run.resumed
        assert run.directory.name != locked_run
        run.finish({})
    holder.kill()
    holder.communicate()
    with open_run(tmp_path, "generate", CONFIG) as run:
        assert (run.resumed, run.directory.name) == (True, locked_run), "kill -9 releases the lock"


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK])
def test_a_file_system_without_locks_is_named_and_no_run_is_left(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("core.locks.fcntl.flock", refuse)
    with pytest.raises(UserError, match=f"{tmp_path}/generate is on a file system without file locks .*outputs="):
        open_run(tmp_path, "generate", CONFIG)
    assert not list((tmp_path / "generate").iterdir())


def test_a_run_of_another_user_is_not_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RuntimeError), open_run(tmp_path, "train", CONFIG) as foreign:
        raise RuntimeError
    opened = Path.open

    def refuse(path: Path, *arguments: Any, **options: Any) -> Any:
        if path.parent == foreign.directory and path.name == ".lock":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return opened(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", refuse)
    with open_run(tmp_path, "train", CONFIG) as own:
        assert (own.resumed, own.directory != foreign.directory) == (False, True)
    with pytest.raises(UserError, match="it is another user's"):
        open_run(tmp_path, "train", CONFIG, resume=foreign.directory)


def test_a_failed_run_leaves_the_latest_finished_one_in_place(tmp_path: Path) -> None:
    with open_run(tmp_path, "train", CONFIG) as good:
        good.finish({})
    with pytest.raises(RuntimeError), open_run(tmp_path, "train", CONFIG):
        raise RuntimeError
    assert latest(tmp_path, "train", "make train") == good.directory.resolve()


def test_without_a_finished_run_the_error_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="run `make generate` first"):
        latest(tmp_path, "generate", "make generate")
    with open_run(tmp_path, "generate", CONFIG), pytest.raises(UserError, match="no finished generate run"):
        latest(tmp_path, "generate", "make generate")


def test_a_missing_and_an_invalid_manifest_have_different_errors(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="it has no manifest"):
        read_manifest(tmp_path)
    (tmp_path / "manifest.json").write_text(json.dumps({"run_id": "x"}))
    with pytest.raises(RecordError, match="is not a run manifest"):
        read_manifest(tmp_path)


def test_hashes_depend_on_bytes_and_names(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a").write_bytes(b"1")
    assert sha256(folder / "a") == hashlib.sha256(b"1").hexdigest()
    before = sha256(folder)
    (folder / "a").rename(folder / "b")
    renamed = sha256(folder)
    (folder / "b").write_bytes(b"2")
    assert len({before, renamed, sha256(folder)}) == 3
