"""The machines of a training: this one, those of a hostfile, or those of a Slurm step; each runs one torchrun agent.

All machines need access to the run directory, whose config.json every rank reads, and to a published model under the
same path (the hub's cache). With a hostfile, start the training on its first machine, which starts the others over ssh.
Under Slurm each node runs one task (srun, or Hydra's submitit launcher): the first one prepares the data and announces
the run directory; the others wait for the announcement and join.
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
FORWARDED_PREFIXES = (
    "CUDA_",
    "DS_",
    "FI_",
    "GLOO_",
    "HF_HOME",
    "HF_HUB_OFFLINE",
    "LD_LIBRARY_PATH",
    "NCCL_",
    "OMP_NUM_THREADS",
    "PYTORCH_",
    "TOKENIZERS_PARALLELISM",
    "TORCH_",
    "TRITON_",
    "UCX_",
)
"""Environment variables with these prefixes are passed on over ssh, those of GPUs and fabrics among them; none of them
is a secret token."""


class NodesSettings(Settings):
    """The machines of a training."""

    hostfile: Path | None = Field(
        description='file in DeepSpeed\'s format: a line "host slots=8" per machine, this one first; null: only this '
        "machine, or the nodes of the current Slurm step"
    )
    port: int = Field(ge=1024, le=65535, description="port on which the first machine listens")


@dataclass(frozen=True)
class Nodes:
    """The machines of a training, as seen from this one."""

    hosts: tuple[str, ...] = ("localhost",)
    """In the order of their ranks."""

    rank: int = 0
    """The rank of this machine."""

    slots: int | None = None
    """Processes on each machine, if a hostfile specifies them."""

    port: int = 29500

    job: str | None = None
    """The Slurm step; None if the first machine starts the others."""

    def agent_command(self, rank: int, processes: int, program: list[str]) -> list[str]:
        """The command that runs `program` (torchrun's trailing arguments) in `processes` processes on the machine with
        `rank`."""
        torchrun = [sys.executable, "-m", "torch.distributed.run", f"--nproc_per_node={processes}"]
        if len(self.hosts) == 1:
            return [*torchrun, "--standalone", *program]
        rendezvous = [f"--nnodes={len(self.hosts)}", f"--node_rank={rank}"]
        return [*torchrun, *rendezvous, f"--master_addr={self.hosts[0]}", f"--master_port={self.port}", *program]

    def remote_commands(self, processes: int, program: list[str], environment: Mapping[str, str]) -> list[list[str]]:
        """The commands that start the agents of the other machines over ssh; empty under Slurm, which starts them."""
        if self.job:
            return []
        variables = [
            f"{name}={value}" for name, value in sorted(environment.items()) if name.startswith(FORWARDED_PREFIXES)
        ]
        commands = []
        for rank, host in enumerate(self.hosts[1:], start=1):
            words = ["env", *variables, *self.agent_command(rank, processes, program)]
            # With a terminal (-tt) the agent ends when the connection does.
            line = f"cd {shlex.quote(str(Path.cwd()))} && {shlex.join(words)}"
            commands.append(["ssh", "-tt", "-o", "BatchMode=yes", host, line])
        return commands

    def announce(self, outputs: Path, directory: Path) -> None:
        """Tell the other nodes of a Slurm step that the run directory is ready."""
        if self.job and len(self.hosts) > 1:
            write_json(_announcement(outputs, self.job), {"directory": str(directory.resolve())})

    def withdraw(self, outputs: Path) -> None:
        """Remove the announcement when the training has ended, so that the next training of the step does not find
        it."""
        if self.job:
            _announcement(outputs, self.job).unlink(missing_ok=True)

    def await_run(self, outputs: Path) -> Path:
        """Wait until the first node has announced the run directory. If that node fails before, Slurm ends this
        process, provided the step was started with srun --kill-on-bad-exit."""
        assert self.job, "only the nodes of a Slurm step wait"
        announcement = _announcement(outputs, self.job)
        while not announcement.is_file():
            time.sleep(POLL_S)
        return Path(json.loads(announcement.read_text())["directory"])


def _announcement(outputs: Path, job: str) -> Path:
    return outputs / "train" / f".nodes-{job}.json"


def find_nodes(settings: NodesSettings, environment: Mapping[str, str] | None = None) -> Nodes:
    """The machines to train on. Raises UserError for an invalid hostfile, or a Slurm step with several tasks per
    node."""
    environment = os.environ if environment is None else environment
    if settings.hostfile:
        hosts, slots = _read_hostfile(settings.hostfile)
        return Nodes(hosts, 0, slots, settings.port)
    if int(environment.get("SLURM_STEP_NUM_NODES", "1")) == 1:
        return Nodes(port=settings.port)
    if environment.get("SLURM_STEP_NUM_TASKS") != environment["SLURM_STEP_NUM_NODES"]:
        raise UserError(
            f"{environment.get('SLURM_STEP_NUM_TASKS')} tasks were started on {environment['SLURM_STEP_NUM_NODES']} "
            "nodes; expected one per node, which starts a process for each GPU: srun --ntasks-per-node=1"
        )
    list_hosts = ["scontrol", "show", "hostnames", environment["SLURM_STEP_NODELIST"]]
    hosts = tuple(subprocess.run(list_hosts, capture_output=True, text=True, check=True).stdout.split())
    # A requeued job keeps its id: the restart count tells its announcement from that of the previous attempt.
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
                f'{path}, line {number}: {line.strip()!r} was given; expected "HOST slots=N", each host once'
            )
        slots[host] = int(count)
    if len(set(slots.values())) != 1:
        raise UserError(f"{path}: expected the same number of slots on every host, given: {slots or 'no host'}")
    return tuple(slots), next(iter(slots.values()))
