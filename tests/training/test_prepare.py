"""The prepared samples on disk, and clear errors for bad input."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import hydra
import pytest
import torch
from omegaconf import DictConfig
from transformers import AutoTokenizer

from core.dialogue import Dialogue
from core.journal import read_jsonl, write_jsonl
from core.messages import SystemMessage
from core.settings import UserError, typed
from scripts.launch import CONF
from scripts.train import main
from tests.training.helpers.dialogues import dialogue
from training.dataset import Rows, load_samples, tree_of
from training.mixture import find_data
from training.prepare import prepare
from training.render import render
from training.run_layout import CACHE, SAMPLES, UNTRAINED
from training.sampler import PartialRow
from training.settings import TrainSettings
from training.token_tree import merge


def compose(*overrides: str, mixture: str = "exec_only") -> DictConfig:
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        return hydra.compose(
            "train", ["profile=tiny", f"mixture={mixture}", "tracking.mode=disabled", "data_workers=1", *overrides]
        )


INPUTS = {"user_oriented_exec/dialogues.jsonl": "its hash"}


def prepare_in(folder: Path, data: Path, *overrides: str, inputs: dict[str, str] = INPUTS) -> TrainSettings:
    folder.mkdir()
    settings = typed(compose(f"outputs={folder.parent}", "model.tiny.hidden=32", *overrides), TrainSettings)
    prepare(folder, settings, find_data(data), inputs)
    return settings


@pytest.mark.parametrize("workers", [1, 2])
def test_trees_are_the_merged_renderings_of_the_chosen_dialogues(data: Path, tmp_path: Path, workers: int) -> None:
    settings = prepare_in(run := tmp_path / "run", data, f"data_workers={workers}")
    tokenizer = AutoTokenizer.from_pretrained(run / UNTRAINED)
    samples = load_samples(run / SAMPLES)
    dialogues = {d.dialogue_id: d for d in read_jsonl(data / "user_oriented_exec" / "dialogues.jsonl", Dialogue)}
    rendered = {name: render(d, tokenizer, 1 << 20).samples for name, d in dialogues.items()}
    for split in ("train", "validation"):
        for row in samples[split]:
            tree, expected = tree_of(row), merge(rendered[row["dialogue_id"]])
            assert tree.input_ids.tolist() == expected.input_ids.tolist()
            assert (tree.starts == expected.starts).all()
            assert (tree.parents == expected.parents).all()
            assert (tree.trained == expected.trained).all()
            assert row["pairs"] == expected.pairs()
            assert (row["source"], row["difficulty"], row["samples"]) == ("user_oriented_exec", "easy", 2)
    again = prepare(run, settings, find_data(data), INPUTS)
    chosen = samples["train"]["dialogue_id"]
    assert again.untrained == f"random, seed {settings.seed}"
    assert (again.dialogues, again.validation_dialogues, again.trees) == (8, 4, 8)
    assert again.samples == 16
    assert again.sample_tokens == sum(len(s.input_ids) for name in chosen for s in rendered[name])
    assert again.trained_tokens == sum(len(s.trained) for name in chosen for s in rendered[name])


def test_rows_have_every_tree_once_within_the_capacity(data: Path, tmp_path: Path) -> None:
    prepare_in(run := tmp_path / "run", data)
    split = load_samples(run / SAMPLES)["train"]
    capacity = 2 * max(split["size"])
    rows = Rows(split, capacity)
    members = [tree for row in range(len(rows)) for tree in rows[row]]
    assert sorted(tree.input_ids.tolist() for tree in members) == sorted(split["input_ids"])
    assert max(sum(tree.size for tree in rows[row]) for row in range(len(rows))) <= capacity
    assert rows.sums("size") == [sum(tree.size for tree in rows[row]) for row in range(len(rows))]
    assert rows.sums("targets") == [sum(len(tree.trained) for tree in rows[row]) for row in range(len(rows))]
    assert [len(tree.trained) for tree in rows[None]] == [0]


def test_a_part_of_a_row_learns_its_first_tokens_and_reads_all(data: Path, tmp_path: Path) -> None:
    prepare_in(run := tmp_path / "run", data)
    split = load_samples(run / SAMPLES)["train"]
    rows = Rows(split, sum(split["size"]))
    whole = rows[0]
    assert len(whole) > 1
    first = len(whole[0].trained)
    for targets in (1, first, first + 1, sum(len(tree.trained) for tree in whole)):
        part = rows[PartialRow(0, targets)]
        assert sum(len(tree.trained) for tree in part) == targets
        for tree, complete in zip(part, whole, strict=True):
            assert (tree.input_ids == complete.input_ids).all()
            assert (tree.trained == complete.trained[: len(tree.trained)]).all()
        assert len(part[0].trained) == min(first, targets)


def test_without_sharing_every_user_turn_is_a_tree(data: Path, tmp_path: Path) -> None:
    prepare_in(run := tmp_path / "run", data, "share_prefixes=false")
    split = load_samples(run / SAMPLES)["train"]
    assert len(split) == 16
    assert sum(split["size"]) == sum(split["sample_tokens"])


def test_the_same_data_are_tokenised_once(data: Path, tmp_path: Path) -> None:
    """Runs share the cached samples unless a setting changes the samples."""
    runs = [tmp_path / name for name in "abcdef"]
    prepare_in(runs[0], data)
    prepare_in(runs[1], data, "optimizer.learning_rate=1", "batch_size=8")
    prepare_in(runs[2], data, "max_tokens=1000")
    prepare_in(runs[3], data, "history_reasoning=keep_all")
    prepare_in(runs[4], data, inputs={"user_oriented_exec/dialogues.jsonl": "another hash"})
    prepare_in(runs[5], data, "+model.chat_template_kwargs.enable_thinking=false")
    directories = [(run / SAMPLES).resolve() for run in runs]
    assert directories[0] == directories[1]
    assert len(set(directories)) == 5
    assert sorted(directory.name for directory in set(directories)) == sorted(
        p.name for p in (tmp_path / CACHE).iterdir()
    )


def test_samples_are_made_again_where_the_cache_is_gone(data: Path, tmp_path: Path) -> None:
    settings = prepare_in(run := tmp_path / "run", data)
    before = load_samples(run / SAMPLES)
    weights = (run / UNTRAINED / "model.safetensors").stat()
    shutil.rmtree(tmp_path / CACHE)
    prepare(run, settings, find_data(data), INPUTS)
    after = load_samples(run / SAMPLES)
    assert all(after[split][:] == before[split][:] for split in before)
    assert (run / UNTRAINED / "model.safetensors").stat() == weights, "the model stays"


def test_a_run_survives_moving_its_outputs(data: Path, tmp_path: Path) -> None:
    """Links to models and samples below outputs/ are relative, those to models elsewhere are not."""
    outputs, elsewhere = tmp_path / "outputs", tmp_path / "elsewhere"
    prepare_in(outputs.with_name("first"), data)
    base = tmp_path / "first" / UNTRAINED
    shutil.copytree(base, elsewhere)
    (outputs / "train").mkdir(parents=True)
    shutil.copytree(base, outputs / "train" / "base")
    models = {"inside": outputs / "train" / "base", "outside": elsewhere}
    for name, model in models.items():
        path = [f"outputs={outputs}", f"model.path={model}", "model.tiny=null"]
        prepare_in(outputs / "train" / name, data, *path)
    moved = outputs.rename(tmp_path / "moved")
    for name in models:
        assert load_samples(moved / "train" / name / SAMPLES)["train"]
        assert AutoTokenizer.from_pretrained(moved / "train" / name / UNTRAINED)


def model_with(setting: dict[str, Any], data: Path, tmp_path: Path) -> tuple[str, ...]:
    """The overrides that take a prepared model whose configuration has this setting."""
    prepare_in(tmp_path / "first", data)
    base = tmp_path / "first" / UNTRAINED
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps(config | setting))
    return f"model.path={base}", "model.tiny=null"


def test_a_model_that_could_not_be_saved_is_refused_before_training(data: Path, tmp_path: Path) -> None:
    model = model_with({"num_attention_heads": "two"}, data, tmp_path)
    with pytest.raises(UserError, match=r"could not be saved after training: .*num_attention_heads"):
        prepare_in(tmp_path / "second", data, *model)


def test_a_model_with_another_activation_is_refused_before_tokenising(data: Path, tmp_path: Path) -> None:
    model = model_with({"hidden_act": "gelu"}, data, tmp_path)
    with pytest.raises(UserError, match=r"fused_kernels=compile supports MLPs with hidden_act=silu, and .* has gelu"):
        prepare_in(tmp_path / "second", data, *model, "fused_kernels=compile")
    assert not (tmp_path / "second" / SAMPLES).exists()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["optimizer.learning_rate=-1"], r"'optimizer\.learning_rate': Input should be greater than 0 \(given: -1\)"),
        (["model.path=x"], "exactly one of them"),
        (["max_tokens=64"], "max_tokens=64 is shorter than every train sample"),
        (["+model.chat_template_kwargs.tools=[]"], "tools cannot be set"),
        (["row_tokens=100"], "row_tokens=100 must be at least max_tokens=2048"),
        (["activation_offload=true"], "needs gradient_checkpointing=true"),
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
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU"),
        ),
        pytest.param(
            ["processes=null"],
            "or processes=2",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU"),
        ),
    ],
)
def test_mistakes_are_reported_before_training_starts(
    data: Path, tmp_path: Path, overrides: list[str], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        main(compose(f"outputs={tmp_path}", f"data={data}", *overrides))
    assert not (tmp_path / "train" / "latest").exists()


def test_a_pipeline_that_was_not_generated_is_named(data: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="wants task_oriented, but the data has user_oriented_exec"):
        main(compose(f"outputs={tmp_path}", f"data={data}", mixture="task_oriented"))


def test_a_corrupt_line_is_named(data: Path, tmp_path: Path) -> None:
    """The header is valid, so only tokenising finds the error; with a published model, in a worker process."""
    folder = tmp_path / "generation"
    shutil.copytree(data, folder)
    (file,) = find_data(folder)
    lines = file.read_text().splitlines()
    lines[7] = lines[7].replace('"role":"assistant"', '"role":"robot"', 1)
    file.write_text("\n".join(lines) + "\n")
    with pytest.raises(UserError, match="line 8: not a Dialogue"):
        main(compose(f"outputs={tmp_path}", f"data={folder}"))
    prepare_in(tmp_path / "run", data)
    shutil.copytree(tmp_path / "run" / UNTRAINED, tmp_path / "published")
    with pytest.raises(UserError, match="line 8: not a Dialogue"):
        main(compose(f"outputs={tmp_path}", f"data={folder}", f"model.path={tmp_path}/published", "model.tiny=null"))


@pytest.mark.parametrize("workers", [1, 2])
def test_a_dialogue_that_the_chat_template_refuses_is_named(data: Path, tmp_path: Path, workers: int) -> None:
    """Also if another process comes to it late."""
    prepare_in(tmp_path / "run", data)
    model = tmp_path / "published"
    shutil.copytree(tmp_path / "run" / UNTRAINED, model)
    template = model / "chat_template.jinja"
    refusal = "{{ raise_exception('System role not supported') if 'Be brief' in messages[0].content }}"
    template.write_text(refusal + template.read_text())
    (file,) = find_data(data)
    dialogues = list(read_jsonl(file, Dialogue))
    brief = (SystemMessage(content="Be brief."), *dialogues[-1].messages[1:])
    write_jsonl(own := tmp_path / "own.jsonl", [*dialogues[:-1], dialogues[-1].model_copy(update={"messages": brief})])
    with pytest.raises(UserError, match=f"^the chat template of {model} refuses .*-11: System role not supported$"):
        prepare_in(tmp_path / "other", own, f"model.path={model}", "model.tiny=null", f"data_workers={workers}")


def test_the_helper_builds_valid_dialogues() -> None:
    for number in range(20):
        dialogue(number, turns=4).check()
