"""Start commands that never outlive this process.

    python -m core.processes PARENT_PID GRACE_SECONDS COMMAND …

A context manager cannot stop a process whose owner is killed with SIGKILL. This module, run as a small supervisor
process, can: when its parent dies, on SIGTERM, or when the command ends, it stops the command's entire process group:
SIGTERM first, SIGKILL after the grace period.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

POLL_S = 0.2


def start_supervised(
    command: Sequence[str | Path], output: IO[bytes], grace_s: float, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start `command` under a supervisor, with `environment` added to this process's; stdout and stderr go to `output`.

    It runs in its own session, so Ctrl-C reaches only this process, and it stops when this process dies. `terminate`
    stops it within `grace_s` seconds.
    """
    return subprocess.Popen(
        [sys.executable, "-m", "core.processes", str(os.getpid()), str(grace_s), *command],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        env=os.environ | dict(environment or {}),
        start_new_session=True,
    )


def supervise(parent: int, grace_s: float, command: Sequence[str]) -> int:
    """Run `command` until it ends, `parent` dies or SIGTERM arrives. Returns its exit code, or 128 + signal."""
    stopping = False

    def stop(signum: int, frame: object) -> None:
        nonlocal stopping
        stopping = True

    signal.signal(signal.SIGTERM, stop)
    # Ctrl-C reaches the owner, which then terminates this supervisor.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, process_group=0)
    while child.poll() is None and not stopping and os.getppid() == parent:
        time.sleep(POLL_S)
    _end_group(child, grace_s)
    code = child.wait()
    return code if code >= 0 else 128 - code


def _end_group(child: subprocess.Popen[bytes], grace_s: float) -> None:
    """Send SIGTERM to the group, then SIGKILL to its members left after `grace_s` seconds, even if its leader is
    dead."""
    deadline = time.monotonic() + grace_s
    _signal_group(child, signal.SIGTERM)
    _wait(lambda: not _signal_group(child, 0), deadline, child)
    _signal_group(child, signal.SIGKILL)


def _wait(done: Callable[[], bool], deadline: float, child: subprocess.Popen[bytes]) -> None:
    while not done() and time.monotonic() < deadline:
        child.poll()  # reaps the leader, which would otherwise count as a member of its group
        time.sleep(POLL_S / 4)


def _signal_group(child: subprocess.Popen[bytes], signum: int) -> bool:
    """Signal the group; returns whether it still has a member (signal 0 only checks)."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signum)
        return True
    return False


if __name__ == "__main__":
    sys.exit(supervise(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3:]))
