"""A small tokenizer, and a small generation run to train on."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerFast

from core.journal import write_jsonl
from tests.training.helpers.dialogues import dialogue
from training.settings import TinySettings
from training.tiny_model import build_tokenizer


@pytest.fixture(scope="session")
def tiny() -> TinySettings:
    return TinySettings(
        vocabulary=640,
        hidden=32,
        layers=2,
        heads=2,
        kv_heads=1,
        head_dim=16,
        intermediate=64,
        max_positions=4096,
        initializer_range=0.05,
    )


@pytest.fixture(scope="session")
def tokenizer(tiny: TinySettings) -> PreTrainedTokenizerFast:
    """Line breaks merge, as in every published tokenizer."""
    texts = [message.content for number in range(20) for message in dialogue(number).messages]
    return build_tokenizer(tiny, [*texts, "\n\n"])


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a generation run with 12 executed dialogues in three domains."""
    folder = tmp_path_factory.mktemp("generation")
    domains = ("shop", "club", "clinic")
    dialogues = [dialogue(number, domain=domains[number % 3], turns=2) for number in range(12)]
    write_jsonl(folder / "user_oriented_exec" / "dialogues.jsonl", dialogues)
    return folder
