"""Sentence embeddings by mean pooling, and how widely they spread."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModel, AutoTokenizer

from core.settings import UserError

Vectors = NDArray[np.float64]
_BATCH, _LONGEST = 32, 256
"""Texts at a time, and tokens of a text that are read."""


def embed(model: str, texts: Sequence[str]) -> Vectors:
    """A unit vector for each text: the mean of the last hidden states over its tokens, as sentence-transformers' mean
    pooling does. `model` is a directory or hub id. Raises UserError if it cannot be loaded."""
    try:
        tokenizer, encoder = AutoTokenizer.from_pretrained(model), AutoModel.from_pretrained(model).eval()
    except (OSError, ValueError) as error:
        raise UserError(
            f"embedding={model} was given, but it cannot be loaded ({str(error).splitlines()[0]}); expected: a "
            "directory or hub id of a model with its tokenizer"
        ) from None
    longest = min(_LONGEST, getattr(encoder.config, "max_position_embeddings", _LONGEST))
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.padding_side = "right"
    order = sorted(range(len(texts)), key=lambda index: len(texts[index]))  # texts of a batch need the same padding
    vectors = []
    with torch.inference_mode():
        for start in range(0, len(texts), _BATCH):
            batch = tokenizer(
                [texts[index] for index in order[start : start + _BATCH]],
                return_tensors="pt",
                padding=True,
                truncation=True,
                max_length=longest,
            )
            inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
            hidden = encoder(**inputs).last_hidden_state.double()
            mask = inputs["attention_mask"].unsqueeze(-1).double()
            mean = (hidden * mask).sum(1) / mask.sum(1).clamp(min=1)
            vectors.append(torch.nn.functional.normalize(mean, dim=1).numpy())
    result: Vectors = np.concatenate(vectors)
    return result[np.argsort(order)]


def mean_distance(vectors: Vectors) -> float:
    """The mean cosine distance of two different vectors of unit length (texts, dimensions); 0 for fewer than two."""
    count = len(vectors)
    if count < 2:
        return 0.0
    total = vectors.sum(axis=0)
    similarity = (float(total @ total) - count) / (count * (count - 1))
    return 1.0 - similarity


def effective_number(vectors: Vectors) -> float:
    """The Vendi score with the cosine kernel: the exponential of the entropy of the kernel's eigenvalues, from 1 (all
    alike) to the number of texts or dimensions (all orthogonal)."""
    eigenvalues = np.linalg.eigvalsh(vectors.T @ vectors / len(vectors))
    positive = eigenvalues[eigenvalues > 1e-12]
    return float(np.exp(-(positive * np.log(positive)).sum()))
