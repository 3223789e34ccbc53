"""Workers: their failures are reported, and none outlives its owner."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from evaluation.worker_process import HarnessError, run_worker


def test_a_failing_worker_is_reported_with_what_its_log_says(tmp_path: Path) -> None:
    code = "import os, sys; print('it was', os.environ['WHAT']); sys.exit(3)"
    with pytest.raises(HarnessError, match=r"(?s)code 3.*it was the disk"):
        run_worker((sys.executable, "-c", code), {"WHAT": "the disk"}, tmp_path / "logs" / "log", lambda: None)


@pytest.mark.slow
def test_a_worker_ends_when_its_owner_is_killed(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    work = f"import os, pathlib, time; pathlib.Path({str(pid_file)!r}).write_text(str(os.getpid())); time.sleep(60)"
    owner = (
        "import sys, pathlib; from evaluation.worker_process import run_worker; "
        f"run_worker((sys.executable, '-c', {work!r}), {{}}, pathlib.Path({str(tmp_path / 'log')!r}), lambda: None)"
    )
    process = subprocess.Popen([sys.executable, "-c", owner])
    _wait_until(lambda: pid_file.is_file() and pid_file.read_text() != "")
    process.send_signal(signal.SIGKILL)
    process.wait()
    _wait_until(lambda: not _alive(int(pid_file.read_text())))


def _wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
