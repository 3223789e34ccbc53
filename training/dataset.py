"""Tokenised dialogues on disk: a token tree each, memory-mapped, made once for the same data, tokenizer and template."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from datasets import Dataset, DatasetDict, Features, Value, load_from_disk
from datasets import Sequence as Column
from datasets.exceptions import DatasetGenerationError
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from core.dialogue import Dialogue
from core.messages import Frozen
from training.mixture import LineRef, label, read_chosen
from training.packing import pack
from training.render import HistoryReasoning, render
from training.token_tree import TokenTree, single_chain, trees

FEATURES = Features(
    {
        "dialogue_id": Value("string"),
        "source": Value("string"),
        "difficulty": Value("string"),
        "samples": Value("int32"),
        "sample_tokens": Value("int64"),
        "cut_turns": Value("int32"),
        "input_ids": Column(Value("int32")),
        "starts": Column(Value("int32")),
        "parents": Column(Value("int32")),
        "trained": Column(Value("int32")),
        "size": Value("int32"),
        "targets": Value("int32"),
        "pairs": Value("int64"),
    }
)
"""A tree (training.token_tree) and its figures: its tokens, the trained ones, attention's pairs; `samples` and `sample_tokens` are
what it would be one sample a user turn. A dialogue of which nothing is left is a row of size 0."""

FORMAT = 1
"""To be raised with any change of what is written, so that older caches are not read."""


class SampleSettings(Frozen):
    """What decides how a dialogue becomes trees. `max_tokens` is the longest sample, `row_tokens` the largest tree."""

    max_tokens: int
    row_tokens: int
    share_prefixes: bool
    history_reasoning: HistoryReasoning


def cached_samples(
    cache: Path,
    files: Sequence[Path],
    inputs: Mapping[str, str],
    chosen: Mapping[str, Sequence[LineRef]],
    model: Path,
    settings: SampleSettings,
    workers: int,
) -> Path:
    """The directory of the split data set (columns as FEATURES) with the `chosen` dialogues of `files`, whose hashes are
    `inputs`, by split. Made by `workers` processes where the cache lacks it. Raises UserError for lines that cannot be read."""
    key = _key(inputs, chosen, AutoTokenizer.from_pretrained(model), settings)
    directory = cache / key
    if directory.is_dir():
        return directory
    datasets.disable_progress_bar()
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix="making-") as scratch:
        work = _Work(tuple(files), model, settings, Path(scratch) / "parts", workers)
        made = DatasetDict({name: work.split(places) for name, places in chosen.items()})
        made.save_to_disk(Path(scratch) / "made")
        try:
            (Path(scratch) / "made").rename(directory)
        except OSError:
            if not directory.is_dir():  # where another run was faster, what it made is the same
                raise
    return directory


def load_samples(directory: Path) -> DatasetDict:
    """The splits train and validation, without the dialogues of which nothing is left."""
    found = load_from_disk(str(directory))
    return DatasetDict({name: split.select(np.flatnonzero(_column(split, "size"))) for name, split in found.items()})


def cut_turns(directory: Path) -> int:
    """The user turns of both splits that were left out for their length."""
    return sum(int(_column(split, "cut_turns").sum()) for split in load_from_disk(str(directory)).values())


class Rows(torch.utils.data.Dataset[list[TokenTree]]):
    """The trees of a split packed into rows of at most `row_tokens` tokens; row None is one with nothing to train."""

    def __init__(self, split: Dataset, row_tokens: int) -> None:
        self.split = split
        self.members = pack(_column(split, "size").tolist(), row_tokens)

    def __len__(self) -> int:
        return len(self.members)

    def __getitem__(self, row: int | None) -> list[TokenTree]:
        return [NOTHING] if row is None else [tree_of(self.split[member]) for member in self.members[row]]

    def sums(self, column: str) -> list[int]:
        """Of each row."""
        values = _column(self.split, column)
        return [int(values[members].sum()) for members in self.members]

    def labels(self, row: int | None) -> list[tuple[str, str]]:
        """(source, difficulty) of each of a row's trees."""
        if row is None:
            return [("", "")]
        members = self.split[self.members[row]]
        return list(zip(members["source"], members["difficulty"], strict=True))

    @property
    def fill(self) -> float:
        """The share of the rows' tokens that are there."""
        sizes = self.sums("size")
        return sum(sizes) / (len(sizes) * max(sizes))


NOTHING = TokenTree(np.zeros(1, np.int64), np.zeros(1, np.int64), np.full(1, -1, np.int64), np.empty(0, np.int64))
"""One token to see and none to learn, for a rank that has to take part without having a row."""


def tree_of(row: Mapping[str, Any]) -> TokenTree:
    return TokenTree(*(np.asarray(row[name], np.int64) for name in ("input_ids", "starts", "parents", "trained")))


@dataclass(frozen=True)
class _Work:
    files: tuple[Path, ...]
    model: Path
    settings: SampleSettings
    scratch: Path
    workers: int

    def split(self, chosen: Sequence[LineRef]) -> Dataset:
        parts = list(range(self.workers))
        # What fails in a worker loses its message on the way: here, one dialogue shows whether the template fits …
        next(self.rows([0], len(chosen), chosen))
        try:
            return Dataset.from_generator(
                self.rows,
                features=FEATURES,
                cache_dir=str(self.scratch),
                gen_kwargs={"parts": parts, "of": len(parts), "chosen": chosen},
                num_proc=len(parts),
            )
        except DatasetGenerationError:
            # … and reading everything names the line that cannot be read.
            for _ in read_chosen(self.files, chosen):
                pass
            raise

    def rows(self, parts: list[int], of: int, chosen: Sequence[LineRef]) -> Iterator[dict[str, Any]]:
        tokenizer = AutoTokenizer.from_pretrained(self.model)
        for part in parts:
            for dialogue in read_chosen(self.files, chosen[part::of]):
                yield from _rows(dialogue, tokenizer, self.settings)


def _rows(dialogue: Dialogue, tokenizer: PreTrainedTokenizerBase, settings: SampleSettings) -> Iterator[dict[str, Any]]:
    rendering = render(dialogue, tokenizer, settings.max_tokens, settings.history_reasoning)
    made = (
        trees(rendering.samples, settings.row_tokens)
        if settings.share_prefixes
        else [*map(single_chain, rendering.samples)]
    )
    source, difficulty = label(dialogue)
    nothing = TokenTree(*(np.empty(0, np.int64) for _ in range(4)))
    for number, tree in enumerate(made or [nothing]):
        first = number == 0
        yield {
            "dialogue_id": dialogue.dialogue_id,
            "source": source,
            "difficulty": difficulty or "",
            "samples": len(rendering.samples) if first else 0,
            "sample_tokens": sum(len(s.input_ids) for s in rendering.samples) if first else 0,
            "cut_turns": rendering.cut_turns if first else 0,
            "input_ids": tree.input_ids,
            "starts": tree.starts,
            "parents": tree.parents,
            "trained": tree.trained,
            "size": tree.size,
            "targets": len(tree.trained),
            "pairs": tree.pairs() if tree.size else 0,
        }


def _key(
    inputs: Mapping[str, str],
    chosen: Mapping[str, Sequence[LineRef]],
    tokenizer: PreTrainedTokenizerBase,
    settings: SampleSettings,
) -> str:
    parts = {
        "format": FORMAT,
        "inputs": dict(inputs),
        "chosen": dict(chosen),
        "tokenizer": tokenizer.backend_tokenizer.to_str(),
        "template": tokenizer.chat_template,
        "settings": settings.model_dump(),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def _column(split: Dataset, name: str) -> np.ndarray[Any, Any]:
    return np.asarray(split.with_format("numpy", columns=[name])[:][name])
