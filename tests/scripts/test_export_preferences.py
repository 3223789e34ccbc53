"""Exported preference pairs: played again from their fork, execution decides them as stated."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import datasets
import pytest

from core.dialogue import Dialogue
from core.journal import read_jsonl
from core.messages import AssistantMessage
from core.settings import UserError
from generation.export import preferences
from generation.export.preferences import Pair, StartingWith
from generation.worlds.task_line import TaskLine
from generation.worlds.worlds import Worlds
from tests.scripts.helpers.export_runs import export
from tests.scripts.helpers.known_agents import in_process


def test_preferences_are_pairs_that_execution_decides(
    executed_outputs: Path, worlds_folder: Path, tmp_path: Path
) -> None:
    """Both messages are played again from the fork, here by the agent that knows the task."""
    folder = export(executed_outputs, "as=[preferences]")
    pairs = list(read_jsonl(folder / "preferences/pairs.jsonl", Pair))
    assert {"changed before asking"} <= {pair.why for pair in pairs}
    rows = datasets.load_dataset(str(folder), "preferences", split="train", cache_dir=str(tmp_path))
    assert len(rows) == len(pairs)
    assert {"prompt", "chosen", "rejected", "tools"} <= set(rows.column_names)
    generated = {
        d.dialogue_id: d
        for d in read_jsonl(executed_outputs / "generate/latest/user_oriented_exec/dialogues.jsonl", Dialogue)
    }

    async def replays(worlds: Worlds, pair: Pair) -> tuple[bool, bool]:
        original = generated[pair.dialogue_id]
        known = in_process("gold", worlds.tasks[f"{pair.dialogue_id}/{pair.task}"])
        fork = worlds.tasks[f"{pair.dialogue_id}/{pair.task}"].start.model_copy(
            update={"messages": pair.prompt, "task_starts": original.task_starts[: pair.task + 1], "stop": "open"}
        )
        chosen, rejected = [
            await worlds.play(fork, StartingWith(message, known)) for message in (*pair.chosen, *pair.rejected)
        ]
        return chosen.solved, rejected.solved

    with Worlds.open(worlds_folder) as worlds:
        early = [pair for pair in pairs if pair.why == "changed before asking"]
        for pair in early[:3]:
            assert asyncio.run(replays(worlds, pair)) == (True, False), pair
    for pair in pairs:
        assert pair.prompt[-1].role in ("user", "tool")
        assert pair.chosen != pair.rejected
        assert not any(message.reasoning_content for message in (*pair.chosen, *pair.rejected))


def no_slips(dialogue: Dialogue, number: int, position: int) -> Iterator[tuple[str, AssistantMessage]]:
    return iter(())


def test_an_export_without_pairs_is_finished_and_says_so(
    executed_outputs: Path,
    task_lines: list[TaskLine],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(preferences, "slips", no_slips)
    (tmp_path / "generate").symlink_to(executed_outputs / "generate")
    folder = export(tmp_path, "as=[sft,preferences]")
    tried = len(task_lines)
    assert (folder / "preferences/pairs.jsonl").read_text() == ""
    report = json.loads((folder / "report.json").read_text())
    assert (report["uses"]["preferences"], report["tried_for_preferences"]) == (0, tried)
    printed = " ".join(capsys.readouterr().out.split())
    assert f"preferences: {tried} tasks were tried, and none gave a pair; more dialogues, or requests=mix" in printed
    assert f"no pairs. {tried} tasks were tried" in (folder / "README.md").read_text()
    datasets.load_dataset(str(folder), split="user_oriented_exec", cache_dir=str(tmp_path / "cache"))


def test_preferences_need_a_playable_task(
    executed_outputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preferences, "playable_tasks", lambda dialogue, worlds: [])
    (tmp_path / "generate").symlink_to(executed_outputs / "generate")
    with pytest.raises(UserError, match=r"as=\[preferences\] was given, but no exported dialogue has a task"):
        export(tmp_path, "as=[preferences]")
