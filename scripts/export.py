"""make export: conf/export.yaml -> outputs/export/<run id>/ with the data of each use, data card, report and removed
dialogues."""

from __future__ import annotations

from typing import Any

from omegaconf import DictConfig

from core.console import stage_console
from core.manifest import read_manifest
from core.runs import latest, open_run, sha256
from core.settings import typed
from generation.export.benchmark_texts import read_benchmarks
from generation.export.export import ExportSettings, check_uses, export
from generation.export.hub import push
from generation.export.index import find_dialogues
from generation.export.progress import ExportProgress, summarise
from generation.export.task_hash import hash_file
from generation.export.tasks import GenerationRun
from scripts.launch import hydra_main

NEUTRAL = ("outputs", "data", "bfcl", "held_out", "push_to_hub", "private", "profile")
"""Keys that do not change the exported files, or whose content counts instead (see `inputs`)."""


def main(config: DictConfig) -> None:
    settings = typed(config, ExportSettings)
    console = stage_console()
    source = (settings.data or latest(settings.outputs, "generate", "make generate")).resolve()
    files = find_dialogues(source)
    manifest = read_manifest(source) if (source / "manifest.json").is_file() else None
    generation = GenerationRun(source, manifest.config) if manifest else None
    check_uses(settings.uses, generation)
    benchmarks = read_benchmarks(settings.benchmarks, settings.bfcl)
    inputs = {f"{file.parent.name}/{file.name}": sha256(file) for file in files}
    inputs |= {benchmark.name: benchmark.version for benchmark in benchmarks}
    inputs |= {f"held_out {number}": sha256(hash_file(path)) for number, path in enumerate(settings.held_out)}
    plain: dict[str, Any] = settings.model_dump(mode="json", by_alias=True)
    group = manifest.group if manifest else None
    with open_run(settings.outputs, "export", plain, inputs, group, NEUTRAL) as job:
        console.print(f"{'resuming' if job.resumed else 'exporting into'} {job.directory}", soft_wrap=True)
        with ExportProgress(console) as progress:
            report = export(
                files,
                job.directory,
                settings,
                benchmarks,
                run=manifest.run_id if manifest else source.stem,
                packages=manifest.packages if manifest else {},
                watcher=progress,
                generation=generation,
            )
        summarise(console, report, job.directory)
        if settings.push_to_hub:
            address = push(job.directory, settings.push_to_hub, settings.private)
            console.print(f"uploaded to {address}", soft_wrap=True)
        counts = {name: counts.model_dump() for name, counts in report.pipelines.items()}
        job.finish({"pipelines": counts, "tasks": report.tasks.model_dump(), "uses": report.uses})


if __name__ == "__main__":
    hydra_main("export", main)
