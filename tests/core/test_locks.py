"""Locks that keep processes apart."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from core.locks import locked
from core.settings import UserError

HOLD = """
import sys, time
from pathlib import Path
from core.locks import locked
with locked(Path(sys.argv[1])):
    print("locked", flush=True)
    time.sleep(1.0)
"""


def test_another_process_waits(tmp_path: Path) -> None:
    path = tmp_path / "locks" / "a"
    with subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout
        assert other.stdout.readline() == "locked\n"
        started = time.monotonic()
        with locked(path):
            assert time.monotonic() - started > 0.5
        with locked(tmp_path / "locks" / "b"):
            pass


def test_a_file_system_without_locks_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*arguments: object) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr("fcntl.flock", missing)
    with pytest.raises(UserError, match=r"without file locks \(Function not implemented\).*outputs="):
        locked(tmp_path / "a").__enter__()
