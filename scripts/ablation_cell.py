"""One cell of an experiment with one seed: generate, export, train, evaluate, and a line in outputs/registry.jsonl.

`make ablation` starts it as a Hydra multirun over cells and seeds; by hand, on a cluster:

    python -m scripts.ablation_cell --multirun ablation=table_3 +cell=task_oriented,user_oriented +seed=0,1 \\
        hydra/launcher=submitit_slurm
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from pydantic import Field
from rich.console import Console

from core.console import stage_console
from core.manifest import Manifest, read_manifest
from core.runs import sha256
from core.settings import UserError, closest, typed
from evaluation.ablation.registry import REGISTRY, Counts, Entry, Measured, StageRun, append, content_hash
from evaluation.ablation.settings import AblationSettings, CellSettings, StageName
from evaluation.metrics.pass_at_k import trial_counts
from evaluation.metrics.scores import RECORDS, by_category, read_records
from scripts.launch import hydra_main
from scripts.stage_runs import merge_overrides, run_stage, runs_directory


class CellJobSettings(AblationSettings):
    """An experiment and the cell of it to run."""

    cell: str = Field(description="a cell of the experiment")
    seed: int = Field(description="its random seed")


def cell_words(settings: AblationSettings, cell: CellSettings, seed: int) -> dict[str, tuple[str, ...]]:
    """The overrides of each stage of a cell's chain. They name no paths but the user's, so they identify the cell on
    every machine."""
    not_run = {outcome.benchmark for outcome in settings.outcomes.values()} - set(settings.needed_benchmarks)
    keys_not_run = tuple(f"benchmarks.{name}." for name in not_run)

    def of(stage: StageName, *fixed: str) -> tuple[str, ...]:
        seeded = [f"seed={seed}"] if stage in settings.seeded else []
        groups = (getattr(overrides, stage) for overrides in (settings.of_profile, settings.common, cell))
        words = merge_overrides([f"profile={settings.profile}"], *groups, fixed, seeded)
        return tuple(word for word in words if not word.startswith(keys_not_run))

    budget = [f"train_tokens={settings.budget}", "max_steps=null"] if settings.budget else []
    benchmarks = f"benchmark=[{','.join(settings.needed_benchmarks)}]"
    words = {"train": of("train", *budget), "evaluate": of("evaluate", benchmarks, "untrained=false")}
    exports = [o.export for o in (settings.of_profile, settings.common, cell) if o.export is not None]
    if exports:
        words = {"export": merge_overrides([f"profile={settings.profile}"], *exports), **words}
    return words if cell.data else {"generate": of("generate"), **words}


def cell_key(settings: AblationSettings, name: str, seed: int) -> str:
    """The registry's key of a cell and seed."""
    words = cell_words(settings, settings.cells[name], seed)
    return Measured.key_of(settings.experiment, name, seed, settings.profile, words)


@dataclass
class Chain:
    """The stages of one cell and seed, run one after the other."""

    settings: AblationSettings
    name: str
    seed: int
    console: Console
    runs: dict[str, Path] = field(default_factory=dict)

    @property
    def cell(self) -> CellSettings:
        return self.settings.cells[self.name]

    def run(self) -> Entry:
        """Run what is missing; returns the result. Raises UserError if a stage fails."""
        words = cell_words(self.settings, self.cell, self.seed)
        data = self.cell.data
        if "generate" in words:
            data = self._stage("generate", words["generate"])
        if "export" in words:
            data = self._stage("export", [*words["export"], f'data="{data}"'])
        model = self._stage("train", [*words["train"], f'data="{data}"'])
        if self.cell.model == "untrained":
            model = model / "untrained"
        self._stage("evaluate", [*words["evaluate"], f'models=["{model}"]'])
        return self._entry(words)

    def _stage(self, stage: str, overrides: Sequence[str]) -> Path:
        settings = self.settings
        what = f"{settings.experiment} · {self.name} · seed {self.seed} · {stage}"
        log = settings.outputs / "ablations" / settings.experiment / "logs" / f"{self.name}-{self.seed}-{stage}.log"
        run, there = run_stage(runs_directory(settings.outputs), stage, overrides, log)
        seconds = read_manifest(run).seconds
        self.console.print(f"{what}: {run} ({'done before' if there else f'{seconds:.0f} s'})", soft_wrap=True)
        self.runs[stage] = run
        return run

    def _entry(self, words: dict[str, tuple[str, ...]]) -> Entry:
        manifests = {stage: read_manifest(run) for stage, run in self.runs.items()}
        training, evaluation = manifests["train"], manifests["evaluate"]
        records = self.runs["evaluate"] / RECORDS
        untrained = self.cell.model == "untrained"
        measured = Measured(
            experiment=self.settings.experiment,
            cell=self.name,
            seed=self.seed,
            profile=self.settings.profile,
            words=words,
            dialogues=0 if untrained else training.results["data"]["dialogues"],
            trained_tokens=0 if untrained else training.results["trained_tokens"],
            measures=measures(self.settings, manifests),
            **evaluated(evaluation, self.runs["evaluate"]),
        )
        return Entry(
            hash=content_hash(measured),
            measured=measured,
            runs={
                stage: StageRun(run=run.name, seconds=m.seconds, commit=m.commit, dirty=m.dirty)
                for (stage, run), m in zip(self.runs.items(), manifests.values(), strict=True)
            },
            records=str(records),
            records_sha256=sha256(records),
            machine=evaluation.machine,
            finished=str(evaluation.finished),
        )


def evaluated(manifest: Manifest, run: Path) -> dict[str, Any]:
    """The fields of `Measured` that an evaluation run of one model gives."""
    records = read_records(run)
    if not records:
        raise UserError(f"{run} has no trials: an experiment needs a benchmark")
    by_benchmark = {
        name: [r for r in records if r.benchmark == name] for name in sorted({r.benchmark for r in records})
    }

    def named(attribute: str) -> dict[str, tuple[str, ...]]:
        values = {name: sorted({v for r in of if (v := getattr(r, attribute))}) for name, of in by_benchmark.items()}
        return {name: tuple(found) for name, found in values.items() if found}

    serving = manifest.config["serving"]
    outcomes: dict[str, Counts] = {
        category: {task.split("/", 2)[2]: counts for task, counts in sorted(trial_counts(of).items())}
        for category, of in by_category(records).items()
    }
    return {
        "engine": {
            name: v for name, v in manifest.packages.items() if name.startswith("vllm") or name == "transformers"
        },
        "parsers": {name: str(serving[f"{name}_parser"]) for name in ("reasoning", "tool_call")},
        "harnesses": named("harness"),
        "simulators": named("simulator"),
        "judges": named("judge"),
        "sampling": records[0].sampling,
        "outcomes": outcomes,
    }


def measures(settings: AblationSettings, manifests: dict[str, Manifest]) -> dict[str, float]:
    """The experiment's measures, from the statistics of the pipelines that were trained on: their mean."""
    if "generate" not in manifests:
        return {}
    weights = manifests["train"].config["mixture"]["weights"]
    statistics = [of for pipeline, of in manifests["generate"].results.items() if weights.get(pipeline, 0) > 0]
    found = {
        name: [v for of in statistics if (v := _at(of, path)) is not None] for name, path in settings.measures.items()
    }
    return {name: sum(values) / len(values) for name, values in found.items() if values}


def _at(values: Any, path: str) -> float | None:
    for part in path.split("."):
        values = values.get(part) if isinstance(values, dict) else None
    return float(values) if isinstance(values, int | float) else None


def main(config: DictConfig) -> None:
    settings = typed(config, CellJobSettings)
    if settings.cell not in settings.cells:
        raise UserError(f"cell={settings.cell}: {closest(settings.cell, list(settings.cells))}")
    console = stage_console()
    entry = Chain(settings, settings.cell, settings.seed, console).run()
    new = append(settings.outputs / REGISTRY, entry)
    console.print(f"{settings.experiment} · {settings.cell} · seed {settings.seed}: {'new' if new else 'known'} result")


if __name__ == "__main__":
    hydra_main("ablation", main)
