"""make fetch model=Qwen/Qwen3-0.6B: download models into the hub's cache, before a run needs them.

`model=[openai/gpt-oss-20b,Qwen/Qwen3-0.6B]` takes several. A login node can do it for nodes without network.
"""

from __future__ import annotations

import sys
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
from pydantic import Field, field_validator
from rich.console import Console
from rich.filesize import decimal

from core.console import stage_console
from core.settings import Settings, UserError
from scripts.launch import clear_errors, read_settings

LEFT_OUT = ("original/*", "metal/*", "*.gguf", "*.onnx", "*.pth", "*.msgpack", "*.h5")
"""Weights in other formats, which neither training nor vLLM reads."""


class FetchSettings(Settings):
    """Settings of make fetch."""

    model: tuple[str, ...] = Field(min_length=1, description="hub ids, one or a list")
    revision: str | None = Field(default=None, description="commit, tag or branch; null: the newest")

    @field_validator("model", mode="before")
    @classmethod
    def _as_list(cls, value: object) -> object:
        return [value] if isinstance(value, str) else value


def fetch(model: str, revision: str | None) -> Path:
    """Download what is missing of a model; returns its directory in the cache. Raises UserError if it cannot be had."""
    if Path(model).is_dir():
        raise UserError(f"model={model} is a directory: there is nothing to download")
    try:
        return Path(snapshot_download(model, revision=revision, ignore_patterns=[*LEFT_OUT]))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(
            f"model={model} cannot be downloaded ({reason}); expected a model on the hub, such as "
            "Qwen/Qwen3-0.6B, and HF_TOKEN for one that asks for it"
        ) from None


def main(settings: FetchSettings, console: Console) -> None:
    for model in settings.model:
        directory = fetch(model, settings.revision)
        size = sum(file.stat().st_size for file in directory.rglob("*") if file.is_file())
        console.print(f"{model}: {decimal(size)} in {directory}", soft_wrap=True, highlight=False)


if __name__ == "__main__":
    with clear_errors():
        main(read_settings(sys.argv[1:], FetchSettings), stage_console())
