"""make eval plan=true: what an evaluation would take -> outputs/plan/evaluate.json."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from core.files import write_json
from core.serving_plan import serving_plan
from core.settings import UserError
from evaluation.benchmark import Benchmark
from evaluation.plan import Estimate, estimates
from evaluation.targets import EvaluateSettings, Target, find_targets

COLUMNS = ("benchmark", "trials", "requests", "prompt tokens", "generated", "hours")


def estimate_table(found: list[Estimate]) -> Table:
    table = Table(title="Planned evaluation", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in COLUMNS:
        table.add_column(column, justify="left" if column == "benchmark" else "right")
    for e in found:
        tokens = (f"{e.prompt_tokens / 1e6:,.1f} M", f"{e.generated_tokens / 1e6:,.1f} M")
        table.add_row(e.benchmark, f"{e.trials:,}", f"{e.requests:,}", *tokens, f"{e.hours:,.2f}")
    return table


def show_plan(settings: EvaluateSettings, benchmarks: Mapping[str, Benchmark], console: Console) -> Path:
    """Print and write the plan; returns its file. Without a finished training, one is assumed."""
    assumed = settings.assume
    targets: list[Target] = []
    try:
        targets = find_targets(settings)
        names = ", ".join(target.label for target in targets)
    except UserError as error:
        names = f"a training{' and its untrained model' if settings.untrained else ''} (assumed: {error})"
    models = len(targets) or 1 + settings.untrained
    sizes = {name: benchmark.size() for name, benchmark in benchmarks.items()}
    found = estimates(sizes, settings.trials, models, assumed)
    console.print(f"models: {names}", soft_wrap=True, markup=False, highlight=False)
    console.print(estimate_table(found))
    path = next((target.path for target in targets if target.path), None)
    longest = max(assumed.trial(name).prompt_tokens for name in sizes)
    serving = serving_plan(path, settings.serving, assumed.serving, settings.concurrency, longest)
    plans = {"serving": serving} | {
        f"user of {name}": serving_plan(
            model, engine, assumed.user, settings.concurrency, assumed.trial(name).prompt_tokens
        )
        for name, benchmark in benchmarks.items()
        for model, engine in benchmark.serves()
    }
    for line in (line for plan in plans.values() for line in plan.lines):
        console.print(line, style="bold yellow" if line.startswith("missing") else "", soft_wrap=True)
    assumptions = assumed.model_dump(mode="json")
    console.print("assumed: " + ", ".join(f"{key} {value}" for key, value in assumptions.items()), soft_wrap=True)
    file = settings.outputs / "plan" / "evaluate.json"
    estimated = [each.model_dump() for each in found]
    write_json(
        file,
        {"assumptions": assumptions, "estimates": estimated}
        | {name: plan.model_dump() for name, plan in plans.items()},
    )
    console.print(f"written to {file}", soft_wrap=True)
    return file
