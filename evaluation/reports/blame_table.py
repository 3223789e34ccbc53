"""Who caused the failed trials, by model and benchmark."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich import box
from rich.table import Table

from core.dialogue import Blame
from evaluation.metrics.scores import by_benchmark
from evaluation.trials import TrialRecord

ROLES: tuple[Blame, ...] = ("agent", "user", "tool", "task")


def blame_table(records: Sequence[TrialRecord]) -> Table | None:
    """A row for each model and benchmark with failed trials that rules blame on someone; None without any. An example
    tells what the user simulator did wrong: such a failure says nothing about the model."""
    table = Table(title="Who caused the failed trials", box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("benchmark", "model", "failed", *ROLES, "for example"):
        table.add_column(heading, justify="left" if heading in ("benchmark", "model", "for example") else "right")
    for benchmark, of_benchmark in by_benchmark(records).items():
        for model in dict.fromkeys(record.model for record in of_benchmark):
            failed = [record for record in of_benchmark if record.model == model and record.success is False]
            counts = Counter(record.blame for record in failed if record.blame)
            if not counts:
                continue
            users = [record for record in failed if record.blame == "user"]
            example = f"user: {users[0].blame_reason} ({users[0].category} {users[0].task_id})" if users else ""
            table.add_row(benchmark, model, str(len(failed)), *(str(counts[role]) for role in ROLES), example)
    return table if table.row_count else None
