"""Real trainings of a very small model, started from the command line."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from core.dialogue import Dialogue
from core.journal import read_jsonl
from core.manifest import read_manifest
from training.base_model import prepare_base
from training.dataset import load_samples
from training.render import render
from training.run_layout import CHECKPOINT, METRICS, SAMPLES, UNTRAINED, newest_checkpoint
from training.settings import ModelSettings, TinySettings

pytestmark = pytest.mark.slow

STEPS = 24
SETTINGS = (
    "profile=tiny",
    "tracking.mode=disabled",
    "mixture=exec_only",
    f"max_steps={STEPS}",
    "batch_size=2",
    "max_tokens=700",
    "row_tokens=700",
    "evaluations=4",
    "data_workers=1",
    "model.tiny.vocabulary=640",
    "model.tiny.hidden=32",
    "model.tiny.head_dim=16",
    "model.tiny.intermediate=64",
)


def command(data: Path, outputs: Path, *overrides: str) -> list[str]:
    return [sys.executable, "-m", "scripts.train", f"data={data}", f"outputs={outputs}", *SETTINGS, *overrides]


def train(data: Path, outputs: Path, *overrides: str) -> Path:
    """Train to the end; returns the run's directory."""
    done = subprocess.run(command(data, outputs, *overrides), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return (outputs / "train" / "latest").resolve()


def metrics(run: Path, name: str) -> dict[int, float]:
    lines = [json.loads(line) for line in (run / METRICS).read_text().splitlines()]
    return {line["step"]: line[name] for line in lines if name in line}


@pytest.fixture(scope="module")
def zero3(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted run of two processes under ZeRO-3."""
    return train(data, tmp_path_factory.mktemp("zero3"))


def test_two_zero3_processes_give_the_losses_of_one_plain_process(zero3: Path, data: Path, tmp_path: Path) -> None:
    plain = train(data, tmp_path, "processes=1", "deepspeed=none")
    for name in ("loss", "eval_loss"):
        expected, actual = metrics(plain, name), metrics(zero3, name)
        assert list(expected) == list(actual)
        # fp32; only the order of summation differs, and training amplifies that from step to step.
        assert actual == pytest.approx(expected, rel=1e-4)
    assert len(metrics(zero3, "loss")) == STEPS


def token_mean(model: Any, run: Path, dialogues: list[Dialogue]) -> float:
    """The loss over dialogues, one user turn at a time, from complete logits: without trees and without the trainer."""
    tokenizer = AutoTokenizer.from_pretrained(run / UNTRAINED)
    total, count = 0.0, 0
    for sample in (sample for dialogue in dialogues for sample in render(dialogue, tokenizer, 1 << 20).samples):
        ids = torch.tensor([sample.input_ids])
        with torch.no_grad():
            probabilities = model(ids).logits.log_softmax(-1)
        for position in sample.trained:
            total -= probabilities[0, position - 1, ids[0, position]].item()
            count += 1
    return total / count


def test_losses_are_means_over_trained_tokens_and_the_best_model_is_kept(zero3: Path, data: Path) -> None:
    chosen = set(load_samples(zero3 / SAMPLES)["validation"]["dialogue_id"])
    dialogues = read_jsonl(data / "user_oriented_exec" / "dialogues.jsonl", Dialogue)
    validation = [d for d in dialogues if d.dialogue_id in chosen]
    measured = metrics(zero3, "eval_loss")
    best = min(measured, key=lambda step: measured[step])
    untrained = AutoModelForCausalLM.from_pretrained(zero3 / UNTRAINED)
    trained = AutoModelForCausalLM.from_pretrained(zero3 / CHECKPOINT)
    assert measured[0] == pytest.approx(token_mean(untrained, zero3, validation), rel=1e-4)
    assert measured[best] == pytest.approx(token_mean(trained, zero3, validation), rel=1e-4)
    assert measured[0] == pytest.approx(math.log(untrained.config.vocab_size), rel=0.1)
    assert measured[best] < measured[0] - 0.5
    # All dialogues have the same source and difficulty, so the group losses equal the overall loss.
    assert metrics(zero3, "eval_loss/source/user_oriented_exec") == pytest.approx(measured, rel=1e-6)
    assert metrics(zero3, "eval_loss/difficulty/easy") == pytest.approx(measured, rel=1e-6)
    results = read_manifest(zero3).results
    unseen = [d for d in validation if d.domain in results["data"]["validation_domains"]]
    assert 0 < len(unseen) == results["data"]["validation_unseen"]
    measured_unseen = metrics(zero3, "eval_loss/databases/unseen")[best]
    assert measured_unseen == pytest.approx(token_mean(trained, zero3, unseen), rel=1e-4)
    assert results["best_step"] == best
    assert results["best_validation_loss"] == pytest.approx(measured[best])


def test_single_turns_give_the_losses_and_gradient_norms_of_trees(data: Path, tmp_path: Path) -> None:
    """All data in every step, so that both runs take the same steps: through the complete trainer, in fp32; the trees
    with checkpointed layers that keep their attention."""
    full_batch = ("max_steps=4", "batch_size=64", "row_tokens=2048", "processes=1", "deepspeed=none")
    checkpointed = ("gradient_checkpointing=true", "keep_attention=true")
    ways = (("share_prefixes=true", *checkpointed), ("share_prefixes=false",))
    runs = [train(data, tmp_path, *full_batch, *way) for way in ways]
    for name in ("loss", "eval_loss", "grad_norm"):
        trees, turns = (metrics(run, name) for run in runs)
        assert trees == pytest.approx(turns, rel=1e-4)
    assert read_manifest(runs[0]).results["tokens"] < 0.8 * read_manifest(runs[1]).results["tokens"]


def test_the_checkpoint_has_the_chat_format(zero3: Path) -> None:
    for name in (UNTRAINED, CHECKPOINT):
        tokenizer = AutoTokenizer.from_pretrained(zero3 / name)
        prompt = tokenizer.apply_chat_template([{"role": "user", "content": "Hi"}], tokenize=False)
        assert prompt == "<|im_start|>user\nHi<|im_end|>\n"
        assert json.loads((zero3 / name / "generation_config.json").read_text())["eos_token_id"]


def test_a_published_model_keeps_generation_defaults_that_contradict_themselves(
    tiny: TinySettings, data: Path, tmp_path: Path
) -> None:
    model = tmp_path / "model"
    prepare_base(
        ModelSettings(tiny=tiny), read_jsonl(data / "user_oriented_exec" / "dialogues.jsonl", Dialogue), 0, model
    )
    given = {"do_sample": False, "temperature": 0.2, "top_p": 0.5, "eos_token_id": [5, 6]}
    (model / "generation_config.json").write_text(json.dumps(given))
    quick = ("max_steps=2", "evaluations=2", "processes=1", "deepspeed=none")
    run = train(data, tmp_path / "outputs", *quick, f"model.path={model}", "model.tiny=null")
    assert json.loads((run / CHECKPOINT / "generation_config.json").read_text()) == given


def test_kill_9_then_the_same_command_gives_the_losses_of_an_uninterrupted_run(
    zero3: Path, data: Path, tmp_path: Path
) -> None:
    outputs = tmp_path / "outputs"
    first = subprocess.Popen(command(data, outputs), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 240
    runs: list[Path] = []
    while not runs or newest_checkpoint(runs[0]) is None:
        assert first.poll() is None, "the training ended before it was killed"
        assert time.monotonic() < deadline, "no checkpoint was written"
        runs = list((outputs / "train").glob("2*"))
        time.sleep(0.02)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    saved = newest_checkpoint(runs[0])
    samples = (runs[0] / SAMPLES).resolve()
    assert read_manifest(runs[0]).status == "running"

    assert train(data, outputs) == runs[0]
    assert saved is not None
    assert read_manifest(runs[0]).status == "finished"
    assert (runs[0] / SAMPLES).resolve() == samples
    for name in ("loss", "eval_loss"):
        assert metrics(runs[0], name) == pytest.approx(metrics(zero3, name), rel=1e-4)
    lines = [json.loads(line) for line in (runs[0] / METRICS).read_text().splitlines()]
    reported = [(line["step"], "eval_loss" in line) for line in lines]
    assert reported == sorted(set(reported)), "no step is reported twice"
