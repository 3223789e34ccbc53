"""From dialogues to what the worker processes read: the untrained model and the tokenised trees, in the run directory."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import transformers
from datasets import DatasetDict

from core.files import write_json
from core.messages import Frozen
from core.settings import UserError
from training.dataset import Rows, cached_samples, cut_turns, load_samples
from training.mixture import Mixture, mix, read_chosen
from training.model import prepare_base
from training.run_layout import CACHE, FIGURES, SAMPLES, UNTRAINED
from training.settings import TrainSettings


class DataFigures(Frozen):
    """What a training reads; tokens are counted once, however many epochs there are. A tree holds a dialogue's user turns,
    which as `samples` of their own would be `sample_tokens`; a row holds trees and is filled with tokens to the share `fill`.
    `cut_turns` were left out for their length, `shared_tasks` counts dialogues left out for a validation task,
    `skipped` unlawful lines by what is wrong with them."""

    sources: dict[str, int]
    validation_domains: tuple[str, ...]
    shared_tasks: int
    skipped: dict[str, int]
    dialogues: int
    trees: int
    rows: int
    fill: float
    samples: int
    sample_tokens: int
    tokens: int
    trained_tokens: int
    cut_turns: int
    validation_dialogues: int
    validation_samples: int
    validation_trained_tokens: int


def prepare(directory: Path, settings: TrainSettings, files: Sequence[Path], inputs: Mapping[str, str]) -> DataFigures:
    """Fill `directory`/untrained and /samples from dialogues.jsonl files with the hashes `inputs`, once: a run that is taken up
    again keeps what it has. Raises UserError if the data leaves nothing to train on."""
    written = directory / FIGURES
    if written.is_file():
        return DataFigures.model_validate_json(written.read_text())
    transformers.utils.logging.disable_progress_bar()
    mixture = mix(files, settings.mixture, settings.seed)
    untrained, samples = directory / UNTRAINED, directory / SAMPLES
    for torn in (untrained, samples):
        torn.unlink() if torn.is_symlink() else shutil.rmtree(torn, ignore_errors=True)
    prepare_base(settings.model, read_chosen(files, mixture.train), settings.seed, untrained)
    chosen = {"train": mixture.train, "validation": mixture.validation}
    cache = settings.outputs / CACHE
    cached = cached_samples(cache, files, inputs, chosen, untrained, settings.samples, settings.data_workers)
    samples.symlink_to(cached.resolve(), target_is_directory=True)
    kept = load_samples(samples)
    for name, split in kept.items():
        if not len(split):
            raise UserError(f"max_tokens={settings.max_tokens} is shorter than every {name} sample: raise it")
    figures = _figures(mixture, kept, settings.row_tokens, cut_turns(samples))
    write_json(written, figures.model_dump())
    return figures


def _figures(mixture: Mixture, splits: DatasetDict, row_tokens: int, cut: int) -> DataFigures:
    train, validation = splits["train"], splits["validation"]
    rows = Rows(train, row_tokens)
    return DataFigures(
        sources=mixture.sources,
        validation_domains=mixture.validation_domains,
        shared_tasks=mixture.shared,
        skipped=mixture.skipped,
        dialogues=len(mixture.train),
        trees=len(train),
        rows=len(rows),
        fill=rows.fill,
        samples=sum(train["samples"]),
        sample_tokens=sum(train["sample_tokens"]),
        tokens=sum(train["size"]),
        trained_tokens=sum(train["targets"]),
        cut_turns=cut,
        validation_dialogues=len(mixture.validation),
        validation_samples=sum(validation["samples"]),
        validation_trained_tokens=sum(validation["targets"]),
    )
