"""make generate plan=true: what a generation would take, from a scripted sample -> outputs/plan/generate.json."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from core.files import write_json
from core.runs import open_run
from core.serving_plan import serving_plan
from generation.build import build
from generation.plan import Estimate, estimates
from generation.progress import GenerationProgress
from generation.run import GenerateSettings, generate
from scripts.launch import instantiate

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


def show_plan(settings: GenerateSettings, console: Console) -> Path:
    """Print and write what the generation would take; returns the file. Without a hub and without the model's files the
    memory of its server stays unknown."""
    assumed = settings.assume
    sample = settings.model_copy(update={"llm": SCRIPTED | {"seed": settings.seed}, "n": assumed.sample, "serve": None})
    with tempfile.TemporaryDirectory() as folder:
        job = open_run(Path(folder), "generate", sample.model_dump(mode="json"))
        with job, GenerationProgress(console) as progress:
            statistics = asyncio.run(generate(sample, build(sample, instantiate), job, progress))
        pipelines = estimates({each.pipeline: each for each in statistics}, job.directory, settings.n, assumed)
    console.print(estimate_table(pipelines))
    serving = None
    if settings.serve:
        requests = sum(each.requests for each in pipelines)
        tokens = sum(each.prompt_tokens + each.generated_tokens for each in pipelines) / max(1, requests)
        serving = serving_plan(settings.serve, settings.serving, assumed.serving, settings.concurrency, tokens)
        for line in serving.lines:
            console.print(line, style="bold yellow" if line.startswith("missing") else "", soft_wrap=True)
    else:
        console.print("no model is served: serve=… names one, and llm=… its family", soft_wrap=True)
    assumptions = assumed.model_dump(mode="json")
    console.print("assumed: " + ", ".join(f"{key} {value}" for key, value in assumptions.items()), soft_wrap=True)
    path = settings.outputs / "plan" / "generate.json"
    estimated = [each.model_dump() for each in pipelines]
    served = serving.model_dump() if serving else None
    write_json(path, {"assumptions": assumptions, "estimates": estimated, "serving": served})
    console.print(f"written to {path}", soft_wrap=True)
    return path
