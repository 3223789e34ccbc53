"""What a model's files say: context and chat templates, in the layouts in which models are published."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub.errors import LocalEntryNotFoundError

from core import model_files
from core.model_files import ModelFiles, read_model_files
from core.settings import UserError


def publish(directory: Path, **files: Any) -> Path:
    """Write `files`, with "__" for the dot of their names."""
    directory.mkdir(exist_ok=True)
    for name, content in files.items():
        text = content if isinstance(content, str) else json.dumps(content)
        (directory / name.replace("__", ".")).write_text(text)
    return directory


@pytest.mark.parametrize(
    ("config", "context"),
    [
        ({"max_position_embeddings": 8192}, 8192),
        ({"text_config": {"max_position_embeddings": 131072}, "max_position_embeddings": 1}, 131072),
        ({"max_position_embeddings": 4096, "rope_scaling": {"type": "linear", "factor": 4.0}}, 16384),
        ({"max_position_embeddings": 131072, "rope_scaling": {"rope_type": "yarn", "factor": 32.0}}, 131072),
        ({"max_position_embeddings": 131072, "rope_parameters": {"rope_type": "llama3", "factor": 8.0}}, 131072),
        ({"max_position_embeddings": 2048, "rope_parameters": {"rope_type": "default"}}, 2048),
        ({"n_positions": 1024}, 1024),
        ({"model_type": "mamba"}, None),
    ],
)
def test_the_context_is_what_vllm_derives(config: dict[str, Any], context: int | None) -> None:
    assert ModelFiles(config, "").context == context


@pytest.mark.parametrize(
    "files",
    [
        {"chat_template__jinja": "of its own", "tokenizer_config__json": {"chat_template": "old"}},
        {"tokenizer_config__json": {"chat_template": "of its own"}},
        {"chat_template__json": {"chat_template": "of its own"}},
        {"tokenizer_config__json": {"chat_template": [{"name": "default", "template": "of its own"}]}},
    ],
)
def test_the_template_is_found_wherever_it_is(files: dict[str, Any], tmp_path: Path) -> None:
    model = publish(tmp_path, config__json={"model_type": "llama"}, **files)
    for name in (model, str(model)):
        found = read_model_files(name)
        assert (found.chat_template, found.model_type) == ("of its own", "llama")


def test_a_model_without_a_template_has_none(tmp_path: Path) -> None:
    assert read_model_files(publish(tmp_path, config__json={})).chat_template == ""


def test_the_hub_is_asked_for_what_a_model_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cached = publish(tmp_path, config__json={"max_position_embeddings": 64}, chat_template__jinja="from the hub")

    def download(model: str, name: str) -> str:
        assert model == "owner/name"
        if not (cached / name).is_file():
            raise LocalEntryNotFoundError(f"no {name}")
        return str(cached / name)

    monkeypatch.setattr(model_files, "hf_hub_download", download)
    found = read_model_files("owner/name")
    assert (found.context, found.chat_template) == (64, "from the hub")
    (cached / "config.json").unlink()
    with pytest.raises(UserError, match=r"owner/name is neither a directory with config\.json nor available"):
        read_model_files("owner/name")
