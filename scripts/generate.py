"""make generate: conf/generate.yaml -> outputs/generate/<run id>/."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
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
from generation.pipeline import StartStates
from generation.progress import GenerationProgress, sample_rows, summarise
from generation.run import GenerateSettings, GenerationComponents, generate, toolset_sources
from generation.stages import DialogueStage, Stage, ToolsetStage, Validation
from generation.start_states.start_states import StartSettings, StartState, read_starts
from generation.toolset_runner import faults
from scripts.launch import main

# Which servers are asked, and how they are borne with, changes nothing of what they say.
TRANSPORT = (
    *("base_urls", "api_key_env", "timeout_s", "backoff_s", "outage_s"),
    *("max_in_flight", "max_tokens_in_flight", "role_max_in_flight"),
)


def components(settings: GenerateSettings) -> GenerationComponents:
    """The objects behind the config's `_target_`s."""
    start_states = StartStates(starts(settings.start), settings.start)
    made = GenerationComponents(
        llm=partial(instantiate, settings.llm, _convert_="all"),
        toolset_sources=toolset_sources(
            settings.toolsets, instantiate(settings.domains, _convert_="all"), start_states
        ),
        stages=tuple(made_stage(name, node) for name, node in settings.stages.items()),
        environments={
            name: instantiate(pipeline.environment, _convert_="all") for name, pipeline in settings.pipelines.items()
        },
        start_states=start_states,
        executor=instantiate(settings.executor),
    )
    refuse_idle(made)
    return made


def starts(settings: StartSettings) -> tuple[StartState, ...]:
    """The dialogues to go on from. Raises UserError where there are none for the settings to be about."""
    if settings.file is None:
        if settings != StartSettings(file=None, at="end", branches=1, inject=False):
            raise UserError(
                "start.at, start.branches and start.inject are about given dialogues: give start.file=… too"
            )
        return ()
    found = read_starts(settings.file)
    if not any(start.dialogue for start in found):
        raise UserError(f"start.file was given, but nothing of it can be used; {found[0].problem}")
    return found


def served(llm: dict[str, Any], urls: Sequence[str]) -> dict[str, Any]:
    """The settings of a model, the innermost one given its addresses."""
    if "inner" in llm:
        return llm | {"inner": served(llm["inner"], urls)}
    return llm | {"base_urls": list(urls)}


def made_stage(name: str, node: dict[str, Any]) -> Stage:
    """One stage. Raises UserError for what is none: it would be passed over in silence."""
    stage = instantiate(node, _convert_="all")
    if not isinstance(stage, Stage):
        raise UserError(f"stages.{name}: {node.get('_target_')} is no stage; a method toolset or dialogue is expected")
    return stage


def refuse_idle(made: GenerationComponents) -> None:
    """Raises UserError where the chosen stages have nothing to work on, before every dialogue says so."""
    given = [start.dialogue for start in made.start_states.starts if start.dialogue]
    if not made.toolset_sources and not given:
        raise UserError("toolsets=… was given, but there is no toolset in it")
    steps = [stage for stage in made.stages if isinstance(stage, DialogueStage)]
    if steps and isinstance(steps[0], Validation) and not given:
        raise UserError("validation comes first, but there is nothing to validate: give dialogues with start.file=…")
    equipped = any(origin.toolset.tools for origin in made.toolset_sources) or any(dialogue.tools for dialogue in given)
    if not equipped and not any(isinstance(stage, ToolsetStage) for stage in made.stages):
        raise UserError("the chosen stages make no tools, and none are given: choose tools too, or give toolsets=…")


def inputs(settings: GenerateSettings, made: GenerationComponents) -> dict[str, str]:
    """Name -> hash of everything that the run is made from."""
    files = {"toolsets": settings.toolsets, "start": settings.start.file}
    hashes = {name: sha256(file) for name, file in files.items() if file}
    for number, origin in enumerate(made.toolset_sources):  # their order decides which dialogue is about which
        content = origin.toolset.model_dump_json(exclude={"database"})
        hashes[f"toolset {number}: {origin.toolset.domain}"] = hashlib.sha256(content.encode()).hexdigest()
    return hashes


def stage(config: DictConfig) -> None:
    """Exit code 1 where dialogues or toolsets failed: for want of a model, or by a fault of ours."""
    settings = typed(config, GenerateSettings)
    console = stage_console()
    plain = settings.model_dump(mode="json")
    made = components(settings)
    # Seeds and files count by their content, which is in the inputs.
    neutral = (
        *("outputs", "tracking", "resume", "concurrency", "attempts", "executor", "costs", "domains", "toolsets"),
        *(f"{llm}.{key}" for llm in ("llm", "llm.inner") for key in TRANSPORT),
    )
    with ExitStack() as stack:
        job = stack.enter_context(
            open_run(settings.outputs, "generate", plain, inputs(settings, made), None, neutral, settings.resume)
        )
        console.print(f"{'resuming' if job.resumed else 'generating into'} {job.directory}", soft_wrap=True)
        if (left := len(made.start_states.starts) * settings.start.branches - settings.n) > 0:
            console.print(f"n={settings.n} leaves out {left} of what start.file gives", style="yellow")
        name, group = job.manifest.run_id, job.manifest.group
        tracker = stack.enter_context(Tracker(settings.tracking, settings.outputs, "generate", name, group, plain))
        urls = stack.enter_context(serve(settings.serve, settings.serving, job.directory)) if settings.serve else ()
        if urls:
            made = replace(made, llm=partial(instantiate, served(settings.llm, urls), _convert_="all"))
        with GenerationProgress(console) as progress:
            figures = asyncio.run(generate(settings, made, job, progress))
        results = {figure.pipeline: figure.model_dump(mode="json", exclude_none=True) for figure in figures}
        tracker.summary(results)
        for pipeline in results:
            tracker.table(f"{pipeline}/dialogues", sample_rows(job.directory / pipeline))
        summarise(console, figures, job.directory)
        if any(figure.unanswered for figure in figures):
            # The run stays open: the same command retries the unanswered dialogues.
            raise SystemExit(1)
        # Only validated dialogues are for others to begin with unasked.
        job.finish(results, latest="validation" in settings.stages)
    if any(figure.failed for figure in figures) or faults(job.directory / "toolsets.jsonl"):
        raise SystemExit(1)


if __name__ == "__main__":
    main("generate", stage)
