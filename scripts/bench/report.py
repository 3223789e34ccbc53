"""What every benchmark shares: its key=value settings, its table, its JSON under outputs/bench/."""

from __future__ import annotations

import os
import platform
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypeVar

from rich.table import Table

from core.console import stage_console
from core.files import write_json
from core.messages import Frozen
from core.settings import Settings
from scripts.launch import clear_errors, read_settings

B = TypeVar("B", bound="BenchSettings")


class BenchSettings(Settings):
    """Where the JSON lands (`outputs`/bench/NAME.json), and how often a time is taken: the median counts."""

    outputs: Path = Path("outputs")
    repeats: int = 3
    seed: int = 0

    @property
    def directory(self) -> Path:
        return self.outputs / "bench"


class Figure(Frozen):
    """One measured value beside its target."""

    name: str
    value: float
    target: float
    better: Literal["higher", "lower"]

    @property
    def holds(self) -> bool:
        return self.value >= self.target if self.better == "higher" else self.value <= self.target


class Report(Frozen):
    """`notes` are what the figures rest on: values they were computed from, assumptions, what disturbed."""

    name: str
    inputs: dict[str, Any]
    figures: tuple[Figure, ...]
    notes: dict[str, Any]


def main(schema: type[B], bench: Callable[[B], Report]) -> None:
    """Be a benchmark: settings from key=value words, then the table and the JSON. A target that is missed is said, not punished:
    the exit code stays 0."""
    with clear_errors():
        settings = read_settings(sys.argv[1:], schema)
        before = os.getloadavg()[0]
        report = bench(settings)
        publish(report, settings.directory, {"load before": before, "load after": os.getloadavg()[0]})


def publish(report: Report, directory: Path, load: dict[str, float]) -> Path:
    """Print the table and write the JSON; returns its path."""
    path = directory / f"{report.name}.json"
    figures = [figure.model_dump() | {"holds": figure.holds} for figure in report.figures]
    content = {"inputs": report.inputs, "machine": machine() | load, "figures": figures, "notes": report.notes}
    write_json(path, content)
    console = stage_console()
    table = Table("figure", "value", "target", "", title=f"bench-{report.name}")
    for figure in report.figures:
        sign = "≥" if figure.better == "higher" else "≤"
        verdict = "[green]holds[/]" if figure.holds else "[bold red]missed[/]"
        table.add_row(figure.name, f"{figure.value:.4g}", f"{sign} {figure.target:g}", verdict)
    console.print(table)
    for key, value in report.notes.items():
        console.print(f"{key}: {value}", markup=False, highlight=False, soft_wrap=True)
    if missed := [figure.name for figure in report.figures if not figure.holds]:
        console.print(f"{len(missed)} missed: {', '.join(missed)}", style="bold red", soft_wrap=True)
    console.print(f"written to {path}", soft_wrap=True)
    return path


def machine() -> dict[str, Any]:
    """What it ran on."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = {line.partition(":")[2].strip() for line in lines if line.startswith("model name")}
    return {
        "processor": ", ".join(sorted(names)) or platform.processor(),
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def median(measure: Callable[[], float], repeats: int) -> float:
    """Of so many measurements."""
    return statistics.median(measure() for _ in range(repeats))
