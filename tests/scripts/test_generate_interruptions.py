"""make generate interrupted: full disks, Ctrl-C and kill -9 lose and double nothing."""

from __future__ import annotations

import json
import re
import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from scripts.launch import CONF
from tests.scripts.helpers.generate_runs import BASE, GYM, final, generate

pytestmark = pytest.mark.usefixtures("no_commit")

DIALOGUES = 150
"""Of each of three pipelines: enough that a run is still going on when a busy machine sends its signal late."""


def command(outputs: Path, *overrides: str) -> list[str]:
    return [sys.executable, "-m", "scripts.generate", *BASE, f"outputs={outputs}", GYM, *overrides]


def run_full(outputs: Path, size: int, *overrides: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a process whose files are limited to `size` bytes each."""
    return subprocess.run(
        command(outputs, *overrides),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)),
        cwd=CONF.parent,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.slow
def test_a_full_disk_is_reported_and_the_same_command_resumes(tmp_path: Path) -> None:
    generate(tmp_path, GYM, "n=2")
    full = run_full(tmp_path, 150_000, "n=40")
    assert full.returncode == 2, full.stderr
    assert full.stderr.startswith("the disk is full ([Errno 27] File too large")
    assert full.stderr.count("\n") == 1
    (unfinished,) = [
        d for d in (tmp_path / "generate").iterdir() if '"status": "running"' in (d / "manifest.json").read_text()
    ]
    journalled = (unfinished / "user_oriented_exec" / "journal.jsonl").read_bytes()
    assert 2 < journalled.count(b"\n") < 40
    resumed = generate(tmp_path, GYM, "n=40")
    assert resumed == unfinished
    assert (resumed / "user_oriented_exec" / "journal.jsonl").read_bytes().startswith(journalled)
    assert final(generate(tmp_path, GYM, "n=40")) == final(resumed)


@pytest.mark.slow
def test_databases_that_cannot_be_built_are_named(tmp_path: Path) -> None:
    full = run_full(tmp_path, 4096, "n=2")
    assert full.returncode == 2, full.stderr
    assert re.match(r"cache=.*seeds was given, but the database gym.*cannot be written there", full.stderr)
    assert full.stderr.count("\n") == 1
    assert list((tmp_path / "seeds").iterdir()) == []


def interrupt(outputs: Path, number: signal.Signals, lines: int) -> int:
    """Start the three pipelines and send a signal once their journals have `lines` dialogues; returns the exit code."""
    process = subprocess.Popen(
        # One at a time, so that no burst of them ends the run before the signal.
        command(outputs, "pipeline=all", f"n={DIALOGUES}", "concurrency=1"),
        cwd=CONF.parent,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    while written(outputs) < lines and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(number)
    return process.wait(60)


def written(outputs: Path) -> int:
    return sum(path.read_bytes().count(b"\n") for path in outputs.glob("generate/*/*/journal.jsonl"))


@pytest.mark.slow
def test_no_dialogue_is_lost_or_doubled_by_killing_the_run(tmp_path: Path) -> None:
    codes = [
        interrupt(tmp_path, signal.SIGKILL, 7),
        interrupt(tmp_path, signal.SIGINT, 30),
        interrupt(tmp_path, signal.SIGKILL, 55),
    ]
    assert codes == [-signal.SIGKILL, 130, -signal.SIGKILL]
    assert not (tmp_path / "generate" / "latest").exists()
    assert 55 <= written(tmp_path) < 3 * DIALOGUES
    killed = generate(tmp_path, GYM, "pipeline=all", f"n={DIALOGUES}")
    undisturbed = generate(tmp_path, GYM, "pipeline=all", f"n={DIALOGUES}", "concurrency=5")
    assert killed != undisturbed
    assert len(list((tmp_path / "generate").iterdir())) == 3, "two runs and the link to the newest"
    assert final(killed) == final(undisturbed)
    assert len(final(killed)) == 6
    ids = Counter(
        json.loads(line)["dialogue_id"] for data in final(killed).values() for line in data.decode().splitlines()
    )
    assert len(ids) == 3 * DIALOGUES
    assert set(ids.values()) == {1}
    manifest = json.loads((killed / "manifest.json").read_text())
    assert manifest["status"] == "finished"
    assert undisturbed.samefile(tmp_path / "generate" / "latest")
