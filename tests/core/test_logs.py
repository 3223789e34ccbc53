"""The cause of a failure in logs as torchrun, vLLM and plain programs write them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from core.logs import LINES, why_ended

ENGINE = """\
(APIServer pid=7) INFO 11-27 10:00:00 [api.py:1] version 0.32.0
(EngineCore pid=9) ERROR 11-27 10:00:09 [core.py:900] EngineCore failed to start.
(EngineCore pid=9) ERROR 11-27 10:00:09 [core.py:900] Traceback (most recent call last):
(EngineCore pid=9) ERROR 11-27 10:00:09 [core.py:900]   File "core.py", line 890, in run
(EngineCore pid=9) ERROR 11-27 10:00:09 [core.py:900]     engine = Engine()
(EngineCore pid=9) ERROR 11-27 10:00:09 [core.py:900] ValueError: 2 GiB of KV cache are needed, 1 is available.
(EngineCore pid=9) Process EngineCore:
(EngineCore pid=9) Traceback (most recent call last):
(EngineCore pid=9)   File "process.py", line 314, in _bootstrap
(EngineCore pid=9)     self.run()
(EngineCore pid=9) ValueError: 2 GiB of KV cache are needed, 1 is available.
(APIServer pid=7) Traceback (most recent call last):
(APIServer pid=7)   File "client.py", line 3, in start
(APIServer pid=7) RuntimeError: Engine core initialization failed. See root cause above.
"""
RANKS = """\
[rank1]: Traceback (most recent call last):
[rank0]: Traceback (most recent call last):
[rank1]:   File "worker.py", line 7, in load
[rank0]:   File "worker.py", line 9, in barrier
[rank1]: KeyError: 'weights'
[rank0]: RuntimeError: Connection closed by peer

[rank1]: The above exception was the direct cause of the following exception:

[rank1]: Traceback (most recent call last):
[rank1]:   File "worker.py", line 12, in step
[rank1]: ValueError: layer 3 is missing
E1127 10:00:00 13303 api.py:1002] failed (exitcode: 1) local_rank: 1 (pid: 2) of binary: python
Traceback (most recent call last):
  File "run.py", line 1032, in main
torch.distributed.elastic.multiprocessing.errors.ChildFailedError:
============================================================
worker.py FAILED
"""
KILLED = """\
[rank0]: Traceback (most recent call last):
[rank0]: RuntimeError: Connection closed by peer
E1127 10:00:00 13303 api.py:1002] failed (exitcode: -9) local_rank: 1 (pid: 2) of binary: python
Traceback (most recent call last):
ChildFailedError:
"""


def cause(folder: Path, text: str, start: int = 0) -> str:
    (folder / "log").write_text(text)
    return why_ended(folder / "log", start)


def test_the_engines_exception_is_the_cause_and_not_its_clients(tmp_path: Path) -> None:
    text = cause(tmp_path, ENGINE)
    assert text.startswith("Traceback")
    assert text.endswith("ValueError: 2 GiB of KV cache are needed, 1 is available.")
    assert "See root cause above" not in text
    assert "pid=" not in text


def test_the_first_rank_that_fails_is_the_cause_with_its_chain(tmp_path: Path) -> None:
    lines = cause(tmp_path, RANKS).splitlines()
    assert (lines[2], lines[-1]) == ("KeyError: 'weights'", "ValueError: layer 3 is missing")
    assert not any("peer" in line or "FAILED" in line for line in lines)


def test_a_killed_rank_leaves_only_its_exit_code(tmp_path: Path) -> None:
    assert cause(tmp_path, KILLED).startswith("failed (exitcode: -9) local_rank: 1")


def test_without_an_exception_the_end_of_the_log_is_quoted(tmp_path: Path) -> None:
    lines = [f"line {number}" for number in range(100)]
    assert cause(tmp_path, "\n".join(lines)) == "\n".join(lines[-LINES:])
    assert cause(tmp_path, "") == ""


def test_only_this_session_counts(tmp_path: Path) -> None:
    assert cause(tmp_path, ENGINE + "no such file\n", len(ENGINE)) == "no such file"


def test_of_a_long_chain_each_exception_is_quoted_with_its_message(tmp_path: Path) -> None:
    frames = "".join(f'  File "a.py", line {n}, in f\n' for n in range(60))
    first = (
        f"Traceback (most recent call last):\n{frames}pydantic.ValidationError: 1 error for Config\n  Value error: no\n"
    )
    joint = "\nDuring handling of the above exception, another exception occurred:\n\n"
    second = f"Traceback (most recent call last):\n{frames}OSError: it is gone\n"
    text = cause(tmp_path, first + joint + second + "\nbye\n")
    assert "1 error for Config\n  Value error: no" in text
    assert text.endswith("OSError: it is gone")
    assert len(text.splitlines()) <= LINES


@pytest.mark.slow
def test_the_cause_in_a_log_that_torchrun_writes_now(tmp_path: Path) -> None:
    program = tmp_path / "worker.py"
    program.write_text(
        "import torch.distributed as dist\n"
        "dist.init_process_group('gloo')\n"
        "if dist.get_rank() == 1:\n"
        "    raise ValueError('the samples are gone')\n"
        "dist.barrier()\n"
    )
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", str(program)]
    with (tmp_path / "log").open("wb") as log:
        assert subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, check=False).returncode
    assert why_ended(tmp_path / "log").endswith("ValueError: the samples are gone")
