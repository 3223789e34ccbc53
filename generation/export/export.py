"""Exports a generation run as clean data for others: deduplicated, decontaminated, with a card that states its
provenance.

The dialogues are read once to decide which to keep, and again, one at a time, to write those. Memory holds hashes,
signatures and counts of each dialogue, never text: about 1 kB per dialogue, plus 5 kB in the index of near duplicates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, Protocol

from pydantic import Field

from core.dialogue import Dialogue
from core.files import write_atomically, write_json
from core.journal import dump_line, write_jsonl
from core.settings import Paths, Settings, UserError
from generation.export.benchmark_texts import BenchmarkData, BenchmarkName
from generation.export.card import render_card
from generation.export.decontamination import ContaminationSettings, Detector
from generation.export.dedup import DedupSettings, duplicates
from generation.export.formats import Format
from generation.export.index import DialogueIndex, Entry
from generation.export.packages import write_inspect, write_rl
from generation.export.preferences import write_preferences
from generation.export.report import Report, report
from generation.export.scan import scan
from generation.export.sft import sft_steps, write_sft
from generation.export.task_hash import HASHES, TaskHash, read_held_out
from generation.export.tasks import GenerationRun

Use = Literal["sft", "rl", "inspect", "preferences"]


class ExportSettings(Settings):
    """conf/export.yaml."""

    profile: str = Field(description="name of the profile, recorded in the manifest")
    outputs: Path = Field(description="folder of all runs' outputs")
    data: Path | None = Field(
        description="A generation run or one dialogues.jsonl; null: the newest finished generation"
    )
    uses: tuple[Use, ...] = Field(
        alias="as",
        min_length=1,
        description="what to make of it: sft, dialogues; rl, tasks for verifiers; inspect, tasks for inspect; preferences, "
        "pairs of messages",
    )
    format: Format = Field(description="of the dialogues of sft: openai, sharegpt, hermes or traces")
    package: str = Field(
        pattern=r"^[a-z][a-z0-9_]*$", description="name of the package of rl, and of the task of inspect"
    )
    held_out: Paths = Field(
        description="earlier exports, or their task_hashes.jsonl: dialogues with one of their tasks are removed"
    )
    dedup: DedupSettings = Field(description="removal of duplicates")
    benchmarks: tuple[BenchmarkName, ...] = Field(description="benchmarks to decontaminate against: bfcl, tau2")
    bfcl: Path = Field(description="virtual environment in which bfcl-eval is installed")
    contamination: ContaminationSettings = Field(description="removal of dialogues that share items with benchmarks")
    push_to_hub: str | None = Field(
        description="dataset on the Hugging Face hub to upload to (organisation/name); null: none"
    )
    private: bool = Field(description="create the dataset on the hub as private")


class ExportWatcher(Protocol):
    """Receives the progress of an export."""

    def step(self, name: str, total: int) -> Callable[[int], None]:
        """Start a step of `total` units; returns a callback that takes the number of units just done."""
        ...


def check_uses(uses: Sequence[Use], generation: GenerationRun | None) -> None:
    """Raise UserError if a use needs the generation run of the dialogues and there is none."""
    of_tasks = [use for use in uses if use != "sft"]
    if of_tasks and generation is None:
        raise UserError(
            f"as=[{','.join(of_tasks)}] needs the tools and databases of the dialogues: give their run, data=outputs/…"
        )


def export(
    files: Sequence[Path],
    directory: Path,
    settings: ExportSettings,
    benchmarks: Sequence[BenchmarkData],
    run: str,
    packages: Mapping[str, str],
    watcher: ExportWatcher,
    generation: GenerationRun | None = None,
) -> Report:
    """Write an export to `directory`. `run` and `packages` (name -> version) describe the generation, for the card;
    `generation` is the run itself, which all uses but sft need (check_uses).

    Files are written atomically, so an interrupted export can simply be repeated; the same dialogues, in any order and
    any files, give the same bytes. Raises UserError for an unreadable line, if no dialogue remains, or none with a
    task that a use could have.
    """
    held_out = read_held_out(settings.held_out)
    with DialogueIndex(files) as index:
        detector = Detector(benchmarks, settings.contamination)
        scanned = scan(index, settings.dedup, detector, held_out, watcher.step("reading", index.size))
        entries = sorted(scanned.entries, key=lambda entry: entry.dialogue_id)
        contaminated = {removal.dialogue_id for removal in scanned.removals}
        clean = [entry for entry in entries if entry.dialogue_id not in contaminated]
        on_compared = watcher.step("comparing", len(clean))
        removals = [*scanned.removals, *duplicates(clean, index.dialogue, settings.dedup, on_compared)]
        removals.sort(key=lambda removal: removal.dialogue_id)
        used_settings = settings.model_dump(mode="json", include={"dedup", "benchmarks", "contamination"})
        summary = report(run, used_settings, entries, removals, scanned.origins, detector.report())
        removed = {removal.dialogue_id for removal in removals}
        kept = [entry for entry in entries if entry.dialogue_id not in removed]
        if not kept:
            raise UserError(f"none of {len(entries)} dialogues remains: {_reasons(summary)}")
        written = {use: _write(use, index, kept, directory, settings, generation, watcher) for use in settings.uses}
    _, tried = written.get("preferences", (0, 0))
    uses = {use: count for use, (count, _) in written.items()}
    summary = summary.model_copy(update={"uses": uses, "tried_for_preferences": tried})
    write_jsonl(directory / HASHES, (line for entry in kept for line in _task_hashes(entry)))
    write_atomically(directory / "removed.jsonl", (dump_line(removal) for removal in removals))
    write_json(directory / "report.json", summary.model_dump(mode="json"))
    write_atomically(directory / "README.md", render_card(summary, settings.format, settings.package, packages))
    return summary


def _write(
    use: Use,
    index: DialogueIndex,
    kept: Sequence[Entry],
    directory: Path,
    settings: ExportSettings,
    generation: GenerationRun | None,
    watcher: ExportWatcher,
) -> tuple[int, int]:
    """Write what one use needs; returns the number of its dialogues, tasks or pairs, and of what they were made from:
    as many dialogues or tasks, or the tasks that were tried for pairs. Raises UserError if there is nothing to make
    them from."""
    if use == "sft":
        on_line = watcher.step("writing sft", sft_steps(kept, settings.format))
        write_sft(directory, index, kept, settings.format, on_line)
        return len(kept), len(kept)
    assert generation, "check_uses"
    on_dialogue = watcher.step(f"writing {use}", len(kept))

    def dialogues() -> Iterator[Dialogue]:
        for entry in kept:
            yield index.dialogue(entry)
            on_dialogue(1)

    if use == "preferences":
        count, playable = write_preferences(directory / use, dialogues(), generation)
    else:
        write = {"rl": write_rl, "inspect": write_inspect}[use]
        count = playable = write(directory / use, settings.package, dialogues(), generation)
    if not playable:
        raise UserError(
            f"as=[{use}] was given, but no exported dialogue has a task that execution decides with a simulated user: "
            "make generate pipeline=user_oriented_exec"
        )
    return count, playable


def _task_hashes(entry: Entry) -> Iterator[TaskHash]:
    for number, digest in enumerate(entry.task_hashes):
        yield TaskHash(task_hash=digest.hex(), dialogue_id=entry.dialogue_id, task=number)


def _reasons(summary: Report) -> str:
    return "; ".join(
        f"{name}: {', '.join(f'{why} {count}' for why, count in counts.removed.items())}"
        for name, counts in summary.pipelines.items()
    )
