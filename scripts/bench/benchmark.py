"""Shared by all benchmarks: key=value settings, the table on the console, the JSON under outputs/bench/."""

from __future__ import annotations

import os
import platform
import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import Field
from rich.table import Table

from core.console import stage_console
from core.files import write_json
from core.messages import Frozen
from core.settings import Settings
from scripts.launch import clear_errors, read_settings

B = TypeVar("B", bound="BenchSettings")


class BenchSettings(Settings):
    """Settings of every benchmark."""

    outputs: Path = Field(default=Path("outputs"), description="directory of the report, outputs/bench/NAME.json")
    repeats: int = Field(default=3, description="measurements of each time; the report has the median")
    seed: int = Field(default=0, description="random seed")

    @property
    def directory(self) -> Path:
        return self.outputs / "bench"


class Metric(Frozen):
    """A measured value and its target."""

    name: str
    value: float
    target: float
    better: Literal["higher", "lower"]

    @property
    def met(self) -> bool:
        return self.value >= self.target if self.better == "higher" else self.value <= self.target


class Report(Frozen):
    """A benchmark's result. `notes` explain the metrics: the values they are computed from, assumptions,
    disturbances. `lines` are those of a table, by column; a line may lack some."""

    name: str
    inputs: dict[str, Any]
    metrics: tuple[Metric, ...]
    notes: dict[str, Any]
    lines: tuple[dict[str, Any], ...] = ()


def main(schema: type[B], bench: Callable[[B], Report]) -> None:
    """The main of a benchmark: read key=value settings, print the table, write the JSON. A missed target is reported,
    but the exit code is still 0."""
    with clear_errors():
        settings = read_settings(sys.argv[1:], schema)
        before = os.getloadavg()[0]
        report = bench(settings)
        publish(report, settings.directory, {"load before": before, "load after": os.getloadavg()[0]})


def publish(report: Report, directory: Path, load: dict[str, float]) -> Path:
    """Print the table and write the JSON; returns its path."""
    path = directory / f"{report.name}.json"
    metrics = [metric.model_dump() | {"met": metric.met} for metric in report.metrics]
    content = {"inputs": report.inputs, "machine": machine() | load, "metrics": metrics, "notes": report.notes}
    content |= {"lines": report.lines} if report.lines else {}
    write_json(path, content)
    console = stage_console()
    table = Table("metric", "value", "target", "", title=f"bench-{report.name}")
    for metric in report.metrics:
        sign = "≥" if metric.better == "higher" else "≤"
        verdict = "[green]met[/]" if metric.met else "[bold red]missed[/]"
        table.add_row(metric.name, f"{metric.value:.4g}", f"{sign} {metric.target:g}", verdict)
    console.print(table)
    if report.lines:
        console.print(table_of(report.lines))
    for key, value in report.notes.items():
        console.print(f"{key}: {value}", markup=False, highlight=False, soft_wrap=True)
    if missed := [metric.name for metric in report.metrics if not metric.met]:
        console.print(f"{len(missed)} missed: {', '.join(missed)}", style="bold red", soft_wrap=True)
    console.print(f"written to {path}", soft_wrap=True)
    return path


def table_of(lines: Sequence[dict[str, Any]]) -> Table:
    """A column for each key, in the order in which they appear."""
    columns = list(dict.fromkeys(key for line in lines for key in line))
    table = Table(*columns)
    for line in lines:
        table.add_row(*(str(line.get(column, "")) for column in columns))
    return table


def machine() -> dict[str, Any]:
    """The machine that ran the benchmark."""
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
    """The median of `repeats` measurements."""
    return statistics.median(measure() for _ in range(repeats))
