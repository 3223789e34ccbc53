"""Print a training plan."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from training.plan import Plan
from training.settings import TrainSettings

PARTS = {
    "parameters": "weights",
    "gradients": "gradients",
    "optimizer": "AdamW's states",
    "gathered": "gathered layers, communication buffers",
    "activations": "activations of a row",
    "logits": "a block of logits",
}


def show(console: Console, plan: Plan, settings: TrainSettings) -> None:
    """Print the recipe, the work, the memory by purpose, the assumptions, and what is missing."""
    console.print(_work(plan, settings))
    console.print(_memory(plan))
    assumed = {**settings.hardware.model_dump(), **settings.assume.model_dump()}
    console.print("assumed: " + ", ".join(f"{key} {value:g}" for key, value in assumed.items()), soft_wrap=True)
    fitting = [f"it would fit with {' or with '.join(plan.alternatives)}"] if plan.alternatives else []
    for line in (*plan.shortages, *fitting, *plan.missing):
        console.print(f"missing: {line}", style="bold yellow", markup=False, highlight=False, soft_wrap=True)


def _work(plan: Plan, settings: TrainSettings) -> Table:
    table = Table(title="Planned training", box=box.SIMPLE_HEAD, show_header=False, pad_edge=False)
    zero = settings.deepspeed.get("zero_optimization", {}).get("stage")
    active = f", {plan.active_share:.0%} of them active per token" if plan.active_share < 1 else ""
    seconds = 3600 * plan.hours / plan.steps
    attention = "attention by the fastest kernel" if settings.attention == "auto" else settings.attention
    recipe = f"{f'ZeRO-{zero}' if zero else 'no ZeRO'}, {attention}"
    end = f"{settings.max_steps} steps" if settings.max_steps else f"{settings.epochs:g} epochs"
    rows = {
        "model": f"{settings.model.path or 'tiny'}: {plan.parameters:,} parameters{active}",
        "recipe": f"{recipe}, AdamW at {settings.optimizer.learning_rate:g}, "
        f"rows of {settings.row_tokens:,} tokens, {settings.batch_size} per step, {end}",
        "data": f"{plan.dialogues:,} dialogues{'' if plan.measured else ' (assumed)'}, "
        f"trees of {plan.tree.tokens:,.0f} tokens",
        "work": f"{plan.rows:,} rows and {plan.steps_per_epoch:,} steps per epoch, {plan.flops_per_epoch:.3g} FLOPs",
        "time": f"{plan.hours_per_epoch:,.2f} h per epoch, {plan.hours:,.2f} h in total, {seconds:,.1f} s per step, on "
        f"{settings.hardware.devices} devices",
    }
    for name, text in rows.items():
        table.add_row(name, text)
    return table


def _memory(plan: Plan) -> Table:
    table = Table("per device", "", title="Peak memory", box=box.SIMPLE_HEAD, pad_edge=False)
    table.columns[1].justify = "right"
    for part, name in PARTS.items():
        table.add_row(name, decimal(getattr(plan.memory, part)))
    table.add_row(f"total, of {decimal(plan.device_bytes)}", decimal(plan.memory.device), style="bold")
    table.add_row(f"host memory, of {decimal(plan.host_bytes)}", decimal(plan.memory.host))
    table.add_row("host memory while the weights are loaded", decimal(plan.loading_bytes))
    table.add_row("disk, of all devices: three checkpoints and the model", decimal(plan.disk_bytes))
    return table
