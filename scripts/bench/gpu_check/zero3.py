"""A training of random weights and synthetic dialogues with ZeRO-3 in bf16, as torchrun starts it, and its checkpoint
loaded into plain transformers: python -m scripts.bench.gpu_check.zero3 directory=DIRECTORY model=dense|moe [device=cpu]

The mixture is saved as published models are, with one tensor for each expert.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import torch
from datasets import Dataset, DatasetDict
from hydra import compose, initialize_config_dir
from pydantic import Field
from torch.nn.functional import cross_entropy
from transformers import (
    AutoModelForCausalLM,
    PreTrainedModel,
    Qwen3Config,
    Qwen3ForCausalLM,
    Qwen3MoeConfig,
    Qwen3MoeForCausalLM,
    set_seed,
)

from core.files import write_json
from core.settings import Settings, typed
from scripts.bench.gpu_check.figures import figure
from scripts.bench.synthetic_dialogues import SyntheticDialogue
from scripts.launch import CONF, clear_errors, read_settings
from training.dataset import FEATURES
from training.run_layout import CHECKPOINT, CONFIG, RESULTS, SAMPLES, UNTRAINED
from training.settings import TrainSettings
from training.tiny_model import build_tokenizer
from training.token_tree import build_trees

TRAINED, VALIDATED = range(8), range(8, 10)
"""Seeds of the dialogues."""

TURNS, STEPS = 10, 4
SHOWN = (
    "untrained_validation_loss",
    "final_validation_loss",
    "seconds",
    "tokens_per_s",
    "trained_tokens_per_s",
    "mfu",
    "peak_gpu_bytes",
)
"""Results of the training that are figures of the check."""


class Zero3Settings(Settings):
    """Settings of the training."""

    directory: Path = Field(description="the run's directory, a new one; removed at the end")
    model: Literal["dense", "moe"] = Field(description="of the widths of Qwen3-4B or of Qwen3-30B-A3B, with two layers")
    device: Literal["cuda", "cpu"] = Field(default="cuda", description="cpu only tests that it runs")

    @property
    def on_cpu(self) -> bool:
        return self.device == "cpu"

    @property
    def shrink(self) -> int:
        """What all widths are divided by."""
        return 16 if self.on_cpu else 1

    @property
    def row_tokens(self) -> int:
        return 4096 if self.on_cpu else 32768

    def dialogue(self, vocabulary: int, seed: int) -> SyntheticDialogue:
        return SyntheticDialogue(TURNS, 0.02 if self.on_cpu else 1.0, vocabulary, seed)


def random_model(settings: Zero3Settings) -> PreTrainedModel:
    """Two layers, and 32 experts of the mixture."""
    set_seed(0)
    shrink, fewer = settings.shrink, 4 if settings.on_cpu else 1
    common: dict[str, Any] = {
        "num_hidden_layers": 2,
        "num_attention_heads": 32 // shrink,
        "head_dim": 128 // shrink,
        "max_position_embeddings": 65_536,
        "use_cache": False,
    }
    with torch.device(settings.device):
        if settings.model == "dense":
            return Qwen3ForCausalLM(
                Qwen3Config(
                    vocab_size=151_936 // shrink,
                    hidden_size=2560 // shrink,
                    intermediate_size=9728 // shrink,
                    num_key_value_heads=8 // fewer,
                    tie_word_embeddings=True,
                    **common,
                )
            )
        return Qwen3MoeForCausalLM(
            Qwen3MoeConfig(
                vocab_size=32_000,
                hidden_size=2048 // shrink,
                intermediate_size=6144 // shrink,
                num_key_value_heads=4 // fewer,
                num_experts=32 // fewer,
                num_experts_per_tok=8 // fewer,
                moe_intermediate_size=768 // shrink,
                norm_topk_prob=True,
                tie_word_embeddings=False,
                **common,
            )
        )


def trees(settings: Zero3Settings, vocabulary: int, seeds: range) -> Iterator[dict[str, Any]]:
    """Rows of the training's data set."""
    for seed in seeds:
        samples = settings.dialogue(vocabulary, seed).samples()
        for tree in build_trees(samples, settings.row_tokens):
            yield {
                "dialogue_id": f"synthetic-{seed}",
                "domain": "synthetic",
                "source": "synthetic",
                "difficulty": "easy",
                "samples": len(samples),
                "sample_tokens": sum(len(sample.input_ids) for sample in samples),
                "cut_turns": 0,
                "straddled": 0,
                "input_ids": tree.input_ids.tolist(),
                "starts": tree.starts.tolist(),
                "parents": tree.parents.tolist(),
                "trained": tree.trained.tolist(),
                "size": tree.size,
                "targets": len(tree.trained),
                "pairs": tree.pairs(),
            }


def prepare(settings: Zero3Settings) -> None:
    """Write what training.worker reads: model, tokenizer, trees and settings. Raises FileExistsError."""
    directory = settings.directory
    directory.mkdir(parents=True)
    model = random_model(settings)
    model.to("cpu", torch.bfloat16).save_pretrained(directory / UNTRAINED)
    tiny = composed("model=tiny").model.tiny
    assert tiny, "conf/model/tiny.yaml has its dimensions"
    build_tokenizer(tiny, ["some words to learn a vocabulary from"] * 20).save_pretrained(directory / UNTRAINED)
    rows = {
        name: Dataset.from_list(list(trees(settings, model.config.vocab_size, seeds)), features=FEATURES)
        for name, seeds in (("train", TRAINED), ("validation", VALIDATED))
    }
    DatasetDict(rows).save_to_disk(str(directory / SAMPLES))
    of_training = composed(
        f"experiment=paper_{'4b' if settings.model == 'dense' else '30b'}",
        f"model.path={directory / UNTRAINED}",
        f"max_tokens={settings.row_tokens}",
        f"row_tokens={settings.row_tokens}",
        f"max_steps={STEPS}",
        "processes=1",
        "batch_size=2",
        "evaluations=1",
        "optimizer.learning_rate=1e-4",
        "tracking.mode=disabled",
    )
    write_json(directory / CONFIG, of_training.model_dump(mode="json"))


def composed(*overrides: str) -> TrainSettings:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return typed(compose("train", list(overrides)), TrainSettings)


def train(settings: Zero3Settings) -> None:
    """Raises CalledProcessError if the training fails."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=1"]
    environment = os.environ | ({"DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": "1"} if settings.on_cpu else {})
    subprocess.run([*torchrun, "-m", "training.worker", str(settings.directory)], env=environment, check=True)


def check(settings: Zero3Settings) -> None:
    """Raises AssertionError if nothing was learnt, or the checkpoint is not the model's."""
    directory, model = settings.directory, settings.model
    results = json.loads((directory / RESULTS).read_text())
    figure(f"ZeRO-3 training, {model}", {name: results[name] for name in SHOWN if results.get(name) is not None})
    before, after = (
        AutoModelForCausalLM.from_pretrained(directory / name, dtype=torch.bfloat16).to(settings.device)
        for name in (UNTRAINED, CHECKPOINT)
    )
    assert before.state_dict().keys() == after.state_dict().keys()
    pairs = zip(before.parameters(), after.parameters(), strict=True)
    # A norm's weights of 1 move by less than bf16 tells apart in a few steps.
    moved = [not torch.equal(first, second) for first, second in pairs if first.ndim > 1]
    losses = [loss(network, settings) for network in (before, after)]
    figure(
        f"its checkpoint in plain transformers, {model}",
        {
            "untrained loss": round(losses[0], 4),
            "trained loss": round(losses[1], 4),
            "matrices that moved": f"{sum(moved)} of {len(moved)}",
        },
    )
    assert losses[1] < losses[0], "the trained model has no lower loss than the untrained one"
    assert all(moved), "some weights were not trained"


def loss(model: PreTrainedModel, settings: Zero3Settings) -> float:
    """The mean loss, in nats per trained token, of two turns of a validation dialogue."""
    losses = []
    for sample in settings.dialogue(model.config.vocab_size, VALIDATED.start).samples()[:2]:
        ids = torch.tensor([sample.input_ids], device=settings.device)
        with torch.no_grad():
            logits = model(ids).logits[0, [position - 1 for position in sample.trained]].float()
        losses.append(float(cross_entropy(logits, ids[0, sample.trained])))
    return sum(losses) / len(losses)


def main(settings: Zero3Settings) -> None:
    prepare(settings)
    train(settings)
    check(settings)
    shutil.rmtree(settings.directory)


if __name__ == "__main__":
    with clear_errors():
        main(read_settings(sys.argv[1:], Zero3Settings))
