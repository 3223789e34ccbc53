"""Exported dialogues in every format: they load, and read back as the same dialogues."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import datasets
import pytest

from core.dialogue import Dialogue
from generation.start_states.start_states import read_dialogue
from tests.scripts.helpers.export_runs import export


@pytest.mark.parametrize("form", ["openai", "sharegpt", "hermes"])
def test_a_format_reads_back_as_the_same_dialogue(form: str, executed_outputs: Path, tmp_path: Path) -> None:
    """With the loader of `datasets`, and as start states, which read all of them."""
    folder = export(executed_outputs, f"format={form}")
    (split,) = datasets.load_dataset(str(folder), cache_dir=str(tmp_path)).values()
    generated = {d["dialogue_id"]: d for d in map(json.loads, (folder / "data/user_oriented_exec.jsonl").open())}
    assert len(split) == len(generated)
    for row in split:
        if form == "hermes":
            system = row["conversations"].pop(0)
            stated = system["value"].rpartition("</tools>")[0].rpartition("<tools>")[2]
            assert json.loads(stated) == json.loads(row["tools"])
        late = row.pop("late_tools")
        read = read_dialogue({key: value for key, value in row.items() if value is not None}, "x")
        original = read_dialogue(generated[row["id"]], "x")
        assert [tool.name for tool in read.tools] == [tool.name for tool in original.tools]
        assert json.loads(late) == original.late_tools
        reasoned = form != "sharegpt"  # it has no place for reasoning
        assert spoken(read, reasoned) == spoken(original, reasoned)


def spoken(dialogue: Dialogue, reasoned: bool) -> list[Any]:
    """All messages but the system's and a closing one of the user."""
    messages = [message for message in dialogue.messages if message.role != "system"]
    messages = messages[:-1] if messages[-1].role == "user" else messages
    return [
        (
            message.role,
            message.content,
            [(call.name, call.parsed()) for call in getattr(message, "tool_calls", None) or ()],
            getattr(message, "reasoning_content", None) if reasoned else None,
        )
        for message in messages
    ]


def test_session_traces_have_the_hubs_fields(executed_outputs: Path, tmp_path: Path) -> None:
    folder = export(executed_outputs, "format=traces")
    files = sorted((folder / "traces/user_oriented_exec").iterdir())
    generated = [json.loads(line) for line in (folder / "data/user_oriented_exec.jsonl").open()]
    assert [file.stem for file in files] == [dialogue["dialogue_id"] for dialogue in generated]
    header, *rest = [json.loads(line) for line in files[0].open()]
    assert (header["type"], header["id"]) == ("session", generated[0]["dialogue_id"])
    assert header["harness"]
    for line, message in zip(rest, generated[0]["messages"], strict=True):
        assert line.keys() == {"type", "message"}
        assert line["message"].keys() <= {"role", "content", "reasoningContent", "toolCalls", "toolCallId"}
        assert (line["message"]["role"], line["message"]["content"]) == (message["role"], message["content"])
        assert line["message"].get("toolCallId") == message.get("tool_call_id")
        assert [c["id"] for c in line["message"].get("toolCalls", [])] == [
            c["id"] for c in message.get("tool_calls") or []
        ]
    read = datasets.load_dataset(
        "json",
        data_files=[str(file) for file in files],
        split="train",
        parse_agent_traces=False,
        cache_dir=str(tmp_path),
    )
    assert sum(line["type"] == "session" for line in read) == len(generated)
