"""The machines of one training: this one alone, those of a hostfile, or those of a Slurm step; each runs one torchrun agent.

All of them see the run directory, whose config.json every rank reads, and a published model in the same place (the hub's cache).
With a hostfile the training is started on its first machine, which starts the others over ssh. Under Slurm every node starts by
itself, one task each (srun, or Hydra's submitit launcher): the first prepares the data and announces the run directory, the
others wait for that and join.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from core.files import write_json
from core.settings import Settings, UserError

POLL_S = 1.0
FORWARDED = (
    "NCCL_",
    "GLOO_",
    "TORCH_",
    "DS_",
    "HF_HOME",
    "HF_HUB_OFFLINE",
    "OMP_NUM_THREADS",
    "TOKENIZERS_PARALLELISM",
)
"""StartStates of the names of variables that a machine reached over ssh is given; no token is among them."""


class NodesSettings(Settings):
    """`hostfile` has DeepSpeed's format, a line "host slots=8" for each machine, the first of which is this one; None is this
    machine alone, or the nodes of the Slurm step in which we run. `port` is where the first machine listens."""

    hostfile: Path | None
    port: int = Field(ge=1024, le=65535)


@dataclass(frozen=True)
class Nodes:
    """`hosts` in the order of their ranks, `rank` that of this machine. `slots` are processes on each where that is said. `job`
    names a Slurm step; without it the first host starts the others."""

    hosts: tuple[str, ...] = ("localhost",)
    rank: int = 0
    slots: int | None = None
    port: int = 29500
    job: str | None = None

    def agent(self, rank: int, processes: int, program: list[str]) -> list[str]:
        """The command that runs `program` (torchrun's words after its own) in `processes` processes on the machine with `rank`."""
        torchrun = [sys.executable, "-m", "torch.distributed.run", f"--nproc_per_node={processes}"]
        if len(self.hosts) == 1:
            return [*torchrun, "--standalone", *program]
        where = [f"--nnodes={len(self.hosts)}", f"--node_rank={rank}"]
        return [*torchrun, *where, f"--master_addr={self.hosts[0]}", f"--master_port={self.port}", *program]

    def remote(self, processes: int, program: list[str], environment: Mapping[str, str]) -> list[list[str]]:
        """The commands by which this machine starts the agents of the others; none where they start by themselves."""
        if self.job:
            return []
        given = [f"{name}={value}" for name, value in sorted(environment.items()) if name.startswith(FORWARDED)]
        commands = []
        for rank, host in enumerate(self.hosts[1:], start=1):
            words = ["env", *given, *self.agent(rank, processes, program)]
            # With a terminal (-tt) the agent ends when the connection does.
            line = f"cd {shlex.quote(str(Path.cwd()))} && {shlex.join(words)}"
            commands.append(["ssh", "-tt", "-o", "BatchMode=yes", host, line])
        return commands

    def announce(self, outputs: Path, directory: Path) -> None:
        """Tell the other nodes of a Slurm step that the run directory is ready."""
        if self.job and len(self.hosts) > 1:
            write_json(_announcement(outputs, self.job), {"directory": str(directory.resolve())})

    def withdraw(self, outputs: Path) -> None:
        """The training has ended: another one of the same step is not to find its announcement."""
        if self.job:
            _announcement(outputs, self.job).unlink(missing_ok=True)

    def await_run(self, outputs: Path) -> Path:
        """Wait until the first node has announced the run directory. Slurm ends us if that node fails before, where the step was
        started with srun --kill-on-bad-exit."""
        assert self.job, "only the nodes of a Slurm step wait"
        announcement = _announcement(outputs, self.job)
        while not announcement.is_file():
            time.sleep(POLL_S)
        return Path(json.loads(announcement.read_text())["directory"])


def _announcement(outputs: Path, job: str) -> Path:
    return outputs / "train" / f".nodes-{job}.json"


def find_nodes(settings: NodesSettings, environment: Mapping[str, str] | None = None) -> Nodes:
    """Raises UserError for a hostfile or a Slurm step that cannot be trained on."""
    environment = os.environ if environment is None else environment
    if settings.hostfile:
        hosts, slots = _read_hostfile(settings.hostfile)
        return Nodes(hosts, 0, slots, settings.port)
    if int(environment.get("SLURM_STEP_NUM_NODES", "1")) == 1:
        return Nodes(port=settings.port)
    if environment.get("SLURM_STEP_NUM_TASKS") != environment["SLURM_STEP_NUM_NODES"]:
        raise UserError(
            f"{environment.get('SLURM_STEP_NUM_TASKS')} tasks on {environment['SLURM_STEP_NUM_NODES']} nodes were started; one "
            "on each is expected, which starts a process for each GPU: srun --ntasks-per-node=1"
        )
    listed = ["scontrol", "show", "hostnames", environment["SLURM_STEP_NODELIST"]]
    hosts = tuple(subprocess.run(listed, capture_output=True, text=True, check=True).stdout.split())
    # A requeued job has its old id: what its first attempt announced must not be taken for news.
    parts = ("SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_RESTART_COUNT")
    job = ".".join(environment.get(name, "0") for name in parts)
    return Nodes(hosts, int(environment["SLURM_NODEID"]), None, settings.port, job)


def _read_hostfile(path: Path) -> tuple[tuple[str, ...], int]:
    if not path.is_file():
        raise UserError(f"nodes.hostfile={path} was given, but there is no such file")
    slots: dict[str, int] = {}
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        host, *rest = words
        count = rest[0].removeprefix("slots=") if len(rest) == 1 else ""
        if not count.isdigit() or not int(count) or host in slots:
            raise UserError(
                f'{path}, line {number}: {line.strip()!r} was given; "HOST slots=N" is expected, each host once'
            )
        slots[host] = int(count)
    if len(set(slots.values())) != 1:
        raise UserError(f"{path}: as many slots on every host are expected, given: {slots or 'no host'}")
    return tuple(slots), next(iter(slots.values()))
