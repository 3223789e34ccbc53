"""Configured trainings, and transformers' own models of given dimensions."""

from __future__ import annotations

from typing import Any

import hydra
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from core.settings import typed
from scripts.launch import CONF
from training.model_shape import ModelShape
from training.settings import TrainSettings


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
