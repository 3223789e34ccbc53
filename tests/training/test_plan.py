"""Plans against counts by hand and real trees; the paper's experiments against the paper."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from core.journal import write_jsonl
from core.messages import AssistantMessage, SystemMessage, UserMessage
from core.settings import UserError
from scripts.train import main
from tests.training.helpers.dialogues import dialogue
from tests.training.helpers.planned_trainings import built, composed, settings
from training.machine import missing_requirements
from training.nodes import Nodes
from training.plan import Plan, plan, shape_of, tree_counts
from training.render import render
from training.settings import ModelSettings
from training.token_tree import build_trees


@pytest.mark.parametrize(
    ("experiment", "model", "billions"),
    [
        ("paper_4b", "Qwen/Qwen3-4B-Thinking-2507", 4.02),
        ("paper_30b", "Qwen/Qwen3-30B-A3B-Thinking-2507", 30.53),
    ],
)
def test_the_paper_s_experiments_follow_appendix_e(experiment: str, model: str, billions: float) -> None:
    configured = settings(f"experiment={experiment}")
    assert configured.model.path == model
    shape = shape_of(configured.model)
    assert round(shape.parameters / 1e9, 2) == billions
    with torch.device("meta"):
        assert built(shape).num_parameters() == shape.parameters
    assert configured.deepspeed["zero_optimization"]["stage"] == 3
    assert configured.deepspeed["bf16"] == {"enabled": "auto"}
    assert configured.attention == "auto"
    assert configured.optimizer.learning_rate == 1e-6
    assert (configured.max_tokens, configured.epochs, configured.max_steps) == (32768, 5, None)
    assert configured.evaluations > configured.epochs
    assert set(configured.mixture.weights.values()) == {1.0}
    # The command line overrides the experiment.
    assert settings(f"experiment={experiment}", "epochs=1", "deepspeed=zero3_offload").epochs == 1


def test_3b_of_30b_parameters_are_active() -> None:
    shape = shape_of(settings("model=qwen3_30b_a3b").model)
    assert 3.2e9 < shape.active_parameters < 3.4e9


def test_time_by_hand() -> None:
    configured = settings(
        "experiment=paper_4b",
        *(
            "assume.dialogues=970",
            "assume.tokens=10000",
            "assume.keys_per_token=4000",
            "assume.trained_share=0.5",
            "assume.fill=1",
        ),
        *("batch_size=32", "hardware.devices=4", "hardware.tflops=100", "epochs=2"),
    )
    planned = plan(configured, files=(), missing=("all of it",))
    # 9.7M tokens in rows of 32,768 are 296.02 rows, ten steps of 32.
    assert (planned.rows, planned.steps_per_epoch, planned.steps, planned.measured) == (297, 10, 20, False)
    layers = 36 * (2 * 2560 * 128 * (32 + 8) + 3 * 2560 * 9728)
    tree_flops = 2 * (layers * 10_000 + 36 * 2 * 32 * 128 * 10_000 * 4000 + 2560 * 151936 * 5000)
    assert planned.flops_per_epoch == 3 * 970 * tree_flops
    assert planned.hours_per_epoch == pytest.approx(3 * 970 * tree_flops / 4e14 / 3600)
    assert planned.hours == pytest.approx(2 * planned.hours_per_epoch)
    assert planned.missing == ("all of it",)
    assert not planned.shortages
    (short,) = plan(
        configured.model_copy(update={"hardware": configured.hardware.model_copy(update={"memory_gb": 9})}), (), ()
    ).shortages
    assert short.endswith("GB of device memory and has 9")


def test_what_does_not_fit_is_said_with_what_would() -> None:
    planned = plan(settings("experiment=paper_30b", "hardware.devices=8"), (), ())
    parameters = 30_532_122_624
    assert planned.loading_bytes == 2 * parameters  # each process reads the bf16 weights
    # Three checkpoints of bf16 weights, fp32 weights and two moments; and the bf16 model.
    assert planned.disk_bytes == (3 * 14 + 2) * parameters
    (short,) = planned.shortages
    assert short.endswith("GB of device memory and has 80")
    assert planned.alternatives[:2] == ("hardware.devices=16", "deepspeed=zero3_offload")
    for alternative in planned.alternatives:
        again = settings("experiment=paper_30b", "hardware.devices=8", *alternative.split())
        assert not plan(again, (), ()).shortages
    assert plan(settings("experiment=paper_30b"), (), ()).alternatives == ()


def test_kept_attention_takes_memory_and_flex_gathers_no_keys() -> None:
    def planned(*overrides: str) -> Plan:
        return plan(settings("experiment=paper_4b", *overrides), (), ())

    plain, kept, flex = (planned(*words) for words in ((), ("keep_attention=true",), ("attention=flex",)))
    # 36 layers, 32 heads of 128 in bf16 and a log-sum-exp in fp32.
    more = 36 * 32768 * 32 * (128 * 2 + 4)
    assert kept.memory.device - plain.memory.device == more
    between = f"hardware.memory_gb={(plain.memory.device + more / 2) / 1e9}"
    assert "keep_attention=false" in planned("keep_attention=true", between).alternatives
    assert planned(between).shortages == ()
    assumed = planned("assume.path_keys=1").memory.device
    assert flex.memory.device < assumed < plain.memory.device
    little = settings("experiment=paper_30b", "hardware.host_memory_gb=60")
    assert plan(little, (), ()).shortages == ("each device needs 61 GB of host memory and has 60",)


@pytest.mark.parametrize("turns", [1, 3, 6])
def test_trees_measured_in_characters_are_the_rendered_ones(turns: int, tokenizer: PreTrainedTokenizerFast) -> None:
    # Long texts, compared with which the template's own text is short.
    source = dialogue(7, turns=turns)
    texts = ("content", "reasoning_content")
    long = [
        message.model_copy(update={name: 40 * text for name in texts if (text := getattr(message, name, None))})
        for message in source.messages
    ]
    source = source.model_copy(update={"messages": tuple(long)})
    (tree,) = build_trees(render(source, tokenizer, max_tokens=10**6).samples, 10**6)
    counts = tree_counts(source, characters_per_token=1)
    assert counts.tokens == pytest.approx(len(tokenizer.decode(tree.input_ids)), rel=0.12)
    assert counts.trained == pytest.approx(len(tokenizer.decode(tree.input_ids[tree.trained])), rel=0.12)
    paths = sum(len(tokenizer.decode(tree.input_ids[path])) for path in tree.paths())
    assert counts.path_keys == pytest.approx(paths, rel=0.12)
    quarter = tree_counts(source, characters_per_token=4)
    assert (quarter.tokens, quarter.pairs, quarter.path_keys) == (
        counts.tokens / 4,
        counts.pairs / 16,
        counts.path_keys / 4,
    )


def test_pairs_of_a_tree_by_hand() -> None:
    # 10 characters of system message, then twice a question of 4, reasoning of 3 and an answer of 2.
    answer = AssistantMessage(reasoning_content="rrr", content="aa")
    messages = (SystemMessage(content="s" * 10), *(UserMessage(content="uuuu"), answer) * 2)
    source = dialogue(0).model_copy(update={"messages": messages, "tools": ()})
    trunk, branches = 10 + 4 + 2 + 4, [(14, 5), (20, 5)]
    counts = tree_counts(source, characters_per_token=1)
    assert (counts.tokens, counts.trained) == (trunk + 10, 10)
    # A character sees those before it, and half of itself: the estimate is an integral instead of a sum.
    assert counts.pairs == trunk**2 / 2 + sum(length * start + length**2 / 2 for start, length in branches)


def test_dimensions_come_from_the_model_directory_or_must_be_given(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"model.shape must give"):
        shape_of(ModelSettings(path="some/model"))
    config = {"vocab_size": 10, "hidden_size": 2, "num_hidden_layers": 1, "num_attention_heads": 1}
    config |= {"num_key_value_heads": 1, "head_dim": 2, "intermediate_size": 4, "tie_word_embeddings": True}
    (tmp_path / "config.json").write_text(json.dumps(config))
    # A local model is described by its own config.json, not by conf/'s dimensions of the published model.
    published = settings("model=qwen3_4b", f"model.path={tmp_path}").model
    assert shape_of(published).hidden == 2


def test_plan_prints_the_training_and_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(composed("experiment=paper_4b", "plan=true", f"outputs={tmp_path}"))
    printed = capsys.readouterr().out
    for text in (
        "4,022,468,096 parameters",
        "ZeRO-3, attention by the fastest kernel",
        "(assumed)",
        "missing: no finished generate run",
    ):
        assert text in printed
    written = json.loads((tmp_path / "plan" / "train.json").read_text())
    assert written["parameters"] == 4_022_468_096
    assert not (tmp_path / "train").exists()

    write_jsonl(tmp_path / "dialogues.jsonl", [dialogue(number, turns=2) for number in range(40)])
    overrides = ("mixture=exec_only", "mixture.validation_domains=0", f"data={tmp_path / 'dialogues.jsonl'}")
    main(composed("plan=true", f"outputs={tmp_path}", *overrides))
    printed = capsys.readouterr().out
    assert "38 dialogues, trees of" in printed
    assert "missing:" not in printed


def test_the_newest_data_may_lack_what_the_mixture_wants(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "generate" / "20260101-000000-00000000"
    write_jsonl(run / "user_oriented_exec" / "dialogues.jsonl", [dialogue(0, turns=2)])
    (tmp_path / "generate" / "latest").symlink_to(run.name)
    wanted = ("mixture=task_oriented", "plan=true", f"outputs={tmp_path}")
    main(composed(*wanted))
    printed = " ".join(capsys.readouterr().out.split())
    assert "missing: the mixture wants task_oriented, but the data has" in printed
    assert "(assumed)" in printed
    with pytest.raises(UserError, match="the mixture wants task_oriented"):
        main(composed(*wanted, f"data={run}"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without GPUs")
def test_without_gpus_the_paper_s_training_lists_everything_missing(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"cannot run the requested training.*\n- processes=null.*\n- attention=flash_attention_2"
    ) as error:
        main(composed("experiment=paper_30b", "attention=flash_attention_2", f"outputs={tmp_path}"))
    assert "plan=true" in str(error.value)
    assert missing_requirements(settings("processes=3", "batch_size=4"), Nodes()) == (
        "batch_size=4 is not a multiple of the 3 processes",
    )
    assert missing_requirements(settings(), Nodes()) == ()
