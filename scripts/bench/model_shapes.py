"""The dimensions of the paper's models, from conf/model/."""

from __future__ import annotations

from omegaconf import OmegaConf

from core.settings import typed
from scripts.launch import CONF
from training.model_shape import ModelShape


def shape_of(model: str) -> ModelShape:
    """The dimensions in conf/model/<model>.yaml."""
    return typed(OmegaConf.load(CONF / "model" / f"{model}.yaml").shape, ModelShape, f"conf/model/{model}.yaml")
