"""Start the worker processes of a training, report their metrics, and stop them when this process ends."""

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
from core.logs import why_ended
from core.processes import start_supervised
from core.settings import UserError
from training.nodes import Nodes
from training.run_layout import LOG, METRICS, newest_checkpoint, step_of

GRACE_S = 10.0
POLL_S = 0.2

Report = Callable[[dict[str, Any]], None]


def run_workers(directory: Path, processes: int, nodes: Nodes, report: Report) -> None:
    """Train the prepared run in `directory` with `processes` processes on each node.

    `report` gets each new line of metrics.jsonl; the workers' output goes to train.log. Raises UserError with the cause
    from that log if the training fails.
    """
    metrics = directory / METRICS
    offset = _drop_unsaved_metrics(directory)
    program = ["-m", "training.worker", str(directory)]
    log = directory / LOG
    agents: list[subprocess.Popen[bytes]] = []
    with log.open("ab") as output:
        earlier = output.tell()
        for command in (
            nodes.agent_command(0, processes, program),
            *nodes.remote_commands(processes, program, os.environ),
        ):
            agents.append(start_supervised(command, output, GRACE_S))
    try:
        codes: list[int | None] = [None]
        # After one agent fails, the others only wait for it.
        while None in codes and not any(codes):
            codes = [agent.poll() for agent in agents]
            offset = _report_new_lines(metrics, offset, report)
            time.sleep(POLL_S if None in codes else 0)
    finally:
        for agent in agents:
            agent.terminate()
        for agent in agents:
            agent.wait()
    if code := next(filter(None, codes), 0):
        raise UserError(
            f"training ended with code {code}; the same command resumes from the last checkpoint. "
            f"From {log}:\n{why_ended(log, earlier)}"
        )


def join_run(directory: Path, processes: int, nodes: Nodes) -> None:
    """Join, on any node but the first, the training announced in `directory`. Raises UserError if the training
    fails."""
    log = directory / f"{LOG}.{nodes.rank}"
    with log.open("ab") as output:
        earlier = output.tell()
        agent = start_supervised(
            nodes.agent_command(nodes.rank, processes, ["-m", "training.worker", str(directory)]), output, GRACE_S
        )
    try:
        code = agent.wait()
    finally:
        agent.terminate()
        agent.wait()
    if code:
        raise UserError(f"training ended with code {code} on node {nodes.rank}. From {log}:\n{why_ended(log, earlier)}")


def set_environment(processes: int) -> None:
    """Set the environment variables that the workers need; they inherit them. Values set by the user take
    precedence."""
    defaults = {
        # With more threads than cores, every step is several times slower.
        "OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // processes)),
        "TOKENIZERS_PARALLELISM": "false",
        # Plain ZeRO-3 with torch's AdamW needs no compiled DeepSpeed ops.
        "DS_BUILD_OPS": "0",
        # Rows differ in the keys that attention gathers; fixed segments would fragment.
        "PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True",
    }
    if not torch.cuda.is_available():
        # DeepSpeed would detect this, but prints a warning in every process that imports it.
        defaults["DS_ACCELERATOR"] = "cpu"
    for name, value in defaults.items():
        os.environ.setdefault(name, value)


def _drop_unsaved_metrics(directory: Path) -> int:
    """Remove the lines of metrics.jsonl after the checkpoint from which training resumes. Returns the remaining
    size."""
    metrics, checkpoint = directory / METRICS, newest_checkpoint(directory)
    if not metrics.is_file():
        return 0
    saved = step_of(checkpoint) if checkpoint else -1
    lines = [line for line in metrics.read_text().splitlines(keepends=True) if line.endswith("\n")]
    write_atomically(metrics, [line for line in lines if json.loads(line)["step"] <= saved])
    return metrics.stat().st_size


def _report_new_lines(metrics: Path, offset: int, report: Report) -> int:
    """Report the complete lines from byte `offset` on. Returns the offset after them."""
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
