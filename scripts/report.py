"""make report [run=outputs/STAGE/RUN] [transcripts=5000]: a run and what it was made from, in one file for any browser.

Without `run`, the newest evaluation, training or generation, in this order; also outputs/ablations/NAME, an experiment.
Writes outputs/report/<run id>/index.html: open it, or send it to somebody.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from itertools import chain
from pathlib import Path

from pydantic import Field
from rich.console import Console
from rich.filesize import decimal

from core.console import stage_console
from core.manifest import Manifest, read_manifest
from core.page.contents import Page, Section, Transcript
from core.page.page import write_page
from core.settings import Settings, UserError
from evaluation.ablation.registry import REGISTRY, Entry, read_registry
from evaluation.reports import page_ablation, page_sections, page_transcripts
from evaluation.reports.page_records import recorded_trials, transcript_key
from generation.environments.base import EnvironmentFactory
from generation.metrics.diversity import digest
from generation.report.exporting import export_section
from generation.report.sections import sections as generation_sections
from generation.report.transcripts import draw
from generation.report.transcripts import transcripts as generation_transcripts
from scripts.launch import clear_errors, instantiate, read_settings
from scripts.outputs import FoundRun, find_runs, parents
from scripts.report_words import ABOUT, words
from scripts.stage_runs import runs_directory

STAGES = ("evaluate", "train", "generate")
"""The stages that a report shows, in its order."""


class ReportSettings(Settings):
    """Settings of make report."""

    outputs: Path = Field(default=Path("outputs"), description="directory of all runs")
    run: Path | None = Field(default=None, description="a run; null: the newest evaluation, training or generation")
    transcripts: int = Field(default=5000, ge=0, description="most dialogues and trials of each run, drawn at random")
    seed: int = Field(default=0, description="which are drawn")


def write_report(run: Path, transcripts: int, console: Console, seed: int = 0) -> Path:
    """Write the report of a run and of those that it was made from, as far as they are in the same outputs, or of an
    experiment; returns its file. Raises UserError for a run that cannot be read or is of another stage."""
    if is_experiment(run):
        return write_experiment_report(run, transcripts, console, seed)
    shown = shown_runs(run)
    manifests = {path: read_manifest(path) for path in shown}
    sections: list[Section] = []
    found: list[Iterable[Transcript]] = []
    notes: list[str] = []
    with ExitStack() as stack:
        for path, manifest in manifests.items():
            match manifest.stage:
                case "evaluate":
                    sections += page_sections.sections(path)
                    chosen, note = drawn_trials(path, manifest, transcripts, seed)
                    found.append(page_transcripts.transcripts(path, chosen))
                    notes.append(note)
                case "train":
                    from training import run_report  # noqa: PLC0415 - needs the extra train; other stages do not

                    sections += run_report.sections(path)
                case "generate":
                    sections += generation_sections(path, manifest)
                    sections += map(export_section, exports_of(path))
                    environments = environments_of(manifest, console)
                    for environment in environments.values():
                        stack.callback(environment.close)
                    found.append(generation_transcripts(path, environments, transcripts, seed))
                    notes.append(draw(path, transcripts, seed).note)
        newest = manifests[shown[0]]
        page = Page(
            title=title_of(newest),
            about=ABOUT,
            lineage=tuple(lineage(manifests.values())),
            sections=(*with_distinct_keys(sections), words()),
            transcripts_note="; ".join(filter(None, notes)),
        )
        file = outputs_of(run) / "report" / newest.run_id / "index.html"
        size = write_page(file, page, chain.from_iterable(found))
    console.print(f"report: {file} ({decimal(size)})", soft_wrap=True, highlight=False)
    return file


def write_experiment_report(directory: Path, transcripts: int, console: Console, seed: int = 0) -> Path:
    """Write the report of an experiment, outputs/ablations/<name>/, with at most `transcripts` trials of its cells;
    returns its file. Raises UserError without results."""
    outputs = outputs_of(directory)
    entries = (e for e in read_registry(outputs / REGISTRY) if e.measured.experiment == directory.name)
    results = [experiment_result(outputs, entry) for entry in entries]
    analysis = page_ablation.read_analysis(directory)
    shown = page_ablation.shown(analysis, results)
    keys = [result.key(record) for result in shown for record in result.records]
    chosen, note = drawn(keys, transcripts, seed)
    sections = (*page_ablation.sections(directory, analysis, results), words())
    page = Page(title=f"Experiment: {analysis.title}", about=ABOUT, sections=sections, transcripts_note=note)
    file = outputs / "report" / directory.name / "index.html"
    size = write_page(file, page, page_ablation.trial_transcripts(shown, chosen))
    console.print(f"report: {file} ({decimal(size)})", soft_wrap=True, highlight=False)
    return file


def is_experiment(directory: Path) -> bool:
    """Whether it is outputs/ablations/<name>/, and not the folder of all experiments' runs."""
    resolved = directory.resolve()
    return resolved.parent.name == "ablations" and resolved != runs_directory(outputs_of(resolved))


def experiment_result(outputs: Path, entry: Entry) -> page_ablation.Result:
    """An entry with its trials; without them if the run was removed, or made on another machine."""
    run = runs_directory(outputs) / "evaluate" / entry.runs["evaluate"].run
    records = recorded_trials(run, read_manifest(run)) if run.is_dir() else []
    return page_ablation.Result(entry, run, tuple(records))


def outputs_of(run: Path) -> Path:
    """outputs/, in which outputs/<stage>/<run id> is."""
    return run.resolve().parent.parent


def shown_runs(run: Path) -> list[Path]:
    """The run, then those that it was made from, in the order of STAGES."""
    directory = run.resolve()
    by_name = {found.name: found for found in find_runs(outputs_of(run))}
    if directory.name not in by_name or not by_name[directory.name].manifest:
        raise UserError(f"run={run} was given; expected: a run directory with a readable manifest.json")
    if directory.parent.name not in STAGES:
        raise UserError(f"run={run} is of {directory.parent.name}; expected a run of {', '.join(STAGES)}")
    above = parents(by_name.values())[directory.name]
    others = [by_name[name] for name in sorted(above, reverse=True) if _is_shown(by_name[name])]
    order = sorted([by_name[directory.name], *others], key=lambda found: STAGES.index(found.stage))
    return [found.directory for found in order]


def _is_shown(found: FoundRun) -> bool:
    return found.stage in STAGES and found.manifest is not None


def exports_of(run: Path) -> list[Path]:
    """The finished exports of a generation run, in their order."""
    found = find_runs(outputs_of(run))
    above = parents(found)
    exports = (other for other in found if other.stage == "export" and other.state == "finished")
    return [export.directory for export in exports if run.name in above[export.name]]


def environments_of(manifest: Manifest, console: Console) -> dict[str, EnvironmentFactory]:
    """The environments of a generation's pipelines. One that cannot be constructed, such as a plug-in that is not
    installed here, is left out with a warning: its dialogues are shown without a replay."""
    environments = {}
    for name, pipeline in manifest.config["pipelines"].items():
        try:
            environments[name] = instantiate(pipeline["environment"])
        except Exception as error:
            text = f"{name}: dialogues are shown without a replay, for their environment cannot be made ({error})"
            console.print(text, style="yellow", markup=False, soft_wrap=True)
    return environments


def drawn_trials(run: Path, manifest: Manifest, limit: int, seed: int) -> tuple[frozenset[str], str]:
    """The keys of at most `limit` trials, and a note of how many of how many they are."""
    return drawn([transcript_key(record) for record in recorded_trials(run, manifest)], limit, seed)


def drawn(keys: Sequence[str], limit: int, seed: int) -> tuple[frozenset[str], str]:
    """At most `limit` keys of trials, equal for the same seed, and a note of how many of how many they are."""
    if len(keys) <= limit:
        return frozenset(keys), f"all {len(keys):,} trials" if keys else ""
    chosen = sorted(keys, key=lambda key: digest(str(seed), key))[:limit]
    return frozenset(chosen), f"{limit:,} of {len(keys):,} trials, drawn at random"


def title_of(manifest: Manifest) -> str:
    """What the run was about, in a line."""
    config, results = manifest.config, manifest.results
    match manifest.stage:
        case "evaluate":
            models = " and ".join(str(model["label"]) for model in results.get("models", ())) or "models"
            return f"Evaluation of {models}: {', '.join(config.get('benchmarks', {}))}"
        case "train":
            return f"Training of {config.get('model', {}).get('path') or 'the tiny model'}"
        case _:
            return f"Generated dialogues: {', '.join(config.get('pipelines', {}))}"


def lineage(manifests: Iterable[Manifest]) -> Iterator[tuple[str, str]]:
    """The runs with when and by which commit they were made."""
    for manifest in manifests:
        changed = ", with changes" if manifest.dirty else ""
        yield manifest.stage, f"{manifest.run_id} ({manifest.started[:16]}, commit {manifest.commit[:10]}{changed})"


def with_distinct_keys(sections: Sequence[Section]) -> Iterator[Section]:
    """The sections; several generations of one training have sections of the same keys."""
    seen: dict[str, int] = {}
    for section in sections:
        seen[section.key] = number = seen.get(section.key, 0) + 1
        yield section if number == 1 else section.model_copy(update={"key": f"{section.key}-{number}"})


def newest(outputs: Path) -> Path:
    """The newest run of the first stage of STAGES that has one. Raises UserError without any."""
    runs = [found for found in find_runs(outputs) if _is_shown(found)]
    for stage in STAGES:
        of_stage = sorted(found.name for found in runs if found.stage == stage)
        if of_stage:
            return outputs / stage / of_stage[-1]
    raise UserError(f"outputs={outputs} has no run to report; make one: make generate")


def main(settings: ReportSettings, console: Console) -> Path:
    """Write the chosen report; returns its file."""
    return write_report(settings.run or newest(settings.outputs), settings.transcripts, console, settings.seed)


if __name__ == "__main__":
    with clear_errors():
        main(read_settings(sys.argv[1:], ReportSettings), stage_console())
