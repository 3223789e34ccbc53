"""What leaves the machine: atomic files, uploads, and errors that name the cause."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from core.settings import UserError
from generation.export import hub
from generation.export.export import export
from generation.export.index import find_dialogues
from generation.export.report import Report
from tests.generation.helpers.export_dialogues import export_settings
from tests.generation.helpers.exports import (
    SECRET,
    StepCounter,
    contents,
)


def test_a_folder_without_dialogues_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"data={tmp_path} was given; expected: a generation run or a dialogues.jsonl"):
        find_dialogues(tmp_path)


def test_a_parquet_file_is_written_atomically(run: tuple[Path, Report], monkeypatch: pytest.MonkeyPatch) -> None:
    directory, _ = run
    before = contents(directory)

    def interrupt(line: bytes) -> dict[str, Any]:
        raise KeyboardInterrupt

    monkeypatch.setattr("generation.export.sft.chat_row", interrupt)
    with pytest.raises(KeyboardInterrupt):
        export(
            find_dialogues(directory.parent / "run"),
            directory,
            export_settings(directory),
            [SECRET],
            "other",
            {},
            StepCounter(),
        )
    assert contents(directory) == before


class FakeHub:
    """Records uploads; raises `error` instead if given."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def create_repo(self, name: str, **more: Any) -> None:
        if self.error:
            raise self.error
        self.calls.append((name, more))

    def upload_folder(self, **more: Any) -> Any:
        self.calls.append((more.pop("repo_id"), more))
        return type("Commit", (), {"repo_url": "https://hub/org/name"})


def test_an_upload_contains_only_the_data_and_the_card(
    run: tuple[Path, Report], monkeypatch: pytest.MonkeyPatch
) -> None:
    directory, _ = run
    (directory / "manifest.json").write_text("{}")
    fake = FakeHub()
    monkeypatch.setattr(hub, "HfApi", lambda: fake)
    assert hub.push(directory, "org/name", private=True) == "https://hub/org/name"
    (created, repo), (uploaded, folder) = fake.calls
    assert created == uploaded == "org/name"
    assert (repo["private"], repo["repo_type"], folder["repo_type"]) == (True, "dataset", "dataset")
    assert folder["folder_path"] == directory
    chosen = {str(p.relative_to(directory)) for pattern in folder["allow_patterns"] for p in directory.glob(pattern)}
    assert chosen == set(contents(directory)) - {"manifest.json"}


def test_a_refusal_of_the_hub_is_a_user_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "HfApi", lambda: FakeHub(RuntimeError("401 Unauthorized")))
    with pytest.raises(UserError, match=r"push_to_hub=org/name was given.*401 Unauthorized.*hf auth login"):
        hub.push(tmp_path, "org/name", private=True)
