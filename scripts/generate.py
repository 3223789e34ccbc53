"""make generate: conf/generate.yaml -> outputs/generate/<run id>/."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from dataclasses import replace
from functools import partial

from omegaconf import DictConfig

from core.console import stage_console
from core.runs import open_run
from core.serving import serve
from core.settings import typed
from core.tracking import Tracker
from generation.build import build, build_llm, input_hashes, neutral_keys, served
from generation.llm.server_checks import check_servers
from generation.progress import GenerationProgress
from generation.run import GenerateSettings, generate
from generation.summary import sample_rows, summarise
from generation.toolset_runner import failed_domains
from scripts.generation_plan import show_plan
from scripts.launch import hydra_main, instantiate
from scripts.stage_end import end_with_report


def main(config: DictConfig) -> None:
    """Exit with code 1 if dialogues or toolsets failed because no model answered or because of an internal error."""
    settings = typed(config, GenerateSettings)
    console = stage_console()
    if settings.plan:
        show_plan(settings, console)
        return
    plain = settings.model_dump(mode="json")
    components = build(settings, instantiate)
    with ExitStack() as stack:
        hashes = input_hashes(settings, components)
        neutral = neutral_keys(settings)
        run = stack.enter_context(open_run(settings.outputs, "generate", plain, hashes, None, neutral, settings.resume))
        console.print(f"{'resuming' if run.resumed else 'generating into'} {run.directory}", soft_wrap=True)
        if (unused := len(components.start_states.starts) * settings.start.branches - settings.n) > 0:
            console.print(f"n={settings.n} leaves {unused} starts of start.file unused", style="yellow")
        run_id, group = run.manifest.run_id, run.manifest.group
        tracker = stack.enter_context(Tracker(settings.tracking, settings.outputs, "generate", run_id, group, plain))
        llm, roles = settings.llm, settings.roles
        if settings.serve:
            urls = stack.enter_context(serve(settings.serve, settings.serving, run.directory))
            llm, roles = served(llm, roles, urls)
            components = replace(components, llm=partial(build_llm, llm, roles, instantiate))
        for warning in check_servers({"llm": llm, "roles": roles}):
            console.print(warning, style="yellow", markup=False, soft_wrap=True)
        with GenerationProgress(console) as progress:
            statistics = asyncio.run(generate(settings, components, run, progress))
        results = {each.pipeline: each.model_dump(mode="json", exclude_none=True) for each in statistics}
        tracker.summary(results)
        for pipeline in results:
            tracker.table(f"{pipeline}/dialogues", sample_rows(run.directory / pipeline))
        summarise(console, statistics, run.directory)
        if any(each.unanswered for each in statistics):
            # The run stays open: the same command retries the unanswered dialogues.
            raise SystemExit(1)
        # Later stages read `latest` by default, so it must point to validated dialogues only.
        run.finish(results, latest="validation" in settings.stages)
        end_with_report(run.directory, settings.report, console, tracker)
    if any(each.failed for each in statistics) or failed_domains(run.directory / "toolsets.jsonl"):
        raise SystemExit(1)


if __name__ == "__main__":
    hydra_main("generate", main)
