"""Several machines: finding them, the commands that start them, and two agents that connect."""

from __future__ import annotations

import os
import shlex
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from core.settings import UserError
from training.nodes import Nodes, NodesSettings, find_nodes

HOSTFILE = "node-a slots=8 # the first machine\n\nnode-b slots=8\n"
PROGRAM = ["-m", "training.worker", "/shared/my run"]


def settings(hostfile: Path | None = None, port: int = 29500) -> NodesSettings:
    return NodesSettings(hostfile=hostfile, port=port)


FABRIC = dict.fromkeys(
    (
        "CUDA_DEVICE_MAX_CONNECTIONS",
        "FI_PROVIDER",
        "LD_LIBRARY_PATH",
        "PYTORCH_CUDA_ALLOC_CONF",
        "TRITON_CACHE_DIR",
        "UCX_TLS",
    ),
    "1",
)


def test_one_machine_alone() -> None:
    nodes = find_nodes(settings(), {"SLURM_JOB_ID": "7", "SLURM_STEP_NUM_NODES": "1"})
    assert (nodes.hosts, nodes.rank, nodes.job) == (("localhost",), 0, None)
    command = nodes.agent_command(0, 2, PROGRAM)
    assert command[1:] == ["-m", "torch.distributed.run", "--nproc_per_node=2", "--standalone", *PROGRAM]
    assert nodes.remote_commands(2, PROGRAM, {}) == []


def test_the_machines_of_a_hostfile_are_started_over_ssh(tmp_path: Path) -> None:
    file = tmp_path / "hosts"
    file.write_text(HOSTFILE)
    nodes = find_nodes(settings(file, port=31000), {})
    assert (nodes.hosts, nodes.rank, nodes.slots) == (("node-a", "node-b"), 0, 8)
    rendezvous = ["--nnodes=2", "--node_rank=0", "--master_addr=node-a", "--master_port=31000"]
    assert nodes.agent_command(0, 8, PROGRAM)[3:] == ["--nproc_per_node=8", *rendezvous, *PROGRAM]
    (command,) = nodes.remote_commands(
        8, PROGRAM, FABRIC | {"NCCL_DEBUG": "INFO", "HF_HOME": "/a b", "HF_TOKEN": "secret", "HOME": "/"}
    )
    *ssh, host, line = command
    assert (ssh[0], host) == ("ssh", "node-b")
    # The other machine's shell runs the same agent with another rank.
    words = shlex.split(line)
    assert words[:4] == ["cd", str(Path.cwd()), "&&", "env"]
    forwarded = words[4 : 6 + len(FABRIC)]
    assert set(forwarded) == {"HF_HOME=/a b", "NCCL_DEBUG=INFO", *(f"{name}=1" for name in FABRIC)}
    assert words[6 + len(FABRIC) :] == [
        word.replace("node_rank=0", "node_rank=1") for word in nodes.agent_command(0, 8, PROGRAM)
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected the same number of slots on every host, given: no host"),
        ("a slots=8\nb slots=4\n", "expected the same number of slots"),
        ("a\n", "line 1: 'a' was given"),
        ("a slots=8\na slots=8\n", "line 2: 'a slots=8' was given"),
        ("a slots=many\n", "line 1"),
        ("a slots=0\n", "line 1"),
    ],
)
def test_an_invalid_hostfile_is_refused(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "hosts"
    file.write_text(text)
    with pytest.raises(UserError, match=message):
        find_nodes(settings(file))
    with pytest.raises(UserError, match="there is no such file"):
        find_nodes(settings(tmp_path / "nothing"))


def slurm(rank: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The environment of a task of a Slurm step on two nodes, with a scontrol that expands its node list."""
    scontrol = tmp_path / "scontrol"
    scontrol.write_text('#!/bin/sh\n[ "$*" = "show hostnames gpu[07-08]" ] && printf "gpu07\\ngpu08\\n"\n')
    scontrol.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    step = {"SLURM_STEP_NUM_NODES": "2", "SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_NODELIST": "gpu[07-08]"}
    return {**step, "SLURM_JOB_ID": "12", "SLURM_STEP_ID": "0", "SLURM_NODEID": str(rank)}


def test_each_node_of_a_slurm_step_starts_its_own_agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = (find_nodes(settings(), slurm(rank, tmp_path, monkeypatch)) for rank in (0, 1))
    assert first.hosts == second.hosts == ("gpu07", "gpu08")
    assert (first.rank, second.rank) == (0, 1)
    assert second.agent_command(second.rank, 8, PROGRAM)[4:6] == ["--nnodes=2", "--node_rank=1"]
    assert first.remote_commands(8, PROGRAM, {}) == []
    requeued = slurm(1, tmp_path, monkeypatch) | {"SLURM_RESTART_COUNT": "1"}
    assert find_nodes(settings(), requeued).job != second.job
    with pytest.raises(UserError, match="16 tasks were started on 2 nodes; expected one per node"):
        find_nodes(settings(), slurm(0, tmp_path, monkeypatch) | {"SLURM_STEP_NUM_TASKS": "16"})


def test_the_other_nodes_wait_for_the_first_node_s_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = (find_nodes(settings(), slurm(rank, tmp_path, monkeypatch)) for rank in (0, 1))
    monkeypatch.setattr("training.nodes.POLL_S", 0.01)
    run = tmp_path / "train" / "a-run"
    run.mkdir(parents=True)
    timer = threading.Timer(0.2, first.announce, (tmp_path, run))
    timer.start()
    assert second.await_run(tmp_path) == run
    timer.join()


RENDEZVOUS = """
import sys
import torch
import torch.distributed as dist
dist.init_process_group("gloo")
total = torch.tensor([10.0 ** dist.get_rank()])
dist.all_reduce(total)
open(f"{sys.argv[1]}/{dist.get_rank()}", "w").write(f"{dist.get_world_size()} {total.item():.0f}")
dist.destroy_process_group()
"""


@pytest.mark.slow
def test_two_agents_connect(tmp_path: Path) -> None:
    script = tmp_path / "rendezvous.py"
    script.write_text(RENDEZVOUS)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nodes = Nodes(hosts=("127.0.0.1", "127.0.0.1"), port=free.getsockname()[1])
    program = [str(script), str(tmp_path)]
    # The second command is what ssh would run on the other machine.
    (remote,) = nodes.remote_commands(1, program, {"OMP_NUM_THREADS": "1"})
    agents = [subprocess.Popen(nodes.agent_command(0, 1, program)), subprocess.Popen(["sh", "-c", remote[-1]])]
    assert [agent.wait(timeout=120) for agent in agents] == [0, 0]
    assert [(tmp_path / str(rank)).read_text() for rank in (0, 1)] == ["2 11", "2 11"]
    assert sys.executable in remote[-1]
