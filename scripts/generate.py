"""make generate: conf/generate.yaml -> outputs/generate/<run id>/."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack

from hydra.utils import instantiate
from omegaconf import DictConfig

from core.console import stage_console
from core.runs import open_run, sha256
from core.serving import serve
from core.settings import typed
from core.tracking import Tracker
from generation.progress import GenerationProgress, sample_rows, summarise
from generation.stage import GenerateSettings, Parts, generate
from scripts.launch import main


def parts(settings: GenerateSettings, base_urls: tuple[str, ...]) -> Parts:
    """The objects behind the config's `_target_`s."""
    return Parts(
        llm=instantiate(settings.llm, **({"base_urls": list(base_urls)} if base_urls else {})),
        seeds=instantiate(settings.seeds).load(),
        worlds={name: instantiate(pipeline.environment) for name, pipeline in settings.pipelines.items()},
    )


def stage(config: DictConfig) -> None:
    """Exit code 1 where dialogues failed: for want of a model, or by a fault of ours."""
    settings = typed(config, GenerateSettings)
    console = stage_console()
    plain = settings.model_dump(mode="json")
    inputs = {seed.name: sha256(seed.database) for seed in instantiate(settings.seeds).load()}
    # The seeds count by the content of their databases, which is in `inputs`.
    neutral = ("outputs", "tracking", "concurrency", "seeds")
    with ExitStack() as stack:
        job = stack.enter_context(open_run(settings.outputs, "generate", plain, inputs, neutral=neutral))
        console.print(f"{'resuming' if job.resumed else 'generating into'} {job.directory}", soft_wrap=True)
        name, group = job.manifest.run_id, job.manifest.group
        tracker = stack.enter_context(Tracker(settings.tracking, settings.outputs, "generate", name, group, plain))
        urls = stack.enter_context(serve(settings.serve, settings.serving, job.directory)) if settings.serve else ()
        with GenerationProgress(console) as progress:
            figures = asyncio.run(generate(settings, parts(settings, urls), job, progress))
        results = {figure.pipeline: figure.model_dump(exclude_none=True) for figure in figures}
        tracker.summary(results)
        for pipeline in results:
            tracker.table(f"{pipeline}/dialogues", sample_rows(job.directory / pipeline))
        summarise(console, figures, job.directory)
        if any(figure.lost for figure in figures):
            # The run stays open: the same command tries the lost dialogues again.
            raise SystemExit(1)
        job.finish(results)
    if any(figure.failed for figure in figures):
        raise SystemExit(1)


if __name__ == "__main__":
    main("generate", stage)
