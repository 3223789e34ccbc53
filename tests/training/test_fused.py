"""Fused norms, rotation and SwiGLU: which functions are replaced, and that they compute the same."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest
import torch
from torch._dynamo.utils import counters
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel, set_seed
from transformers.models.qwen3 import modeling_qwen3

from core.settings import UserError
from scripts.bench.exactness import Gradients, largest_relative_error, tree_gradients
from tests.training.helpers.random_trees import EXPERTS, SIZES, served
from training.attention.choice import implementation
from training.attention.gathered import layout
from training.attention.kept import checkpointing
from training.fused import MODELS, ROTATION, _compiled, check_fused, fuse
from training.render import Sample
from training.token_tree import merge, single_chain


def build(kind: str) -> PreTrainedModel:
    set_seed(0)
    config = AutoConfig.for_model(kind, **SIZES, **(EXPERTS if kind.endswith("moe") else {}))
    model = AutoModelForCausalLM.from_config(config, attn_implementation=implementation("sdpa"))
    # Published norms are not 1, and equal weights would hide a transposed or missing one.
    for name, parameter in model.named_parameters():
        if "norm" in name:
            torch.nn.init.normal_(parameter, mean=1, std=0.2)
    return model.train()


def gradients(model: PreTrainedModel, turns: int = 3) -> tuple[float, Gradients]:
    model.gradient_checkpointing_enable(checkpointing(keep_attention=True))
    row = merge(served(turns))
    return tree_gradients(model, [[row]], len(row.trained))


def check(kind: str) -> None:
    expected, expected_gradients = gradients(build(kind))
    model = fuse(build(kind), "compile")
    try:
        loss, actual = gradients(model)
    finally:
        fuse(model, "none")
    assert loss == pytest.approx(expected, rel=1e-6)
    assert largest_relative_error(actual, expected_gradients) < 1e-5


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiled functions are traced with their gradients, but not translated to C++, which takes a minute."""
    compiler = torch.compile
    monkeypatch.setattr(torch, "compile", lambda *given, **options: compiler(*given, **options, backend="aot_eager"))
    _compiled.cache_clear()
    yield
    _compiled.cache_clear()


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize("kind", MODELS)
def test_compiled_functions_compute_the_same(kind: str) -> None:
    check(kind)


@pytest.mark.slow
def test_translated_functions_compute_the_same() -> None:
    check("qwen3")


@pytest.mark.usefixtures("traced")
def test_rows_of_other_sizes_are_not_compiled_again() -> None:
    model = fuse(build("qwen3"), "compile")
    try:
        gradients(model, turns=2)
        compiled = counters["stats"]["unique_graphs"]
        for turns in (3, 4, 5):
            gradients(model, turns)
        assert counters["stats"]["unique_graphs"] == compiled
    finally:
        fuse(model, "none")


@pytest.fixture
def liger(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A package with Liger's names, whose functions say that they were called."""
    called: list[str] = []

    def function(name: str, compute: Any) -> Any:
        def call(*arguments: Any) -> Any:
            called.append(name)
            return compute(*arguments)

        return call

    def norm(states: torch.Tensor, weight: torch.Tensor, epsilon: float) -> torch.Tensor:
        return torch.nn.functional.rms_norm(states, weight.shape, weight, epsilon)

    ops, rope = ModuleType("liger_kernel.ops"), ModuleType("liger_kernel.transformers.rope")
    ops.LigerRMSNormFunction = type("Norm", (), {"apply": function("norm", norm)})
    ops.LigerSiLUMulFunction = type(
        "Gate", (), {"apply": function("gate", lambda gate, up: torch.nn.functional.silu(gate) * up)}
    )
    rope.liger_rotary_pos_emb = function("rotation", modeling_qwen3.apply_rotary_pos_emb)
    parents = {name: ModuleType(name) for name in ("liger_kernel", "liger_kernel.transformers")}
    for module in (*parents.values(), ops, rope):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return called


@pytest.mark.parametrize(("kind", "gates"), [("llama", 3), ("qwen2", 3), ("qwen3", 3), ("qwen3_moe", 0)])
def test_every_norm_rotation_and_dense_mlp_is_replaced(kind: str, gates: int, liger: list[str]) -> None:
    """Three layers: two norms each and, in Qwen3, one of queries and one of keys; one at the end. Experts stay."""
    expected = build(kind)(input_ids=torch.arange(9)[None], **tree_layout(9)).logits
    model = fuse(build(kind), "liger")
    names = list(model.state_dict())
    try:
        logits = model(input_ids=torch.arange(9)[None], **tree_layout(9)).logits
    finally:
        fuse(model, "none")
    norms = 3 * (4 if kind.startswith("qwen3") else 2) + 1
    assert {name: liger.count(name) for name in ("norm", "rotation", "gate")} == {
        "norm": norms,
        "rotation": 3,
        "gate": gates,
    }
    torch.testing.assert_close(logits, expected)
    assert names == list(build(kind).state_dict())


def tree_layout(tokens: int) -> dict[str, Any]:
    return layout(single_chain(Sample("d", 0, list(range(tokens)), [])))


@pytest.mark.usefixtures("traced")
def test_none_restores_the_rotation() -> None:
    before = getattr(modeling_qwen3, ROTATION)
    model = build("qwen3")
    fuse(fuse(model, "compile"), "compile")
    assert getattr(modeling_qwen3, ROTATION) is not before
    fuse(model, "none")
    assert getattr(modeling_qwen3, ROTATION) is before


def test_a_model_with_other_functions_is_refused() -> None:
    config = AutoConfig.for_model(
        "gemma",
        vocab_size=32,
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        head_dim=8,
    )
    model = AutoModelForCausalLM.from_config(config)
    with pytest.raises(UserError, match=r"models of type llama, qwen2, qwen3, qwen3_moe, and this one is gemma"):
        fuse(model, "compile")
    fuse(model, "none")


def test_liger_needs_a_gpu_and_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    check_fused("none")
    check_fused("compile")
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(UserError, match="fused_kernels=liger needs a CUDA GPU"):
        check_fused("liger")
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setitem(sys.modules, "liger_kernel", None)
    with pytest.raises(UserError, match=r"pip install '\.\[liger\]'"):
        check_fused("liger")


def test_liger_is_accepted_with_both(monkeypatch: pytest.MonkeyPatch, liger: list[str]) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    check_fused("liger")
    assert not liger
