"""Tokenised dialogues on disk: token trees, memory-mapped, built once per data, tokenizer, template and settings."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import datasets
import numpy as np
import torch
from datasets import Dataset, DatasetDict, Features, Value, load_from_disk
from datasets import Sequence as Column
from datasets.exceptions import DatasetGenerationError
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from core.dialogue import Dialogue
from core.messages import Frozen
from core.settings import UserError
from training.mixture import LineRef, label, read_chosen
from training.packing import pack
from training.render import HistoryReasoning, render
from training.sampler import Item, PartialRow
from training.token_tree import TokenTree, build_trees, single_chain

FEATURES = Features(
    {
        "dialogue_id": Value("string"),
        "domain": Value("string"),
        "source": Value("string"),
        "difficulty": Value("string"),
        "samples": Value("int32"),
        "sample_tokens": Value("int64"),
        "cut_turns": Value("int32"),
        "straddled": Value("int32"),
        "input_ids": Column(Value("int32")),
        "starts": Column(Value("int32")),
        "parents": Column(Value("int32")),
        "trained": Column(Value("int32")),
        "size": Value("int32"),
        "targets": Value("int32"),
        "pairs": Value("int64"),
    }
)
"""A tree (training.token_tree) and its counts: `size` tokens, `targets` trained tokens, `pairs` of attention. `samples`
and `sample_tokens` count the dialogue as one sample per user turn, `straddled` is as in training.render.Sample. A
dialogue cut to nothing is a row of size 0."""

FORMAT = 3
"""Increase it with every change of the format, so that older caches are not read."""


class SampleSettings(Frozen):
    """The settings that decide how a dialogue becomes trees."""

    max_tokens: int
    """The longest sample."""

    row_tokens: int
    """The largest tree."""

    share_prefixes: bool
    history_reasoning: HistoryReasoning

    chat_template_kwargs: dict[str, Any]


def cached_samples(
    cache: Path,
    files: Sequence[Path],
    inputs: Mapping[str, str],
    chosen: Mapping[str, Sequence[LineRef]],
    model: Path,
    settings: SampleSettings,
    workers: int,
) -> Path:
    """The directory of the data set (columns FEATURES) with the `chosen` dialogues of each split.

    `chosen` refers to lines of `files`, whose hashes are `inputs`. If the cache lacks it, `workers` processes build it.
    Raises UserError for lines that cannot be read.
    """
    key = _cache_key(inputs, chosen, AutoTokenizer.from_pretrained(model), settings)
    directory = cache / key
    if directory.is_dir():
        return directory
    datasets.disable_progress_bar()
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix="building-") as scratch:
        tokenization = _Tokenization(tuple(files), model, settings, Path(scratch) / "parts", workers)
        splits = DatasetDict({name: tokenization.split(lines) for name, lines in chosen.items()})
        splits.save_to_disk(Path(scratch) / "splits")
        try:
            (Path(scratch) / "splits").rename(directory)
        except OSError:
            if not directory.is_dir():  # if another run was faster, its result is the same
                raise
    return directory


def load_samples(directory: Path) -> DatasetDict:
    """The splits train and validation, without the dialogues cut to nothing."""
    splits = load_from_disk(str(directory))
    return DatasetDict({name: split.select(np.flatnonzero(_column(split, "size"))) for name, split in splits.items()})


def count(directory: Path, column: Literal["cut_turns", "straddled"]) -> int:
    """The sum of a column over all dialogues of both splits, those cut to nothing included."""
    return sum(int(_column(split, column).sum()) for split in load_from_disk(str(directory)).values())


class Rows(torch.utils.data.Dataset[list[TokenTree]]):
    """The trees of a split packed into rows of at most `row_tokens` tokens; row None has nothing to train."""

    def __init__(self, split: Dataset, row_tokens: int) -> None:
        self.split = split
        self.members = pack(_column(split, "size").tolist(), row_tokens)

    def __len__(self) -> int:
        return len(self.members)

    def __getitem__(self, row: Item) -> list[TokenTree]:
        if isinstance(row, PartialRow):
            return _learn_first(row.targets, self[row.row])
        return [EMPTY_TREE] if row is None else [tree_of(self.split[member]) for member in self.members[row]]

    def sums(self, column: str) -> list[int]:
        """The sum of a column over the trees of each row."""
        values = _column(self.split, column)
        return [int(values[members].sum()) for members in self.members]

    def labels(self, row: int) -> list[tuple[str, str, str]]:
        """(source, difficulty, domain) of each tree in a row."""
        members = self.split[self.members[row]]
        return list(zip(members["source"], members["difficulty"], members["domain"], strict=True))

    @property
    def domains(self) -> frozenset[str]:
        """The domains of all trees."""
        return frozenset(self.split["domain"])

    @property
    def fill(self) -> float:
        """The mean size of a row, relative to the fullest one."""
        sizes = self.sums("size")
        return sum(sizes) / (len(sizes) * max(sizes))


EMPTY_TREE = TokenTree(np.zeros(1, np.int64), np.zeros(1, np.int64), np.full(1, -1, np.int64), np.empty(0, np.int64))
"""One token and nothing to learn, for a rank that must take part without a row."""


def tree_of(row: Mapping[str, Any]) -> TokenTree:
    """The tree in a row of the data set."""
    return TokenTree(*(np.asarray(row[name], np.int64) for name in ("input_ids", "starts", "parents", "trained")))


def _learn_first(targets: int, trees: Sequence[TokenTree]) -> list[TokenTree]:
    """The trees with only their first `targets` trained tokens, counted over all of them."""
    before = np.cumsum([0, *(len(tree.trained) for tree in trees)])
    kept = [max(0, targets - int(count)) for count in before[:-1]]
    return [replace(tree, trained=tree.trained[:count]) for tree, count in zip(trees, kept, strict=True)]


@dataclass(frozen=True)
class _Tokenization:
    """Tokenises the chosen lines of `files` in `workers` processes."""

    files: tuple[Path, ...]
    model: Path
    settings: SampleSettings
    scratch: Path
    workers: int

    def split(self, chosen: Sequence[LineRef]) -> Dataset:
        parts = list(range(self.workers))
        try:
            return Dataset.from_generator(
                self.rows,
                features=FEATURES,
                cache_dir=str(self.scratch),
                gen_kwargs={"parts": parts, "of": len(parts), "chosen": chosen},
                num_proc=len(parts),
            )
        except DatasetGenerationError:
            if self.problem.is_file():
                raise UserError(self.problem.read_text()) from None
            raise

    @property
    def problem(self) -> Path:
        """Where a worker process leaves the message of a UserError: the exception itself would not reach us."""
        return self.scratch.with_suffix(".problem")

    def rows(self, parts: list[int], of: int, chosen: Sequence[LineRef]) -> Iterator[dict[str, Any]]:
        tokenizer = AutoTokenizer.from_pretrained(self.model.resolve())
        try:
            for part in parts:
                for dialogue in read_chosen(self.files, chosen[part::of]):
                    yield from _tree_rows(dialogue, tokenizer, self.settings)
        except UserError as error:
            self.problem.write_text(str(error))
            raise


def _tree_rows(
    dialogue: Dialogue, tokenizer: PreTrainedTokenizerBase, settings: SampleSettings
) -> Iterator[dict[str, Any]]:
    rendering = render(
        dialogue, tokenizer, settings.max_tokens, settings.history_reasoning, settings.chat_template_kwargs
    )
    dialogue_trees = (
        build_trees(rendering.samples, settings.row_tokens)
        if settings.share_prefixes
        else [*map(single_chain, rendering.samples)]
    )
    source, difficulty = label(dialogue)
    empty = TokenTree(*(np.empty(0, np.int64) for _ in range(4)))
    for number, tree in enumerate(dialogue_trees or [empty]):
        first = number == 0
        yield {
            "dialogue_id": dialogue.dialogue_id,
            "domain": dialogue.domain,
            "source": source,
            "difficulty": difficulty or "",
            "samples": len(rendering.samples) if first else 0,
            "sample_tokens": sum(len(s.input_ids) for s in rendering.samples) if first else 0,
            "cut_turns": rendering.cut_turns if first else 0,
            "straddled": sum(s.straddled for s in rendering.samples) if first else 0,
            "input_ids": tree.input_ids,
            "starts": tree.starts,
            "parents": tree.parents,
            "trained": tree.trained,
            "size": tree.size,
            "targets": len(tree.trained),
            "pairs": tree.pairs() if tree.size else 0,
        }


def _cache_key(
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
