"""Runs a benchmark's official code in a separate process and monitors it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from core.logs import why_ended
from core.processes import start_supervised
from core.settings import UserError

POLL_S = 0.5
GRACE_S = 5.0


class HarnessError(UserError):
    """A benchmark's official code refused its settings or crashed; the message ends with the cause from its log.

    Trials completed before are in the journal, and the same command resumes from there.
    """


def run_worker(
    command: Sequence[str | Path], environment: Mapping[str, str], log: Path, tick: Callable[[], None]
) -> None:
    """Runs `command` with `environment` added to ours until it ends; calls `tick` twice a second.

    Its output is appended to `log`. The command ends when we do, even on SIGKILL. Raises HarnessError if its exit code
    is not 0.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        earlier = output.tell()
        process = start_supervised(command, output, GRACE_S, _base_environment() | dict(environment))
    try:
        while _wait(process) is None:
            tick()
    finally:
        process.terminate()
        process.wait()
    tick()
    if process.returncode:
        cause = why_ended(log, earlier)
        raise HarnessError(f"{command[0]} ended with exit code {process.returncode}; from {log}:\n{cause}")


def _wait(process: subprocess.Popen[bytes]) -> int | None:
    try:
        return process.wait(POLL_S)
    except subprocess.TimeoutExpired:
        return None


def _base_environment() -> dict[str, str]:
    # Servers on this machine must not be reached through a proxy, even if the environment names one.
    direct = ",".join(filter(None, (os.environ.get("NO_PROXY"), "127.0.0.1,localhost")))
    return {"NO_PROXY": direct, "no_proxy": direct, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
