"""A decoder's dimensions (Llama, Qwen2, Qwen3; dense or mixture of experts), and the parameters and FLOPs that follow
from them."""

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
"""Our names -> those in a model's config.json. transformers 5 writes num_experts as num_local_experts."""


class ModelShape(Settings):
    """Widths and counts as in config.json."""

    vocabulary: int = Field(ge=1, description="tokens, including unused ones")
    hidden: int = Field(ge=1, description="width of the residual stream")
    layers: int = Field(ge=1, description="decoder layers")
    heads: int = Field(ge=1, description="query heads")
    kv_heads: int = Field(ge=1, description="key and value heads")
    head_dim: int = Field(ge=1, description="width of a head")
    intermediate: int = Field(ge=1, description="width of a dense layer's MLP")
    experts: int = Field(default=0, description="experts of a layer; 0: the layers are dense")
    experts_per_token: int = Field(default=0, description="experts that process a token")
    expert_intermediate: int = Field(default=0, description="width of an expert's MLP")
    tied: bool = Field(default=True, description="the output layer is the embedding")
    head_norms: bool = Field(default=True, description="queries and keys are normalised, as in Qwen3")
    biases: bool = Field(default=False, description="queries, keys and values have biases, as in Qwen2")

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> ModelShape:
        """Read a model's config.json. Raises UserError if a width is missing."""
        config = {"num_experts": config.get("num_local_experts"), **config}
        values = {ours: config[theirs] for ours, theirs in _KEYS.items() if config.get(theirs) is not None}
        if "hidden" in values and "heads" in values:
            values = {"head_dim": values["hidden"] // values["heads"], "kv_heads": values["heads"]} | values
        kind = str(config.get("model_type"))
        missing = [
            _KEYS[name] for name, field in cls.model_fields.items() if field.is_required() and name not in values
        ]
        if missing:
            raise UserError(f"the model's config.json lacks {', '.join(missing)}; expected that of a decoder")
        return cls(**values, head_norms=kind.startswith("qwen3"), biases=kind.startswith("qwen2"))

    @property
    def attention_parameters(self) -> int:
        """Parameters of one layer's four projections."""
        return 2 * self.hidden * self.head_dim * (self.heads + self.kv_heads)

    @property
    def mlp_width(self) -> int:
        """Total MLP width that processes one token in a layer."""
        return self.experts_per_token * self.expert_intermediate if self.experts else self.intermediate

    @property
    def layer_parameters(self) -> int:
        router = self.hidden * self.experts
        width = self.experts * self.expert_intermediate if self.experts else self.intermediate
        norms = 2 * self.hidden + (2 * self.head_dim if self.head_norms else 0)
        biases = self.head_dim * (self.heads + 2 * self.kv_heads) if self.biases else 0
        return self.attention_parameters + router + 3 * self.hidden * width + norms + biases

    @property
    def parameters(self) -> int:
        embeddings = self.vocabulary * self.hidden * (1 if self.tied else 2)
        return self.layers * self.layer_parameters + self.hidden + embeddings

    @property
    def active_parameters(self) -> int:
        """Parameters that process any one token."""
        idle = (self.experts - self.experts_per_token) * 3 * self.hidden * self.expert_intermediate
        return self.parameters - self.layers * idle

    @property
    def largest_layer(self) -> int:
        """Parameters of the largest piece that ZeRO-3 gathers at once: a layer, or the embedding."""
        return max(self.layer_parameters, self.vocabulary * self.hidden)

    def flops(self, tokens: int, pairs: int, targets: int) -> int:
        """FLOPs of one forward pass over `tokens` tokens, with `pairs` (query, key it sees) pairs and `targets`
        positions that reach the output layer. A multiply-add counts as two; a backward pass takes twice as many."""
        router = self.hidden * self.experts
        weights = self.layers * (self.attention_parameters + router + 3 * self.hidden * self.mlp_width)
        attention = 2 * self.layers * self.heads * self.head_dim
        return 2 * (weights * tokens + attention * pairs + self.hidden * self.vocabulary * targets)
