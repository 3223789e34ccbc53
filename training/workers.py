"""Start the worker processes of a training, follow what they report, and end them with us."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from core.records import write_atomically
from core.settings import UserError
from training.attention import check_attention
from training.layout import LOG, METRICS, newest_checkpoint, step_of
from training.settings import TrainSettings

GRACE_S = 10.0
POLL_S = 0.2
TAIL_LINES = 25

Report = Callable[[dict[str, Any]], None]


def run_workers(directory: Path, processes: int, report: Report) -> None:
    """Train the prepared run in `directory` on `processes` processes, calling `report` with each line of metrics.jsonl
    as it comes. Their output goes to train.log. Raises UserError with the end of that log if they fail."""
    metrics = directory / METRICS
    offset = _forget_unsaved(directory)
    supervisor = [sys.executable, "-m", "core.supervisor", str(os.getpid()), str(GRACE_S)]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    log = directory / LOG
    with log.open("ab") as output:
        workers = subprocess.Popen(
            [*supervisor, *torchrun, "-m", "training.sft", str(directory)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        running = True
        while running:
            running = workers.poll() is None
            offset = _pass_on(metrics, offset, report)
            time.sleep(POLL_S if running else 0)
    finally:
        workers.terminate()
        workers.wait()
    if workers.returncode:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-TAIL_LINES:])
        raise UserError(
            f"training ended with code {workers.returncode}; the same command goes on from the last checkpoint. "
            f"The end of {log}:\n{tail}"
        )


def check_machine(settings: TrainSettings) -> int:
    """The number of processes to train with. Raises UserError if this machine cannot train as asked."""
    check_attention(settings.attention)
    processes = settings.processes or torch.cuda.device_count()
    if not processes:
        raise UserError("processes=null means one per GPU, and there is none here: say processes=2")
    if torch.cuda.is_available() and processes > torch.cuda.device_count():
        raise UserError(f"processes={processes} was given, but there are {torch.cuda.device_count()} GPUs")
    if settings.batch_size % processes:
        raise UserError(f"batch_size={settings.batch_size} is not a multiple of the {processes} processes")
    return processes


def set_environment(processes: int) -> None:
    """Set what the workers need in this process's environment, which they inherit; whatever the user has set wins."""
    wanted = {
        # More threads than free cores make every step several times slower.
        "OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // processes)),
        "TOKENIZERS_PARALLELISM": "false",
        # Nothing of DeepSpeed needs compiling for plain ZeRO-3 with torch's AdamW.
        "DS_BUILD_OPS": "0",
    }
    if not torch.cuda.is_available():
        # DeepSpeed finds out by itself, but warns wherever it is imported.
        wanted["DS_ACCELERATOR"] = "cpu"
    for name, value in wanted.items():
        os.environ.setdefault(name, value)


def _forget_unsaved(directory: Path) -> int:
    """Cut from metrics.jsonl what came after the checkpoint from which training resumes; returns the size left."""
    metrics, checkpoint = directory / METRICS, newest_checkpoint(directory)
    if not metrics.is_file():
        return 0
    saved = step_of(checkpoint) if checkpoint else -1
    lines = [line for line in metrics.read_text().splitlines(keepends=True) if line.endswith("\n")]
    write_atomically(metrics, [line for line in lines if json.loads(line)["step"] <= saved])
    return metrics.stat().st_size


def _pass_on(metrics: Path, offset: int, report: Report) -> int:
    if not metrics.is_file():
        return offset
    with metrics.open("rb") as file:
        file.seek(offset)
        for line in file:
            if not line.endswith(b"\n"):
                break
            report(json.loads(line))
            offset += len(line)
    return offset
