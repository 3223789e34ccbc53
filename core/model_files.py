"""What a model's files, in a directory or on the Hugging Face hub, say about serving it: context and chat template."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import hf_hub_download
from huggingface_hub.errors import EntryNotFoundError

from core.settings import UserError

CONTEXT_KEYS = (
    *("max_position_embeddings", "n_positions", "max_seq_len", "seq_length", "model_max_length"),
    *("max_sequence_length", "max_seq_length", "seq_len"),
)
"""Keys of config.json that name a context length; vLLM takes the smallest."""

ALREADY_SCALED = ("su", "longrope", "llama3", "yarn", "deepseek_yarn", "deepseek_llama_scaling")
"""Kinds of RoPE scaling whose factor the context length in config.json includes."""


@dataclass(frozen=True)
class ModelFiles:
    """The content of config.json, and the model's chat templates in one text, "" if it has none."""

    config: dict[str, Any]
    chat_template: str

    @property
    def model_type(self) -> str:
        return str(self.config.get("model_type", ""))

    @property
    def context(self) -> int | None:
        """The context length in tokens as vLLM derives it; None if config.json names none."""
        config = self.config.get("text_config") or self.config
        lengths = [config[key] for key in CONTEXT_KEYS if isinstance(config.get(key), int)]
        scaling = config.get("rope_parameters") or config.get("rope_scaling") or {}
        scaled = (scaling.get("rope_type") or scaling.get("type")) in ALREADY_SCALED
        factor = 1.0 if scaled else scaling.get("factor") or 1.0
        return int(min(lengths) * factor) if lengths else None


def read_model_files(model: str | Path) -> ModelFiles:
    """Read the files of a model directory or hub id. Raises UserError if there is no config.json."""
    directory = Path(model)
    if isinstance(model, Path) or directory.is_dir():
        if not (directory / "config.json").is_file():
            raise UserError(f"{model} is not a model: expected a directory with config.json")
        return _read(lambda name: directory / name)
    return _read(lambda name: _from_hub(model, name))


def _read(locate: Callable[[str], Path]) -> ModelFiles:
    config, tokenizer = _json(locate("config.json")), _json(locate("tokenizer_config.json"))
    # Newer models have a file of its own; some have several templates, named in a list.
    named = tokenizer.get("chat_template") or _json(locate("chat_template.json")).get("chat_template") or ""
    templates = [named] if isinstance(named, str) else [entry["template"] for entry in named]
    own = locate("chat_template.jinja")
    return ModelFiles(config, "\n".join([own.read_text()] if own.is_file() else templates))


def _json(file: Path) -> dict[str, Any]:
    content = json.loads(file.read_text()) if file.is_file() else {}
    return content if isinstance(content, dict) else {}


def _from_hub(model: str, name: str) -> Path:
    """The file in the hub's cache, downloaded if necessary; a path that does not exist if the model lacks it."""
    try:
        return Path(hf_hub_download(model, name))
    except (OSError, ValueError, EntryNotFoundError) as error:
        if name == "config.json":
            raise UserError(
                f"{model} is neither a directory with config.json nor available from the hub: {error}"
            ) from None
        return Path(model, name)
