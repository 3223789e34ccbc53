"""The tokenizer and the tiny model built from the data."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

from core.settings import UserError
from tests.training.helpers.dialogues import dialogue
from tests.training.helpers.planned_trainings import settings
from training.attention.choice import check_attention, kernel_for
from training.attention.kernels import KERNELS, Lengths
from training.base_model import prepare_base
from training.chat_format import CONTROL_TOKENS, MARKUP_TOKENS
from training.settings import ModelSettings, TinySettings


@given(text=st.text())
def test_any_text_survives_the_tokenizer(tokenizer: PreTrainedTokenizerFast, text: str) -> None:
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_markup_is_one_token_that_decoding_keeps(tokenizer: PreTrainedTokenizerFast) -> None:
    for token in (*CONTROL_TOKENS, *MARKUP_TOKENS):
        assert len(tokenizer(token)["input_ids"]) == 1
    text = "<think>a</think><tool_call>b</tool_call><|im_end|>"
    assert tokenizer.decode(tokenizer(text)["input_ids"], skip_special_tokens=True) == text.removesuffix("<|im_end|>")


@pytest.mark.parametrize("value", ["Zoë", "4711", "Blue"])
def test_a_value_has_the_same_tokens_in_a_sentence_and_in_json(tokenizer: PreTrainedTokenizerFast, value: str) -> None:
    tokens = tokenizer(value)["input_ids"]
    for text in (f"for {value}, please", f'{{"name": "{value}"}}', f"({value})"):
        ids = tokenizer(text)["input_ids"]
        assert any(ids[i : i + len(tokens)] == tokens for i in range(len(ids)))


def test_the_tiny_model_is_saved_completely_and_deterministically(tmp_path: Path, tiny: TinySettings) -> None:
    corpus = [dialogue(number) for number in range(5)]
    for name in ("a", "b"):
        prepare_base(ModelSettings(tiny=tiny), corpus, seed=3, directory=tmp_path / name)
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "a")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "a")
    assert len(tokenizer) <= model.config.vocab_size == tiny.vocabulary
    assert tokenizer.eos_token == "<|im_end|>"
    assert model.generation_config.eos_token_id == tokenizer.convert_tokens_to_ids(["<|im_end|>", "<|endoftext|>"])
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "b").state_dict()
    assert all(torch.equal(weight, again[name]) for name, weight in model.state_dict().items())


def test_a_published_model_is_linked_not_copied(tmp_path: Path, tiny: TinySettings) -> None:
    prepare_base(ModelSettings(tiny=tiny), [dialogue(1)], seed=0, directory=tmp_path / "model")
    prepare_base(ModelSettings(path=str(tmp_path / "model")), [], seed=0, directory=tmp_path / "untrained")
    assert (tmp_path / "untrained").resolve() == tmp_path / "model"


def test_a_model_that_does_not_exist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match=r"model\.path=no-such-owner/no-such-model is neither a directory"):
        prepare_base(ModelSettings(path="no-such-owner/no-such-model"), [], seed=0, directory=tmp_path / "untrained")


def test_expert_parallelism_is_refused_before_it_costs_a_training() -> None:
    """DeepSpeed could not save the model."""
    with pytest.raises(UserError, match=r"AutoEP.*no checkpoint"):
        settings("experiment=paper_30b", "+deepspeed.expert_parallel={enabled: true, autoep_size: 8}")
    settings("experiment=paper_30b", "+deepspeed.expert_parallel={enabled: false}")


def test_a_model_has_one_source(tiny: TinySettings) -> None:
    for values in ({}, {"path": "x", "tiny": tiny}):
        with pytest.raises(ValueError, match="exactly one"):
            ModelSettings.model_validate(values)


@pytest.mark.parametrize("installed", [True, False])
def test_flash_attention_2_needs_its_package(installed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("training.attention.kernels.HAS_FLASH_ATTN", installed)
    check_attention("torch_varlen")
    with nullcontext() if installed else pytest.raises(UserError, match=r"pip install '\.\[flash\]'"):
        check_attention("flash_attention_2")


@pytest.mark.parametrize(
    ("gpu", "installed", "kernel"),
    [(False, True, "sdpa"), (True, True, "flash_attention_2"), (True, False, "torch_varlen")],
)
def test_auto_is_the_fastest_kernel_that_is_there(
    gpu: bool, installed: bool, kernel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: gpu)
    monkeypatch.setattr("training.attention.kernels.HAS_FLASH_ATTN", installed)
    check_attention("auto")
    assert kernel_for("auto") == kernel
    assert kernel_for("sdpa") == "sdpa"


def test_a_package_without_the_function_is_not_flash_attention_2(tmp_path: Path) -> None:
    """FlashAttention-4 installs a package of the same name."""
    (tmp_path / "flash_attn" / "cute").mkdir(parents=True)
    script = "from training.attention.kernels import HAS_FLASH_ATTN; assert not HAS_FLASH_ATTN"
    path = os.pathsep.join([str(tmp_path), *sys.path])
    subprocess.run([sys.executable, "-c", script], env=os.environ | {"PYTHONPATH": path}, check=True)


def two(query: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """As many results as PyTorch unpacks."""
    return query, query


def five(query: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """As many as newer versions of flash-attn-4 give."""
    return (query,) * 5


@pytest.mark.parametrize(
    ("capability", "module", "refusal"),
    [
        ((9, 0), SimpleNamespace(_flash_attn_fwd=two), None),
        ((10, 0), SimpleNamespace(_flash_attn_fwd=two), None),
        ((8, 0), SimpleNamespace(_flash_attn_fwd=two), "and this one has 8.0: use attention=torch_varlen"),
        ((9, 0), SimpleNamespace(_flash_attn_fwd=five), "returns 5 tensors, and this PyTorch expects two"),
        ((9, 0), SimpleNamespace(), r"needs the flash-attn-4 package \(pip install '\.\[flash4\]'\)"),
        ((9, 0), None, r"No module named 'flash_attn\.cute'"),
    ],
)
def test_flash_attention_4_needs_a_package_that_pytorch_understands(
    capability: tuple[int, int], module: SimpleNamespace | None, refusal: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(name: str) -> SimpleNamespace:
        assert name == "flash_attn.cute.interface"
        if module is None:
            raise ImportError("No module named 'flash_attn.cute'")
        return module

    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda: capability)
    monkeypatch.setattr("training.attention.kernels.import_module", load)
    with pytest.raises(UserError, match=refusal) if refusal else nullcontext():
        check_attention("torch_varlen_fa4")
    check_attention("torch_varlen")


def test_each_varlen_kernel_uses_its_own_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are chosen for the whole process, so a kernel puts its own in place."""
    active: list[str | None] = [None]
    for name, change in {
        "current_flash_attention_impl": lambda: active[-1],
        "activate_flash_attention_impl": active.append,
        "restore_flash_attention_impl": lambda: active.append(None),
    }.items():
        monkeypatch.setattr(f"training.attention.kernels.{name}", change)
    query = torch.empty(4, 2, 8, device="meta", dtype=torch.bfloat16)
    bounds = torch.empty(2, device="meta", dtype=torch.int32)
    for attention in ("torch_varlen_fa4", "torch_varlen_fa4", "torch_varlen", "torch_varlen", "torch_varlen_fa4"):
        KERNELS[attention](query, query, query, Lengths(bounds, bounds, 4, 4), 0.3)
    assert active == [None, "FA4", None, "FA4"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_flash_attention_without_a_gpu_is_refused() -> None:
    check_attention("sdpa")
    for attention in ("flash_attention_2", "torch_varlen", "torch_varlen_fa4", "flex"):
        with pytest.raises(UserError, match=f"attention={attention} needs a CUDA GPU.*attention=sdpa"):
            check_attention(attention)
