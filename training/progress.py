"""Console output of a training: a progress bar with the loss, a line per validation, a summary."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from training.prepare import Prepared

QUIET_S = 60.0
"""How long a training may say nothing in a log."""


class TrainingProgress:
    """Shows the lines of metrics.jsonl. If the console is not a terminal, prints the validations, and a line whenever
    QUIET_S have passed."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._bar = Progress(
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("starting the workers", total=None)
        self._loss = ""
        self._printed_s = 0.0

    def update(self, metrics: dict[str, Any]) -> None:
        self._loss = f"loss {metrics['loss']:.3f}" if "loss" in metrics else self._loss
        speed = f"{metrics['tokens_per_s']:,.0f} tokens/s"
        self._bar.update(
            self._task, completed=metrics["step"], total=metrics["steps"], description=f"{self._loss} · {speed}"
        )
        validation = [f"validation {metrics['eval_loss']:.3f}"] if "eval_loss" in metrics else []
        due = metrics["seconds"] >= self._printed_s + QUIET_S and not self.console.is_terminal
        if validation or due:
            self._printed_s = metrics["seconds"]
            parts = [f"step {metrics['step']}/{metrics['steps']}", f"epoch {metrics['epoch']:.2f}", self._loss]
            parts += [*validation, speed, f"{metrics['seconds']:.0f} s"]
            self.console.print(" · ".join(part for part in parts if part), highlight=False)

    def __enter__(self) -> TrainingProgress:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()


def describe(console: Console, data: Prepared) -> None:
    """Print a line each about the untrained model, the training data and the validation data."""
    console.print(f"untrained model: {data.untrained}", highlight=False, soft_wrap=True)
    sources = ", ".join(f"{count} {name}" for name, count in data.sources.items())
    console.print(
        f"{data.dialogues} dialogues ({sources}) with {data.samples} samples as served → "
        f"{data.trees} trees in {data.rows} rows, "
        f"{100 * data.fill:.0f} % full: {data.tokens:,} tokens instead of {data.sample_tokens:,} in separate samples, "
        f"{data.trained_tokens:,} of them trained; {data.cut_turns} over-long turns cut",
        highlight=False,
    )
    if data.straddled_answers:
        console.print(
            f"{data.straddled_answers} answers would share a token with their prompt if both were tokenised as one "
            "text; they are tokenised apart, as they are served",
            highlight=False,
        )
    if data.skipped:
        skipped = ", ".join(f"{count} {kind}" for kind, count in data.skipped.items())
        console.print(f"[bold yellow]{sum(data.skipped.values())} invalid lines were left out: {skipped}[/]")
    console.print(
        f"validation: {data.validation_dialogues} dialogues, {data.validation_unseen} of them on databases that are not "
        f"trained on ({', '.join(data.validation_domains) or 'none'}), the others with tasks that are not",
        highlight=False,
    )


def summarise(console: Console, results: dict[str, Any], directory: Path, seconds: float) -> None:
    """Print the losses (nats per trained token), the work done and the model's path."""
    table = Table(title=f"Training · {directory.name}", show_header=False)
    table.add_row("validation loss, untrained", f"{results['untrained_validation_loss']:.3f}")
    table.add_row("validation loss, best", f"{results['best_validation_loss']:.3f} at step {results['best_step']}")
    for name, loss in sorted(results["best_validation"].items()):
        if name != "loss":
            table.add_row(f"  {name.removeprefix('loss/')}", f"{loss:.3f}")
    table.add_row("validation loss, final", f"{results['final_validation_loss']:.3f}")
    table.add_row("steps · epochs", f"{results['steps']} · {results['epochs']:.2f}")
    table.add_row("tokens · trained", f"{results['tokens']:,} · {results['trained_tokens']:,}")
    table.add_row("tokens/s · trained", f"{results['tokens_per_s']:,.0f} · {results['trained_tokens_per_s']:,.0f}")
    if "mfu" in results:
        table.add_row("model FLOPs utilisation", f"{100 * results['mfu']:.1f} %")
    table.add_row("seconds · training only", f"{seconds:.0f} · {results['seconds']:.0f}")
    console.print(table)
    console.print(f"model: {directory / 'checkpoint'}", soft_wrap=True, highlight=False)
