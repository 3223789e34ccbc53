"""Run a benchmark's official code in a process of its own and watch it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from core.processes import log_tail, start_supervised
from core.settings import UserError

POLL_S = 0.5
GRACE_S = 5.0
TAIL_LINES = 15


class HarnessError(UserError):
    """The official code of a benchmark refused its settings or failed as a whole; the message ends with the last lines of its
    log. What was held before is in the journal, and the same command goes on from there."""


def run_worker(
    command: Sequence[str | Path], environment: Mapping[str, str], log: Path, tick: Callable[[], None]
) -> None:
    """Run `command` to its end with `environment` added to ours and its output appended to `log`; calls `tick` twice a second.

    It ends when we do, even by kill -9. Raises HarnessError if it ends with a code other than 0.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        process = start_supervised(command, output, GRACE_S, _common() | dict(environment))
    try:
        while _wait(process) is None:
            tick()
    finally:
        process.terminate()
        process.wait()
    tick()
    if process.returncode:
        tail = log_tail(log, TAIL_LINES)
        raise HarnessError(f"{command[0]} ended with code {process.returncode}; the end of {log}:\n{tail}")


def _wait(process: subprocess.Popen[bytes]) -> int | None:
    try:
        return process.wait(POLL_S)
    except subprocess.TimeoutExpired:
        return None


def _common() -> dict[str, str]:
    # No proxy stands between us and a server on this machine, whatever the environment says.
    direct = ",".join(filter(None, (os.environ.get("NO_PROXY"), "127.0.0.1,localhost")))
    return {"NO_PROXY": direct, "no_proxy": direct, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
