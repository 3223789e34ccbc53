"""scripts/setup.sh with an emulated nvidia-smi and uv: what would be installed on which machine."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.helpers.paths import ROOT

UV = """#!/bin/bash
echo "archs=${FLASH_ATTN_CUDA_ARCHS:-} $*" >> "$CALLS"
if [ "$1" = venv ]; then mkdir -p "${@: -1}/bin"; touch "${@: -1}/bin/python"; chmod +x "${@: -1}/bin/python"; fi
[[ "$*" != *,flash]* ]] || exit "${FLASH_EXIT:-0}"
"""
SMI = """#!/bin/bash
if [ "$1" = -L ]; then echo "GPU 0: emulated"; else echo "$DRIVER, 9.0"; fi
"""


class Machine:
    """A copy of what the set-up reads, and programs in place of uv and nvidia-smi."""

    def __init__(self, folder: Path, driver: str | None) -> None:
        self.folder = folder
        self.calls = folder / "calls"
        for name in ("scripts/setup.sh", "pyproject.toml", "requirements"):
            source, target = ROOT / name, folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copytree(source, target) if source.is_dir() else shutil.copy(source, target)
        programs = {"uv": UV} | ({"nvidia-smi": SMI} if driver else {})
        (folder / "bin").mkdir()
        for name, text in programs.items():
            (folder / "bin" / name).write_text(text)
            (folder / "bin" / name).chmod(0o755)
        self.environment = {
            "PATH": f"{folder / 'bin'}:/usr/bin:/bin",
            "CALLS": str(self.calls),
            "DRIVER": driver or "",
            "HOME": os.environ.get("HOME", "/"),
        }

    def set_up(self, *words: str, **environment: str) -> tuple[int, str, list[str]]:
        """Exit code, what was said, and what uv was called with."""
        self.calls.unlink(missing_ok=True)
        command = ["bash", str(self.folder / "scripts" / "setup.sh"), *words]
        done = subprocess.run(command, env=self.environment | environment, capture_output=True, text=True, check=False)
        calls = self.calls.read_text().splitlines() if self.calls.is_file() else []
        return done.returncode, done.stdout + done.stderr, calls


@pytest.fixture
def gpu(tmp_path: Path) -> Machine:
    return Machine(tmp_path, "580.65.06")


def test_a_machine_without_a_gpu_gets_cpu_builds(tmp_path: Path) -> None:
    code, _, calls = Machine(tmp_path, None).set_up("flash")
    assert code == 0
    (project,) = [call for call in calls if "-e .[" in call]
    assert "serve-cpu" in project
    assert "--torch-backend=cpu" in project
    assert "lock-cpu.txt" in project
    assert not any("flash" in call for call in calls)


def test_a_gpu_gets_one_cuda_and_no_flash_attn(gpu: Machine) -> None:
    code, _, calls = gpu.set_up()
    assert code == 0
    (project,) = [call for call in calls if "-e .[" in call]
    assert "--torch-backend=cu130" in project
    assert "lock-cuda.txt" in project
    assert "serve-cpu" not in project
    assert not any("flash" in call for call in calls)
    assert gpu.set_up() == (0, "", [])


def test_flash_attn_is_compiled_for_the_gpu_when_asked_for(gpu: Machine) -> None:
    code, said, calls = gpu.set_up("flash")
    assert code == 0
    (flash,) = [call for call in calls if ",flash]" in call]
    assert flash.startswith("archs=90 pip install --verbose ")
    assert "--no-build-isolation" in flash
    assert "compute capability 9.0" in said
    assert gpu.set_up() == (0, "", [])


def test_flash_attn_that_cannot_be_compiled_is_said_to_be_optional(gpu: Machine) -> None:
    code, said, _ = gpu.set_up("flash", FLASH_EXIT="1")
    assert code == 1
    assert "attention=auto takes PyTorch's own flash kernel" in said
    code, _, calls = gpu.set_up()
    assert code == 0
    assert not any(",flash]" in call for call in calls)


def test_an_old_driver_is_named_before_anything_is_installed(tmp_path: Path) -> None:
    code, said, calls = Machine(tmp_path, "550.54.15").set_up()
    assert code == 1
    assert (
        "NVIDIA driver is 550.54.15; CUDA 13.0, for which PyTorch and vLLM are built here, needs 580 or newer" in said
    )
    assert calls == []


def test_the_cuda_is_that_of_the_locked_pytorch() -> None:
    lock = (ROOT / "requirements" / "lock-cuda.txt").read_text()
    assert "nvidia-cuda-runtime==13.0." in lock
    assert "cuda=cu130" in (ROOT / "scripts" / "setup.sh").read_text()
