"""make plan: the cost of `make generate` with the same overrides, from a scripted sample -> outputs/plan/plan.json."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from omegaconf import DictConfig
from rich import box
from rich.table import Table

from core.console import stage_console
from core.files import write_json
from core.runs import open_run
from core.settings import typed
from generation.build import build
from generation.plan import Estimate, PlannedSettings, estimates
from generation.progress import GenerationProgress
from generation.run import generate
from scripts.launch import hydra_main, instantiate

SCRIPTED = {"_target_": "generation.scripted.llm.ScriptedLLM", "error_rate": 0.0}


def estimate_table(pipelines: tuple[Estimate, ...]) -> Table:
    table = Table(title="Estimated", box=box.SIMPLE_HEAD, pad_edge=False)
    headings = (
        "pipeline",
        "dialogues",
        "requests",
        "prompt tokens",
        "cached",
        "generated",
        "GPU-hours",
        "hours",
        "cost",
        "disk",
    )
    for heading in headings:
        table.add_column(heading, justify="left" if heading == "pipeline" else "right")
    for e in pipelines:
        tokens = [f"{value / 1e6:,.1f} M" for value in (e.prompt_tokens, e.cached_tokens, e.generated_tokens)]
        rest = [f"{e.gpu_hours:,.1f}", f"{e.hours:,.1f}", f"{e.cost:,.0f}", f"{e.disk_bytes / 1e9:,.2f} GB"]
        table.add_row(e.pipeline, f"{e.started:,}", f"{e.requests:,}", *tokens, *rest)
    return table


def main(config: DictConfig) -> None:
    settings = typed(config, PlannedSettings)
    plan = settings.plan
    sample = settings.model_copy(update={"llm": SCRIPTED | {"seed": settings.seed}, "n": plan.sample, "serve": None})
    console = stage_console()
    with tempfile.TemporaryDirectory() as folder:
        job = open_run(Path(folder), "generate", sample.model_dump(mode="json"))
        with job, GenerationProgress(console) as progress:
            statistics = asyncio.run(generate(sample, build(sample, instantiate), job, progress))
        pipelines = estimates({each.pipeline: each for each in statistics}, job.directory, settings.n, plan)
    console.print(estimate_table(pipelines))
    assumptions = plan.model_dump(mode="json")
    console.print("assumed: " + ", ".join(f"{key} {value}" for key, value in assumptions.items()), soft_wrap=True)
    path = settings.outputs / "plan" / "plan.json"
    write_json(path, {"assumptions": assumptions, "estimates": [e.model_dump() for e in pipelines]})
    console.print(f"written to {path}", soft_wrap=True)


if __name__ == "__main__":
    hydra_main("plan", main)
