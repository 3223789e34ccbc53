"""Plans against counts by hand, a real model's tensors, and real trees; and that the paper's experiments are the paper's."""

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
from training.machine import lacking
from training.memory import Recipe, memory
from training.model_shape import ModelShape
from training.nodes import Nodes
from training.plan import plan, shape_of, tree_figures
from training.render import render
from training.settings import ModelSettings, TrainSettings
from training.token_tree import trees

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
        return hydra.compose("train", list(overrides))


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
def test_the_paper_s_experiments_are_appendix_e(experiment: str, model: str, billions: float) -> None:
    made = settings(f"experiment={experiment}")
    assert made.model.path == model
    shape = shape_of(made.model)
    assert round(shape.parameters / 1e9, 2) == billions
    with torch.device("meta"):
        assert built(shape).num_parameters() == shape.parameters
    assert made.deepspeed["zero_optimization"]["stage"] == 3
    assert made.deepspeed["bf16"] == {"enabled": "auto"}
    assert made.attention == "flash_attention_2"
    assert made.optimizer.learning_rate == 1e-6
    assert (made.max_tokens, made.epochs, made.max_steps) == (32768, 5, None)
    assert made.evaluations > made.epochs
    assert set(made.mixture.weights.values()) == {1.0}
    # Whatever an experiment says, the command line has the last word.
    assert settings(f"experiment={experiment}", "epochs=1", "deepspeed=zero3_offload").epochs == 1


def test_3b_of_30b_work_on_a_token() -> None:
    shape = shape_of(settings("model=qwen3_30b_a3b").model)
    assert 3.2e9 < shape.active_parameters < 3.4e9


def test_memory_of_qwen3_4b_by_hand() -> None:
    shape = shape_of(settings("model=qwen3_4b").model)
    values = PLAIN | {"devices": 8, "row_tokens": 32768, "bf16": True, "checkpointing": True}
    buckets = {"overlap_comm": True, "reduce_bucket_size": 5 * 10**7, "stage3_prefetch_bucket_size": 5 * 10**7}
    zero3 = {"zero_optimization": {"stage": 3, **buckets}}
    found = memory(shape, Recipe.of(zero3, **values))
    parameters = 4_022_468_096
    assert found.parameters == found.gradients == parameters * 2 / 8
    assert found.optimizer == parameters * 12 / 8
    embedding = 151936 * 2560
    assert found.gathered == (2 * embedding + 3 * 5 * 10**7) * 2
    assert found.logits == 3 * 4 * 2**27
    inputs = 36 * 32768 * 2560 * 2
    # Of one layer, in elements a token: two norms, q and k twice and v, attention's output, both residuals, the MLP's four.
    saved = 6 * 2560 + 2 * (4096 + 1024) + 1024 + 4096 + 2 * 2560 + 4 * 9728
    assert found.activations == inputs + 1.5 * 32768 * saved * 2
    assert found.host == 0

    offloading = {"zero_optimization": {**zero3["zero_optimization"], "offload_optimizer": {"device": "cpu"}}}
    away = memory(shape, Recipe.of(offloading, **values | {"offloads_activations": True}))
    assert away.optimizer == 0
    assert away.host == parameters * 16 / 8 + inputs
    assert away.activations == 2 * inputs / 36 + 1.5 * 32768 * saved * 2
    assert (away.parameters, away.gradients) == (found.parameters, found.gradients)


def test_states_are_those_of_a_real_step() -> None:
    model = built(SMALL)
    optimizer = torch.optim.AdamW(model.parameters())
    model(input_ids=torch.zeros(1, 8, dtype=torch.long)).logits.sum().backward()
    optimizer.step()
    found = memory(SMALL, Recipe.of({}, **PLAIN))
    assert found.parameters == sum(p.nbytes for p in model.parameters())
    assert found.gradients == sum(p.grad.nbytes for p in model.parameters() if p.grad is not None)
    states = [value for state in optimizer.state.values() for key, value in state.items() if key != "step"]
    assert found.optimizer == sum(value.nbytes for value in states)


@pytest.mark.parametrize(
    "shape",
    [SMALL, SMALL.model_copy(update={"experts": 8, "experts_per_token": 2, "expert_intermediate": 64})],
    ids=["dense", "moe"],
)
def test_activations_are_about_those_autograd_saves(shape: ModelShape) -> None:
    model = built(shape, attn_implementation="sdpa")
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept: list[torch.Tensor] = []
    saved: dict[int, int] = {}

    def save(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor)
        saved[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(save, lambda tensor: tensor):
        output = model.model(input_ids=torch.arange(256)[None], use_cache=False).last_hidden_state
    real = sum(size for address, size in saved.items() if address not in weights)
    planned = memory(shape, Recipe.of({}, **PLAIN)).activations
    assert output.requires_grad
    assert planned == pytest.approx(real, rel=0.25)


def test_time_by_hand() -> None:
    made = settings(
        "experiment=paper_4b",
        *("assume.dialogues=970", "assume.tokens=10000", "assume.keys=4000", "assume.trained=0.5", "assume.fill=1"),
        *("batch_size=32", "hardware.devices=4", "hardware.tflops=100", "epochs=2"),
    )
    found = plan(made, files=(), missing=("all of it",))
    # 9.7M tokens in rows of 32,768 are 296.02 rows, ten steps of 32.
    assert (found.rows, found.steps_per_epoch, found.steps, found.measured) == (297, 10, 20, False)
    layers = 36 * (2 * 2560 * 128 * (32 + 8) + 3 * 2560 * 9728)
    each = 2 * (layers * 10_000 + 36 * 2 * 32 * 128 * 10_000 * 4000 + 2560 * 151936 * 5000)
    assert found.flops_per_epoch == 3 * 970 * each
    assert found.hours_per_epoch == pytest.approx(3 * 970 * each / 4e14 / 3600)
    assert found.hours == pytest.approx(2 * found.hours_per_epoch)
    assert found.missing == ("all of it",)
    assert not found.short_of
    (short,) = plan(
        made.model_copy(update={"hardware": made.hardware.model_copy(update={"memory_gb": 9})}), (), ()
    ).short_of
    assert short.endswith("GB of device memory are needed for each device, there are 9")


@pytest.mark.parametrize("turns", [1, 3, 6])
def test_trees_measured_in_characters_are_the_rendered_ones(turns: int, tokenizer: PreTrainedTokenizerFast) -> None:
    # Long texts, beside which the template's own words are few.
    made = dialogue(7, turns=turns)
    texts = ("content", "reasoning_content")
    long = [
        message.model_copy(update={name: 40 * text for name in texts if (text := getattr(message, name, None))})
        for message in made.messages
    ]
    made = made.model_copy(update={"messages": tuple(long)})
    (tree,) = trees(render(made, tokenizer, max_tokens=10**6).samples, 10**6)
    found = tree_figures(made, characters_per_token=1)
    assert found.tokens == pytest.approx(len(tokenizer.decode(tree.input_ids)), rel=0.12)
    assert found.trained == pytest.approx(len(tokenizer.decode(tree.input_ids[tree.trained])), rel=0.12)
    quarter = tree_figures(made, characters_per_token=4)
    assert (quarter.tokens, quarter.pairs) == (found.tokens / 4, found.pairs / 16)


def test_pairs_of_a_tree_by_hand() -> None:
    # 10 of system, then twice 4 asked, and 3 thought before 2 answered.
    answer = AssistantMessage(reasoning_content="rrr", content="aa")
    messages = (SystemMessage(content="s" * 10), *(UserMessage(content="uuuu"), answer) * 2)
    made = dialogue(0).model_copy(update={"messages": messages, "tools": ()})
    trunk, branches = 10 + 4 + 2 + 4, [(14, 5), (20, 5)]
    found = tree_figures(made, characters_per_token=1)
    assert (found.tokens, found.trained) == (trunk + 10, 10)
    # A character sees those before it; half of itself, where the sum is an integral.
    assert found.pairs == trunk**2 / 2 + sum(length * start + length**2 / 2 for start, length in branches)


def test_a_model_without_known_dimensions(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"model.shape must say"):
        shape_of(ModelSettings(path="some/model"))
    config = {"vocab_size": 10, "hidden_size": 2, "num_hidden_layers": 1, "num_attention_heads": 1}
    config |= {"num_key_value_heads": 1, "head_dim": 2, "intermediate_size": 4, "tie_word_embeddings": True}
    (tmp_path / "config.json").write_text(json.dumps(config))
    # The weights that are to be trained are described by what lies beside them, not by what conf/ says of the published ones.
    published = settings("model=qwen3_4b", f"model.path={tmp_path}").model
    assert shape_of(published).hidden == 2


def test_plan_says_what_would_be_done_and_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(composed("experiment=paper_4b", "plan=true", f"outputs={tmp_path}"))
    shown = capsys.readouterr().out
    for text in (
        "4,022,468,096 parameters",
        "ZeRO-3, flash_attention_2",
        "(assumed)",
        "missing: no finished generate run",
    ):
        assert text in shown
    written = json.loads((tmp_path / "plan" / "train.json").read_text())
    assert written["parameters"] == 4_022_468_096
    assert not (tmp_path / "train").exists()

    write_jsonl(tmp_path / "dialogues.jsonl", [dialogue(number, turns=2) for number in range(40)])
    overrides = ("mixture=exec_only", "mixture.validation_domains=0", f"data={tmp_path / 'dialogues.jsonl'}")
    main(composed("plan=true", f"outputs={tmp_path}", *overrides))
    shown = capsys.readouterr().out
    assert "38 dialogues, trees of" in shown
    assert "missing:" not in shown


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what a machine without GPUs lacks")
def test_without_gpus_the_paper_s_training_says_all_it_lacks(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"cannot train as asked.*\n- processes=null.*\n- attention=flash_attention_2"
    ) as error:
        main(composed("experiment=paper_30b", f"outputs={tmp_path}"))
    assert "plan=true" in str(error.value)
    assert lacking(settings("processes=3", "batch_size=4"), Nodes()) == (
        "batch_size=4 is not a multiple of the 3 processes",
    )
    assert lacking(settings(), Nodes()) == ()
