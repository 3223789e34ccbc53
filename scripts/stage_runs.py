"""Runs stages as commands for `make ablation`: each distinct command once, whoever needs it, also after kill -9."""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from core.locks import locked
from core.logs import why_ended
from core.manifest import Manifest, read_manifest
from core.processes import start_supervised
from core.settings import UserError

GRACE_S = 15.0
POLL_S = 0.2


def runs_directory(outputs: Path) -> Path:
    """Where stages of experiments write: apart from other runs, whose `latest` they must not become."""
    return outputs / "ablations" / "runs"


def merge_overrides(*groups: Iterable[str]) -> tuple[str, ...]:
    """Overrides in order, of which a later one replaces an earlier one of the same key."""
    merged: dict[str, str] = {}
    for word in (word for group in groups for word in group):
        key = word.partition("=")[0]
        merged.pop(key, None)
        merged[key] = word
    return tuple(merged.values())


def finished_run(outputs: Path, stage: str, words: Sequence[str]) -> Path | None:
    """The newest finished run of a stage that was started with exactly these overrides, Hydra's own ones aside."""
    directories = sorted((path.parent for path in (outputs / stage).glob("*/manifest.json")), reverse=True)
    for directory in directories:
        if not directory.is_symlink() and (manifest := _manifest(directory)) and manifest.status == "finished":
            started_with = [word for word in manifest.command if not word.startswith(("hydra.", "hydra/"))]
            if started_with == list(words):
                return directory
    return None


def run_stage(outputs: Path, stage: str, overrides: Sequence[str], log: Path) -> tuple[Path, bool]:
    """The run of `python -m scripts.<stage> outputs=… overrides`, and whether it was there already.

    A command that another process is running is awaited, not started twice. The stage's output is appended to `log`.
    Raises UserError with the cause from the log if the stage fails.
    """
    words = [f"outputs={outputs}", *overrides]
    with locked(outputs / "locks" / f"{stage}-{_digest(words)}"):
        if run := finished_run(outputs, stage, words):
            return run, True
        code, start = _run([sys.executable, "-m", f"scripts.{stage}", *words], log)
        # Code 1 of a generation that ended: some dialogues failed, and its statistics say which.
        if run := finished_run(outputs, stage, words):
            return run, False
    raise UserError(f"{stage} ended with code {code}; the same command continues. From {log}:\n{why_ended(log, start)}")


def _run(command: Sequence[str], log: Path) -> tuple[int, int]:
    """The exit code of the command, and where its output begins in `log`."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        start = output.tell()
        process = start_supervised(command, output, GRACE_S)
        try:
            while process.poll() is None:
                time.sleep(POLL_S)
        finally:
            process.terminate()
            code = process.wait()
    return code, start


def _digest(words: Sequence[str]) -> str:
    return hashlib.sha256(json.dumps(list(words)).encode()).hexdigest()[:16]


def _manifest(directory: Path) -> Manifest | None:
    """None for a run whose manifest is being written, and for one of another version."""
    try:
        return read_manifest(directory)
    except UserError:
        return None
