"""make generate: conf/generate.yaml -> outputs/generate/<run id>/."""

from __future__ import annotations

import asyncio

from hydra.utils import instantiate
from omegaconf import DictConfig

from core.console import stage_console
from core.runs import open_run, sha256
from core.settings import typed
from core.tracking import Tracker
from generation.progress import GenerationProgress, summarise
from generation.stage import GenerateSettings, Parts, generate
from scripts.launch import main


def stage(config: DictConfig) -> None:
    """Exit code 1 where dialogues failed for reasons of infrastructure."""
    settings = typed(config, GenerateSettings)
    console = stage_console()
    parts = Parts(
        llm=instantiate(settings.llm),
        seeds=instantiate(settings.seeds).load(),
        worlds={name: instantiate(pipeline.environment) for name, pipeline in settings.pipelines.items()},
    )
    plain = settings.model_dump(mode="json")
    inputs = {seed.name: sha256(seed.database) for seed in parts.seeds}
    with open_run(settings.outputs, "generate", plain, inputs, neutral=("outputs", "tracking", "concurrency")) as job:
        console.print(f"{'resuming' if job.resumed else 'generating into'} {job.directory}", soft_wrap=True)
        manifest = job.manifest
        with Tracker(
            settings.tracking, settings.outputs, "generate", manifest.run_id, manifest.group, plain
        ) as tracker:
            with GenerationProgress(console) as progress:
                figures = asyncio.run(generate(settings, parts, job, progress))
            for figure in figures:
                tracker.log({f"{figure.pipeline}/{key}": value for key, value in figure.model_dump().items()})
        job.finish({figure.pipeline: figure.model_dump(exclude_none=True) for figure in figures})
    summarise(console, figures, job.directory)
    if any(figure.failed for figure in figures):
        raise SystemExit(1)


if __name__ == "__main__":
    main("generate", stage)
