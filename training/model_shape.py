"""A decoder's dimensions (Qwen3, dense or mixture of experts), and what follows from them: parameters and FLOPs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from core.settings import Settings, UserError

_KEYS = {
    "vocabulary": "vocab_size",
    "hidden": "hidden_size",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "kv_heads": "num_key_value_heads",
    "head_dim": "head_dim",
    "intermediate": "intermediate_size",
    "experts": "num_experts",
    "experts_per_token": "num_experts_per_tok",
    "expert_intermediate": "moe_intermediate_size",
    "tied": "tie_word_embeddings",
}
"""Our names and those of a model's config.json. transformers 5 writes num_experts as num_local_experts."""


class ModelShape(Settings):
    """Widths and counts as config.json has them. Without `experts` each layer has one MLP of width `intermediate`; with them a
    router and so many MLPs of width `expert_intermediate`, of which a token passes `experts_per_token`. `tied`: the
    output layer is the embedding."""

    vocabulary: int = Field(ge=1)
    hidden: int = Field(ge=1)
    layers: int = Field(ge=1)
    heads: int = Field(ge=1)
    kv_heads: int = Field(ge=1)
    head_dim: int = Field(ge=1)
    intermediate: int = Field(ge=1)
    experts: int = 0
    experts_per_token: int = 0
    expert_intermediate: int = 0
    tied: bool = True

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> ModelShape:
        """Of a model's config.json. Raises UserError where a width is missing."""
        config = {"num_experts": config.get("num_local_experts"), **config}
        found = {ours: config[theirs] for ours, theirs in _KEYS.items() if config.get(theirs) is not None}
        missing = [_KEYS[name] for name, field in cls.model_fields.items() if field.is_required() and name not in found]
        if missing:
            raise UserError(f"the model's config.json lacks {', '.join(missing)}; that of a Qwen3 is expected")
        return cls(**found)

    @property
    def attention_parameters(self) -> int:
        """Of one layer's four projections."""
        return 2 * self.hidden * self.head_dim * (self.heads + self.kv_heads)

    @property
    def mlp_width(self) -> int:
        """What one token passes in a layer."""
        return self.experts_per_token * self.expert_intermediate if self.experts else self.intermediate

    @property
    def layer_parameters(self) -> int:
        router = self.hidden * self.experts
        width = self.experts * self.expert_intermediate if self.experts else self.intermediate
        norms = 2 * self.hidden + 2 * self.head_dim
        return self.attention_parameters + router + 3 * self.hidden * width + norms

    @property
    def parameters(self) -> int:
        embeddings = self.vocabulary * self.hidden * (1 if self.tied else 2)
        return self.layers * self.layer_parameters + self.hidden + embeddings

    @property
    def active_parameters(self) -> int:
        """Those that work on any one token."""
        idle = (self.experts - self.experts_per_token) * 3 * self.hidden * self.expert_intermediate
        return self.parameters - self.layers * idle

    @property
    def largest_layer(self) -> int:
        """Parameters of the largest piece that ZeRO-3 gathers at once: a layer, or the embedding."""
        return max(self.layer_parameters, self.vocabulary * self.hidden)

    def flops(self, tokens: int, pairs: int, targets: int) -> int:
        """FLOPs of one forward pass: `tokens` through the layers, `pairs` of a query and a key it sees, `targets` positions
        that reach the output layer. Multiplications and additions count as two; a backward pass takes twice as many."""
        router = self.hidden * self.experts
        weights = self.layers * (self.attention_parameters + router + 3 * self.hidden * self.mlp_width)
        attention = 2 * self.layers * self.heads * self.head_dim
        return 2 * (weights * tokens + attention * pairs + self.hidden * self.vocabulary * targets)
