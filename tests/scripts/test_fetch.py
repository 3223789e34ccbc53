"""make fetch, with a hub that is not reached."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from core.settings import UserError
from scripts import fetch
from scripts.fetch import FetchSettings, main


def test_models_are_downloaded_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[tuple[str, str | None]] = []

    def download(model: str, revision: str | None, ignore_patterns: list[str]) -> str:
        asked.append((model, revision))
        assert "*.gguf" in ignore_patterns
        (tmp_path / "model.safetensors").write_bytes(b"x" * 2000)
        return str(tmp_path)

    monkeypatch.setattr(fetch, "snapshot_download", download)
    main(FetchSettings.model_validate({"model": "owner/one"}), Console(width=500))
    main(FetchSettings.model_validate({"model": ["owner/one", "owner/two"], "revision": "main"}), Console(width=500))
    assert asked == [("owner/one", None), ("owner/one", "main"), ("owner/two", "main")]
    assert f"owner/two: 2.0 kB in {tmp_path}" in capsys.readouterr().out


def test_what_cannot_be_downloaded_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match=r"model=no-such-owner/no-such-model cannot be downloaded .*HF_TOKEN"):
        fetch.fetch("no-such-owner/no-such-model", None)
    with pytest.raises(UserError, match="is a directory: there is nothing to download"):
        fetch.fetch(str(tmp_path), None)
