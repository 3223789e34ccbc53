"""Exported preference pairs: played again from their fork, execution decides them as stated."""

from __future__ import annotations

import asyncio
from pathlib import Path

import datasets

from core.dialogue import Dialogue
from core.journal import read_jsonl
from generation.export.preferences import Pair, StartingWith
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
