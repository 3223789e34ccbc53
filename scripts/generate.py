"""make generate: conf/generate.yaml -> outputs/generate/<run id>/."""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig

from core.console import stage_console
from core.runs import open_run, sha256
from core.serving import serve
from core.settings import UserError, typed
from core.tracking import Tracker
from generation.pipeline import Beginnings
from generation.progress import GenerationProgress, sample_rows, summarise
from generation.stage import GenerateSettings, Parts, generate, origins
from generation.stages import Stage
from generation.starts.start import read_starts
from generation.toolsets import faults
from scripts.launch import main


def parts(settings: GenerateSettings) -> Parts:
    """The objects behind the config's `_target_`s."""
    starts = read_starts(settings.start.file) if settings.start.file else ()
    beginnings = Beginnings(starts, settings.start)
    return Parts(
        llm=partial(instantiate, settings.llm, _convert_="all"),
        origins=origins(settings.toolsets, instantiate(settings.seeds, _convert_="all"), beginnings),
        stages=tuple(made_stage(name, node) for name, node in settings.stages.items()),
        worlds={
            name: instantiate(pipeline.environment, _convert_="all") for name, pipeline in settings.pipelines.items()
        },
        beginnings=beginnings,
        executor=instantiate(settings.executor),
    )


def made_stage(name: str, node: dict[str, Any]) -> Stage:
    """One stage. Raises UserError for what is none: it would be passed over in silence."""
    stage = instantiate(node, _convert_="all")
    if not isinstance(stage, Stage):
        raise UserError(f"stages.{name}: {node.get('_target_')} is no stage; a method toolset or dialogue is expected")
    return stage


def inputs(settings: GenerateSettings, made: Parts) -> dict[str, str]:
    """Name -> hash of everything that the run is made from."""
    files = {"toolsets": settings.toolsets, "start": settings.start.file}
    hashes = {name: sha256(file) for name, file in files.items() if file}
    for number, origin in enumerate(made.origins):  # their order decides which dialogue is about which
        content = origin.toolset.model_dump_json(exclude={"database"})
        hashes[f"toolset {number}: {origin.toolset.domain}"] = hashlib.sha256(content.encode()).hexdigest()
    return hashes


def stage(config: DictConfig) -> None:
    """Exit code 1 where dialogues or toolsets failed: for want of a model, or by a fault of ours."""
    settings = typed(config, GenerateSettings)
    console = stage_console()
    plain = settings.model_dump(mode="json")
    made = parts(settings)
    # Seeds and files count by their content, which is in the inputs.
    neutral = ("outputs", "tracking", "concurrency", "attempts", "executor", "seeds", "toolsets")
    with ExitStack() as stack:
        job = stack.enter_context(
            open_run(settings.outputs, "generate", plain, inputs(settings, made), neutral=neutral)
        )
        console.print(f"{'resuming' if job.resumed else 'generating into'} {job.directory}", soft_wrap=True)
        if (left := len(made.beginnings.starts) * settings.start.branches - settings.n) > 0:
            console.print(f"n={settings.n} leaves out {left} of what start.file gives", style="yellow")
        name, group = job.manifest.run_id, job.manifest.group
        tracker = stack.enter_context(Tracker(settings.tracking, settings.outputs, "generate", name, group, plain))
        urls = stack.enter_context(serve(settings.serve, settings.serving, job.directory)) if settings.serve else ()
        if urls:
            made = replace(made, llm=partial(instantiate, settings.llm, base_urls=list(urls), _convert_="all"))
        with GenerationProgress(console) as progress:
            figures = asyncio.run(generate(settings, made, job, progress))
        results = {figure.pipeline: figure.model_dump(mode="json", exclude_none=True) for figure in figures}
        tracker.summary(results)
        for pipeline in results:
            tracker.table(f"{pipeline}/dialogues", sample_rows(job.directory / pipeline))
        summarise(console, figures, job.directory)
        if any(figure.lost for figure in figures):
            # The run stays open: the same command tries the lost dialogues again.
            raise SystemExit(1)
        # Only validated dialogues are for others to begin with unasked.
        job.finish(results, latest="validation" in settings.stages)
    if any(figure.failed for figure in figures) or faults(job.directory / "toolsets.jsonl"):
        raise SystemExit(1)


if __name__ == "__main__":
    main("generate", stage)
