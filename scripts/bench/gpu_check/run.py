"""make gpu-check [device=cpu] [only=[exact,zero3-dense]] [budget_s=420]: everything that only a GPU can show.

Runs with PyTorch 2.11 or newer, without flash-attn, vLLM and network. A step that fails or takes too long does not stop
the others. Writes outputs/gpu-check/summary.json and .txt, and a log of each step; device=cpu tests that all of it
runs.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field
from rich.console import Console

from core.console import stage_console
from core.files import write_atomically, write_json
from core.messages import Frozen
from core.settings import Settings, UserError, closest
from scripts.bench.benchmark import machine
from scripts.bench.gpu_check.figures import read_figures
from scripts.launch import clear_errors, read_settings
from training.attention.choice import kernel_for

HERE = "scripts.bench.gpu_check"
PACKAGES = ("torch", "transformers", "accelerate", "deepspeed", "flash-attn", "liger-kernel", "triton")
LAST_LINES = 15
"""How many of a failed step's lines are shown."""

GIVE_UP = 3
"""A step is left out if less than this fraction of its limit is left of the budget."""


class GpuCheckSettings(Settings):
    """Settings of make gpu-check."""

    device: Literal["cuda", "cpu"] = Field(default="cuda", description="cpu tests that the check runs")
    outputs: Path = Field(default=Path("outputs"), description="directory of the summary, outputs/gpu-check/")
    budget_s: float = Field(default=420, gt=0, description="seconds; steps that do not fit any more are left out")
    only: tuple[str, ...] = Field(default=(), description="names of steps; empty: all")


@dataclass(frozen=True)
class Step:
    """`limit_s` is when it is stopped."""

    name: str
    command: tuple[str, ...]
    limit_s: float


class Done(Frozen):
    """What came of a step."""

    step: str
    outcome: Literal["passed", "failed", "stopped", "left out"]
    seconds: float
    figures: dict[str, Any]


def steps(settings: GpuCheckSettings, scratch: Path) -> list[Step]:
    """In the order of their worth, for a budget that may not suffice."""
    python, device = sys.executable, f"device={settings.device}"
    tests = "tests/training/test_exactness.py"  # other files need packages that a training does without
    small = ("shrink=32", "scale=0.02", "repeats=1") if settings.device == "cpu" else ("repeats=2",)

    def bench(model: str) -> tuple[str, ...]:
        outputs = f"outputs={settings.outputs / 'gpu-check' / model}"
        return (python, "-m", "scripts.bench.gpu", f"models=[{model}]", "variants=[]", device, outputs, *small)

    def zero3(model: str) -> tuple[str, ...]:
        return (python, "-m", f"{HERE}.zero3", f"directory={scratch / model}", f"model={model}", device)

    return [
        Step("gpu-tests", (python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "gpu", tests), 150),
        Step("exact", (python, "-m", f"{HERE}.kernels", "exact", device), 60),
        Step("zero3-dense", zero3("dense"), 110),
        Step("bench-4b", bench("qwen3_4b"), 170),
        Step("parts", (python, "-m", f"{HERE}.kernels", "parts", device), 90),
        Step("row-profile", (python, "-m", f"{HERE}.row_profile", device), 60),
        Step("zero3-moe", zero3("moe"), 110),
        Step("bench-30b-slice", bench("qwen3_30b_a3b"), 100),
    ]


def chosen(settings: GpuCheckSettings, available: Sequence[Step]) -> list[Step]:
    """The steps to run. Raises UserError for a name that none has."""
    names = [step.name for step in available]
    for name in settings.only:
        if name not in names:
            raise UserError(f"only={name}: {closest(name, names)}")
    return [step for step in available if not settings.only or step.name in settings.only]


def run(step: Step, log: Path, left_s: float) -> Done:
    """Run a step within its limit and what is left of the budget."""
    if left_s < step.limit_s / GIVE_UP:
        return Done(step=step.name, outcome="left out", seconds=0, figures={})
    began = time.monotonic()
    outcome: Literal["passed", "failed", "stopped"] = "stopped"
    with log.open("wb") as file:
        process = subprocess.Popen(step.command, stdout=file, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            outcome = "failed" if process.wait(min(step.limit_s, left_s)) else "passed"
        except subprocess.TimeoutExpired:
            pass
        finally:
            _end_group(process)
    figures = read_figures(log.read_text(errors="replace"))
    return Done(step=step.name, outcome=outcome, seconds=round(time.monotonic() - began, 1), figures=figures)


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """Stop the step and what it has started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def summary_lines(about: dict[str, Any], done: Sequence[Done]) -> Iterator[str]:
    yield ", ".join(f"{name} {value}" for name, value in about.items())
    for each in done:
        yield f"{each.outcome:8} {each.step}: {each.seconds:g} s"
        for name, value in each.figures.items():
            text = ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else value
            yield f"         {name}: {text}"


def hardware(settings: GpuCheckSettings) -> dict[str, Any]:
    """The device and the packages that are installed."""
    about: dict[str, Any] = {"device": torch.cuda.get_device_name() if settings.device == "cuda" else "cpu"}
    if settings.device == "cuda":
        about["memory GiB"] = round(torch.cuda.get_device_properties(0).total_memory / 2**30, 1)
        about["CUDA"] = torch.version.cuda
    for name in PACKAGES:
        try:
            about[name] = version(name)
        except PackageNotFoundError:
            about[name] = "not installed"
    return about | {"attention": kernel_for("auto"), "python": machine()["python"]}


def main(settings: GpuCheckSettings, console: Console) -> list[Done]:
    """Run the steps and write the summary after each. Raises UserError without a GPU, and after all steps if one
    failed."""
    if settings.device == "cuda" and not torch.cuda.is_available():
        raise UserError("gpu-check needs a CUDA GPU, and this machine has none; device=cpu tests that it runs")
    directory = settings.outputs / "gpu-check"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    began, about = time.monotonic(), hardware(settings)
    done: list[Done] = []
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as scratch:
        for step in chosen(settings, steps(settings, Path(scratch))):
            log = directory / f"{step.name}.log"
            done.append(run(step, log, settings.budget_s - (time.monotonic() - began)))
            last = done[-1]
            console.print(f"{last.outcome} {last.step}: {last.seconds:g} s", highlight=False)
            if last.outcome in ("failed", "stopped"):
                console.print("\n".join(log.read_text(errors="replace").splitlines()[-LAST_LINES:]), markup=False)
            write_json(directory / "summary.json", {"about": about, "steps": [each.model_dump() for each in done]})
            write_atomically(directory / "summary.txt", "\n".join(summary_lines(about, done)) + "\n")
    console.print((directory / "summary.txt").read_text(), markup=False, highlight=False)
    console.print(f"written to {directory}", soft_wrap=True)
    if bad := [each.step for each in done if each.outcome != "passed"]:
        raise UserError(f"not passed: {', '.join(bad)}; their logs are in {directory}")
    return done


if __name__ == "__main__":
    with clear_errors():
        main(read_settings(sys.argv[1:], GpuCheckSettings), stage_console())
