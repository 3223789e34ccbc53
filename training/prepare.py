"""From dialogues to what the worker processes read: the untrained model and the tokenised samples, in the run directory."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import datasets
import transformers
from datasets import Dataset, DatasetDict, Features, Value, load_from_disk
from datasets import Sequence as Column
from datasets.exceptions import DatasetGenerationError
from transformers import AutoTokenizer

from core.messages import Frozen
from core.records import write_json
from core.settings import UserError
from training.layout import FIGURES, SAMPLES, UNTRAINED
from training.mixture import Mixture, Place, mix, read_chosen
from training.model import prepare_base
from training.render import render
from training.settings import TrainSettings

FEATURES = Features(
    {
        "dialogue_id": Value("string"),
        "turn": Value("int32"),
        "input_ids": Column(Value("int32")),
        "trained": Column(Value("int32")),
        "length": Value("int32"),
    }
)


class DataFigures(Frozen):
    """What a training reads. A sample is one user turn; tokens are counted once, however many epochs there are.
    `cut_turns` were left out for their length, `shared_tasks` counts dialogues left out for a validation task, `skipped` unlawful
    lines by what is wrong with them."""

    sources: dict[str, int]
    validation_domains: tuple[str, ...]
    shared_tasks: int
    skipped: dict[str, int]
    dialogues: int
    samples: int
    tokens: int
    trained_tokens: int
    cut_turns: int
    validation_dialogues: int
    validation_samples: int
    validation_trained_tokens: int


def prepare(directory: Path, settings: TrainSettings, files: Sequence[Path]) -> DataFigures:
    """Fill `directory`/untrained and /samples from dialogues.jsonl files, once: a run that is taken up again keeps what
    it has. Raises UserError if the data leaves nothing to train on."""
    written = directory / FIGURES
    if written.is_file():
        return DataFigures.model_validate_json(written.read_text())
    for library in (datasets, transformers.utils.logging):
        library.disable_progress_bar()
    mixture = mix(files, settings.mixture, settings.seed)
    untrained, samples, cache = directory / UNTRAINED, directory / SAMPLES, directory / "cache"
    for torn in (untrained, samples, cache):
        torn.unlink() if torn.is_symlink() else shutil.rmtree(torn, ignore_errors=True)
    prepare_base(settings.model, read_chosen(files, mixture.train), settings.seed, untrained)
    splits = {
        "train": _tokenized(files, mixture.train, settings, untrained, cache),
        "validation": _tokenized(files, mixture.validation, settings, untrained, cache),
    }
    kept = {name: split.filter(lambda length: length > 0, input_columns="length") for name, split in splits.items()}
    for name, split in kept.items():
        if not len(split):
            raise UserError(f"max_tokens={settings.max_tokens} is shorter than every {name} sample: raise it")
    # In order of length, so that processes that validate side by side wait little for each other.
    with warnings.catch_warnings():
        # datasets sorts with an argument that pyarrow has renamed; nothing a user of ours could do about it.
        warnings.simplefilter("ignore", FutureWarning)
        kept["validation"] = kept["validation"].sort("length")
    DatasetDict(kept).save_to_disk(samples)
    shutil.rmtree(cache, ignore_errors=True)
    figures = _figures(mixture, kept, cut_turns=sum(len(splits[name]) - len(kept[name]) for name in splits))
    write_json(written, figures.model_dump())
    return figures


def load_samples(directory: Path) -> DatasetDict:
    """The splits train and validation that `prepare` wrote; columns as FEATURES."""
    return load_from_disk(str(directory / SAMPLES))


def _tokenized(
    files: Sequence[Path], chosen: Sequence[Place], settings: TrainSettings, model: Path, cache: Path
) -> Dataset:
    """One row a user turn; a turn that was cut is a row of length 0. Several processes share the work."""
    work: dict[str, Any] = {"files": tuple(files), "chosen": chosen, "model": model, "max_tokens": settings.max_tokens}
    parts = list(range(settings.data_workers))
    # What fails in a worker loses its message on the way: here, one dialogue shows whether the template fits …
    next(_rows(parts=[0], of=len(chosen), **work))
    try:
        return Dataset.from_generator(
            _rows,
            features=FEATURES,
            cache_dir=str(cache),
            gen_kwargs={"parts": parts, "of": len(parts), **work},
            num_proc=len(parts),
        )
    except DatasetGenerationError:
        # … and reading everything names the line that cannot be read.
        for _ in read_chosen(files, chosen):
            pass
        raise


def _rows(
    parts: list[int], of: int, files: tuple[Path, ...], chosen: Sequence[Place], model: Path, max_tokens: int
) -> Iterator[dict[str, Any]]:
    tokenizer = AutoTokenizer.from_pretrained(model)
    for part in parts:
        for dialogue in read_chosen(files, chosen[part::of]):
            rendering = render(dialogue, tokenizer, max_tokens)
            for sample in rendering.samples:
                yield {
                    "dialogue_id": sample.dialogue_id,
                    "turn": sample.turn,
                    "input_ids": sample.input_ids,
                    "trained": sample.trained,
                    "length": len(sample.input_ids),
                }
            for _ in range(rendering.cut_turns):
                yield {"dialogue_id": dialogue.dialogue_id, "turn": -1, "input_ids": [], "trained": [], "length": 0}


def _figures(mixture: Mixture, splits: dict[str, Dataset], cut_turns: int) -> DataFigures:
    train, validation = splits["train"], splits["validation"]
    return DataFigures(
        sources=mixture.sources,
        validation_domains=mixture.validation_domains,
        shared_tasks=mixture.shared,
        skipped=mixture.skipped,
        dialogues=len(mixture.train),
        samples=len(train),
        tokens=sum(train["length"]),
        trained_tokens=sum(map(len, train["trained"])),
        cut_turns=cut_turns,
        validation_dialogues=len(mixture.validation),
        validation_samples=len(validation),
        validation_trained_tokens=sum(map(len, validation["trained"])),
    )
