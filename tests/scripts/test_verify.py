"""make verify: replaying a run's dialogues, also one that was tampered with."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir

from core.settings import UserError
from scripts.generate import main
from scripts.launch import CONF
from scripts.verify import verify


def generate(outputs: Path, pipeline: str) -> Path:
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        main(
            compose(
                "generate",
                [
                    "profile=tiny",
                    f"outputs={outputs}",
                    f"pipeline={pipeline}",
                    "n=12",
                    "domains.names=[gym,library]",
                    "tracking.mode=disabled",
                ],
            )
        )
    return (outputs / "generate" / "latest").resolve()


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate(tmp_path_factory.mktemp("outputs"), "all")


@pytest.fixture
def run(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "run"))


def edit(run: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the first executed dialogue."""
    path = run / "user_oriented_exec" / "dialogues.jsonl"
    first, *others = path.read_text().splitlines()
    dialogue = json.loads(first)
    change(dialogue)
    path.write_text("\n".join([json.dumps(dialogue), *others]) + "\n")


def test_every_accepted_dialogue_replays(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert verify(run) == 0
    count = len((run / "user_oriented_exec" / "dialogues.jsonl").read_text().splitlines())
    assert f"{count} dialogues replay to their recorded state, 0 do not" in capsys.readouterr().out


def change_result(dialogue: dict[str, Any]) -> None:
    next(m for m in dialogue["messages"] if m["role"] == "tool")["content"] = '[{"forged": 1}]'


def change_hash(dialogue: dict[str, Any]) -> None:
    dialogue["state"] = json.dumps(json.loads(dialogue["state"]) | {"final_hash": "0" * 64})


def change_diff(dialogue: dict[str, Any]) -> None:
    dialogue["state"] = json.dumps(json.loads(dialogue["state"]) | {"diff": ["nothing happened"]})


def forget_proof(dialogue: dict[str, Any]) -> None:
    del dialogue["state"]


@pytest.mark.parametrize("change", [change_result, change_hash, change_diff, forget_proof])
def test_a_tampered_dialogue_is_found(
    change: Callable[[dict[str, Any]], None], run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(run, change)
    assert verify(run) == 1
    console_text = capsys.readouterr().out
    assert "1 do not" in console_text
    assert "user_oriented_exec-00000" in console_text


def test_another_database_is_refused(run: Path, tmp_path: Path) -> None:
    lines = [json.loads(line) for line in (run / "toolsets.jsonl").read_text().splitlines()]
    other = tmp_path / "other.sqlite"
    other.write_bytes(Path(lines[0]["database"]).read_bytes() + b"x")
    lines[0]["database"] = str(other)
    (run / "toolsets.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(UserError, match=f"{other} is not the database of this toolset"):
        verify(run)
    other.unlink()
    with pytest.raises(UserError, match=f"{other} is not the database"):
        verify(run)


def test_a_run_without_execution_or_no_run_at_all_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a run: it has no manifest"):
        verify(tmp_path)
    with pytest.raises(UserError, match="no dialogue with an executed environment"):
        verify(generate(tmp_path, "task_oriented"))
