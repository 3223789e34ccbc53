"""Parameter and FLOP counts against transformers' own models."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForCausalLM, LlamaConfig, Qwen2Config

from core.settings import UserError
from tests.training.helpers.planned_trainings import built
from training.model_shape import ModelShape

DENSE = ModelShape(vocabulary=320, hidden=32, layers=3, heads=4, kv_heads=2, head_dim=16, intermediate=48, tied=True)
MOE = DENSE.model_copy(update={"experts": 6, "experts_per_token": 2, "expert_intermediate": 24, "tied": False})


@pytest.mark.parametrize("shape", [DENSE, MOE], ids=["dense", "moe"])
def test_parameters_are_those_of_the_model(shape: ModelShape) -> None:
    with torch.device("meta"):
        model = built(shape)
    assert model.num_parameters() == shape.parameters
    published = model.config.to_dict() | {"num_experts": shape.experts or None}
    assert ModelShape.from_config(published) == ModelShape.from_config(model.config.to_dict()) == shape


@pytest.mark.parametrize("kind", [LlamaConfig, Qwen2Config])
def test_parameters_of_other_decoders(kind: type[LlamaConfig] | type[Qwen2Config]) -> None:
    """Their config.json may lack the width of a head."""
    published = kind(
        vocab_size=320,
        hidden_size=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=48,
        tie_word_embeddings=True,
    )
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(published)
    values = {key: value for key, value in published.to_dict().items() if key != "head_dim"}
    assert ModelShape.from_config(values).parameters == model.num_parameters()


def test_flops_are_those_of_the_operations() -> None:
    tokens = 24
    model = built(DENSE, attn_implementation="eager")
    ids = torch.zeros(1, tokens, dtype=torch.long)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(input_ids=ids, logits_to_keep=5)
    # Eager attention multiplies every query with every key, masked ones included.
    assert counter.get_total_flops() == DENSE.flops(tokens, pairs=tokens * tokens, targets=5)


def test_a_foreign_config_is_refused() -> None:
    with pytest.raises(UserError, match="lacks intermediate_size; expected that of a decoder"):
        ModelShape.from_config(
            {
                "vocab_size": 1,
                "hidden_size": 1,
                "num_hidden_layers": 1,
                "num_attention_heads": 1,
            }
        )
