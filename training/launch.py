"""Start the worker processes of a training, follow what they report, and end them with us."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from core.files import write_atomically
from core.processes import log_tail, start_supervised
from core.settings import UserError
from training.nodes import Nodes
from training.run_layout import LOG, METRICS, newest_checkpoint, step_of

GRACE_S = 10.0
POLL_S = 0.2
TAIL_LINES = 25

Report = Callable[[dict[str, Any]], None]


def run_workers(directory: Path, processes: int, nodes: Nodes, report: Report) -> None:
    """Train the prepared run in `directory` on `processes` processes of each node, calling `report` with each line of
    metrics.jsonl as it comes. Their output goes to train.log. Raises UserError with the end of that log if they fail."""
    metrics = directory / METRICS
    offset = _forget_unsaved(directory)
    program = ["-m", "training.worker", str(directory)]
    log = directory / LOG
    agents: list[subprocess.Popen[bytes]] = []
    with log.open("ab") as output:
        for command in (nodes.agent(0, processes, program), *nodes.remote(processes, program, os.environ)):
            agents.append(start_supervised(command, output, GRACE_S))
    try:
        codes: list[int | None] = [None]
        # Where one agent has failed the others only wait for it.
        while None in codes and not any(codes):
            codes = [agent.poll() for agent in agents]
            offset = _pass_on(metrics, offset, report)
            time.sleep(POLL_S if None in codes else 0)
    finally:
        for agent in agents:
            agent.terminate()
        for agent in agents:
            agent.wait()
    if code := next(filter(None, codes), 0):
        raise UserError(
            f"training ended with code {code}; the same command goes on from the last checkpoint. "
            f"The end of {log}:\n{log_tail(log, TAIL_LINES)}"
        )


def join_run(directory: Path, processes: int, nodes: Nodes) -> None:
    """Take part as a node that is not the first in the training that it has announced. Raises UserError if that fails."""
    log = directory / f"{LOG}.{nodes.rank}"
    with log.open("ab") as output:
        agent = start_supervised(
            nodes.agent(nodes.rank, processes, ["-m", "training.worker", str(directory)]), output, GRACE_S
        )
    try:
        code = agent.wait()
    finally:
        agent.terminate()
        agent.wait()
    if code:
        raise UserError(f"training ended with code {code} on node {nodes.rank}; its words are in {log}")


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
