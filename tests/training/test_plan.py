"""Plans against counts by hand, a real model's tensors and real trees; the paper's experiments against the paper."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import hydra
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

from core.journal import write_jsonl
from core.messages import AssistantMessage, SystemMessage, UserMessage
from core.settings import UserError, typed
from scripts.launch import CONF
from scripts.train import main
from tests.training.helpers.dialogues import dialogue
from training.attention import KEYS_AT_ONCE
from training.machine import missing_requirements
from training.memory import Recipe, memory
from training.model_shape import ModelShape
from training.nodes import Nodes
from training.plan import plan, shape_of, tree_counts
from training.render import render
from training.settings import ModelSettings, TrainSettings
from training.token_tree import build_trees

SMALL = ModelShape(vocabulary=640, hidden=96, layers=4, heads=6, kv_heads=2, head_dim=16, intermediate=256, tied=True)
PLAIN: dict[str, Any] = {
    "devices": 1,
    "row_tokens": 256,
    "bf16": False,
    "checkpointing": False,
    "offloads_activations": False,
    "path_keys": 0,
}
ZERO3: dict[str, Any] = {"zero_optimization": {"stage": 3}}


def composed(*overrides: str) -> Any:
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        # An experiment chooses the profile itself.
        profile = [] if any(word.startswith(("experiment=", "profile=")) for word in overrides) else ["profile=tiny"]
        return hydra.compose("train", [*profile, *overrides])


def settings(*overrides: str) -> TrainSettings:
    return typed(composed(*overrides), TrainSettings)


def built(shape: ModelShape, **more: Any) -> PreTrainedModel:
    """transformers' own model of these dimensions."""
    values = {
        "vocab_size": shape.vocabulary,
        "hidden_size": shape.hidden,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.head_dim,
        "intermediate_size": shape.intermediate,
        "tie_word_embeddings": shape.tied,
    }
    kind = "qwen3"
    if shape.experts:
        kind = "qwen3_moe"
        values |= {
            "num_experts": shape.experts,
            "num_experts_per_tok": shape.experts_per_token,
            "moe_intermediate_size": shape.expert_intermediate,
        }
    return AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **values), **more)


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


def test_memory_of_qwen3_4b_by_hand() -> None:
    shape = shape_of(settings("model=qwen3_4b").model)
    values = PLAIN | {"devices": 8, "row_tokens": 32768, "bf16": True, "checkpointing": True}
    buckets = {"overlap_comm": True, "reduce_bucket_size": 5 * 10**7, "stage3_prefetch_bucket_size": 5 * 10**7}
    zero3 = {"zero_optimization": {"stage": 3, **buckets}}
    planned = memory(shape, Recipe.of(zero3, **values))
    parameters = 4_022_468_096
    assert planned.parameters == planned.gradients == parameters * 2 / 8
    assert planned.optimizer == parameters * 12 / 8
    embedding = 151936 * 2560
    assert planned.gathered == (2 * embedding + 3 * 5 * 10**7) * 2
    assert planned.logits == 3 * 4 * 2**27
    inputs = 36 * 32768 * 2560 * 2
    # Per layer, in elements per token: two norms, q and k twice and v, attention's output, both residuals, the MLP's
    # four.
    saved = 6 * 2560 + 2 * (4096 + 1024) + 1024 + 4096 + 2 * 2560 + 4 * 9728
    assert planned.activations == inputs + 1.5 * 32768 * saved * 2
    assert planned.host == 0

    offloading = {"zero_optimization": {**zero3["zero_optimization"], "offload_optimizer": {"device": "cpu"}}}
    offloaded = memory(shape, Recipe.of(offloading, **values | {"offloads_activations": True}))
    assert offloaded.optimizer == 0
    assert offloaded.host == parameters * 16 / 8 + inputs
    assert offloaded.activations == 2 * inputs / 36 + 1.5 * 32768 * saved * 2
    assert (offloaded.parameters, offloaded.gradients) == (planned.parameters, planned.gradients)


def test_fp32_gradients_and_weights_of_each_node_by_hand() -> None:
    shape = shape_of(settings("model=qwen3_4b").model)
    values = PLAIN | {"devices": 16, "bf16": True}
    configured = settings("experiment=paper_4b", "deepspeed.zero_optimization.zero_hpz_partition_size=8").deepspeed
    planned = memory(shape, Recipe.of(configured, **values))
    assert planned.gradients == 4_022_468_096 * 4 / 16
    assert planned.parameters == 4_022_468_096 * 2 / 16 + 4_022_468_096 * 2 / 8


def test_gathered_keys_by_hand() -> None:
    """Of Qwen3-4B: 32 query heads and 8 key heads of 128."""
    shape = shape_of(settings("model=qwen3_4b").model)
    values = PLAIN | {"row_tokens": 32768, "bf16": True, "checkpointing": True}

    def gathered(path_keys: float, **changes: Any) -> int:
        planned, without = (memory(shape, Recipe.of({}, **values | changes | {"path_keys": n})) for n in (path_keys, 0))
        return planned.activations - without.activations

    # Keys and values in bf16; their gradients for every query head, then for every key head, and one of both in fp32.
    of_key = 2 * 8 * 128 * 2 + 2 * 32 * 128 * 2 + 2 * 8 * 128 * 2 + 8 * 128 * 4
    assert gathered(6) == 6 * 32768 * of_key
    # 28 keys a token, as a tree of 120 turns has, are gathered in parts.
    assert gathered(28) == KEYS_AT_ONCE * of_key
    assert gathered(28) < 8e9 < 28 * 32768 * of_key
    assert gathered(28, checkpointing=False) == KEYS_AT_ONCE * of_key
    assert gathered(6, checkpointing=False) == 6 * 32768 * (of_key + 35 * 2 * 8 * 128 * 2)


def test_parameters_gradients_and_optimizer_states_match_a_real_step() -> None:
    model = built(SMALL)
    optimizer = torch.optim.AdamW(model.parameters())
    model(input_ids=torch.zeros(1, 8, dtype=torch.long)).logits.sum().backward()
    optimizer.step()
    planned = memory(SMALL, Recipe.of({}, **PLAIN))
    assert planned.parameters == sum(p.nbytes for p in model.parameters())
    assert planned.gradients == sum(p.grad.nbytes for p in model.parameters() if p.grad is not None)
    states = [value for state in optimizer.state.values() for key, value in state.items() if key != "step"]
    assert planned.optimizer == sum(value.nbytes for value in states)


@pytest.mark.parametrize(
    "shape",
    [SMALL, SMALL.model_copy(update={"experts": 8, "experts_per_token": 2, "expert_intermediate": 64})],
    ids=["dense", "moe"],
)
def test_activations_are_close_to_those_autograd_saves(shape: ModelShape) -> None:
    model = built(shape, attn_implementation="sdpa")
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    alive: list[torch.Tensor] = []
    saved: dict[int, int] = {}

    def save(tensor: torch.Tensor) -> torch.Tensor:
        alive.append(tensor)
        saved[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(save, lambda tensor: tensor):
        output = model.model(input_ids=torch.arange(256)[None], use_cache=False).last_hidden_state
    real = sum(size for address, size in saved.items() if address not in weights)
    planned = memory(shape, Recipe.of({}, **PLAIN)).activations
    assert output.requires_grad
    assert planned == pytest.approx(real, rel=0.25)


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
