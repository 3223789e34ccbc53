"""The samples on disk, and the clear errors on the way there."""

from __future__ import annotations

import shutil
from pathlib import Path

import hydra
import pytest
import torch
from made import dialogue
from omegaconf import DictConfig
from transformers import AutoTokenizer

from core.dialogue import Dialogue
from core.records import read_jsonl
from core.settings import UserError, typed
from scripts.launch import CONF
from scripts.train import stage
from training.layout import UNTRAINED
from training.mixture import find_data
from training.prepare import load_samples, prepare
from training.render import render
from training.settings import TrainSettings


def compose(*overrides: str, mixture: str = "exec_only") -> DictConfig:
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        return hydra.compose("train", [f"mixture={mixture}", "tracking.mode=disabled", "data_workers=1", *overrides])


@pytest.mark.parametrize("workers", [1, 2])
def test_samples_are_the_renderings_of_the_chosen_dialogues(data: Path, tmp_path: Path, workers: int) -> None:
    settings = typed(compose(f"data_workers={workers}", "model.tiny.hidden=32"), TrainSettings)
    figures = prepare(tmp_path, settings, find_data(data))
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / UNTRAINED)
    samples = load_samples(tmp_path)
    made = {d.dialogue_id: d for d in read_jsonl(data / "user_oriented_exec" / "dialogues.jsonl", Dialogue)}
    for split in ("train", "validation"):
        rows = {(row["dialogue_id"], row["turn"]): (row["input_ids"], row["trained"]) for row in samples[split]}
        chosen = {name for name, _ in rows}
        expected = [s for name in chosen for s in render(made[name], tokenizer, 1 << 20).samples]
        assert rows == {(s.dialogue_id, s.turn): (s.input_ids, s.trained) for s in expected}
    assert figures.dialogues == 8
    assert figures.validation_dialogues == 4
    assert figures.samples == 16
    assert figures.trained_tokens == sum(map(len, samples["train"]["trained"]))
    assert prepare(tmp_path, settings, find_data(data)) == figures


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["optimizer.learning_rate=-1"], r"'optimizer\.learning_rate': Input should be greater than 0 \(given: -1\)"),
        (["model.path=x"], "exactly one of them"),
        (["max_tokens=64"], "max_tokens=64 is shorter than every train sample"),
        (["data=/nowhere"], "/nowhere was given as data: expected a generation run"),
        (["data=null"], "run `make generate` first"),
        pytest.param(
            ["batch_size=3", "processes=2"],
            "batch_size=3 is not a multiple of the 2 processes",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="the number of GPUs is checked first"),
        ),
        pytest.param(
            ["attention=flash_attention_2"],
            "needs a CUDA GPU",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is there"),
        ),
        pytest.param(
            ["processes=null"],
            "say processes=2",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is there"),
        ),
    ],
)
def test_a_mistake_is_told_before_anything_is_trained(
    data: Path, tmp_path: Path, overrides: list[str], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        stage(compose(f"outputs={tmp_path}", f"data={data}", *overrides))
    assert not (tmp_path / "train" / "latest").exists()


def test_a_pipeline_that_was_not_generated_is_named(data: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="wants task_oriented, but the data holds user_oriented_exec"):
        stage(compose(f"outputs={tmp_path}", f"data={data}", mixture="task_oriented"))


def test_a_corrupt_line_is_named(data: Path, tmp_path: Path) -> None:
    """Its header is fine, so that only tokenising meets what is wrong with it; with a published model, in a worker."""
    folder = tmp_path / "generation"
    shutil.copytree(data, folder)
    (file,) = find_data(folder)
    lines = file.read_text().splitlines()
    lines[7] = lines[7].replace('"role":"assistant"', '"role":"robot"', 1)
    file.write_text("\n".join(lines) + "\n")
    with pytest.raises(UserError, match="line 8: not a Dialogue"):
        stage(compose(f"outputs={tmp_path}", f"data={folder}"))
    settings = typed(compose(), TrainSettings)
    prepare(tmp_path, settings, find_data(data))
    shutil.copytree(tmp_path / UNTRAINED, tmp_path / "published")
    with pytest.raises(UserError, match="line 8: not a Dialogue"):
        stage(compose(f"outputs={tmp_path}", f"data={folder}", f"model.path={tmp_path}/published", "model.tiny=null"))


def test_the_factory_makes_lawful_dialogues() -> None:
    for number in range(20):
        dialogue(number, turns=4).check()
