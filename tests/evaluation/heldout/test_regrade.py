"""Recorded held-out dialogues are graded again by execution, without any model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from core.dialogue import Dialogue
from core.journal import read_jsonl, write_jsonl
from core.messages import AssistantMessage, ToolMessage
from evaluation.benchmark import RecordedRun
from evaluation.heldout.run import dialogue_path
from generation.scripted.llm import ScriptedLLM
from tests.evaluation.helpers.heldout import MakeHeldout, run_heldout

WRITING = ("update_", "create_", "delete_", "add_")


class Unreachable(ScriptedLLM):
    """A simulator that must not be asked anything."""

    async def complete(self, request: Any) -> Any:
        raise AssertionError(f"asked: {request.key}")


def without_calls(dialogue: Dialogue) -> Dialogue:
    """The dialogue as if the agent had made no call."""
    texts = [m for m in dialogue.messages if not isinstance(m, ToolMessage)]
    plain = [m.model_copy(update={"tool_calls": None}) if isinstance(m, AssistantMessage) else m for m in texts]
    starts = [
        position - sum(isinstance(m, ToolMessage) for m in dialogue.messages[:position])
        for position in dialogue.task_starts
    ]
    return dialogue.model_copy(update={"messages": tuple(plain), "task_starts": tuple(starts)})


def test_verdicts_are_confirmed_and_tampered_dialogues_found(
    settings: dict[str, Any], heldout: MakeHeldout, generation: Path, tmp_path: Path
) -> None:
    axes = {"fault": ["tool_error"]}
    benchmark = heldout(settings | {"dialogues": 4, "subset": "full", "axes": axes})
    run = tmp_path / "run"
    records = run_heldout(ScriptedLLM(error_rate=0.3), benchmark, generation, run, shared=tmp_path)
    assert len(records) == 4 * 2 * 2
    assert {record.success for record in records} == {True, False}

    again = heldout(settings | {"dialogues": 4, "subset": "full", "axes": axes}, Unreachable())
    recorded = RecordedRun(run, tmp_path, (generation,), tmp_path)
    verdicts = again.regrade(records, recorded)
    assert {key: verdict.success for key, verdict in verdicts.items()} == {r.key: r.success for r in records}
    assert all(bool(verdict.detail) is not verdict.success for verdict in verdicts.values())

    passed, changing = [record for record in records if record.success], set()
    for record in passed:
        path = dialogue_path(run, record)
        (dialogue,) = read_jsonl(path, Dialogue)
        write_jsonl(path, [without_calls(dialogue)])
        if any(call.tool.startswith(WRITING) for task in dialogue.tasks for call in task.gold_calls):
            changing.add(record.key)
    assert len(passed) > len(changing) > 0
    changed = again.regrade(passed, recorded)
    assert {key for key, verdict in changed.items() if not verdict.success} == changing

    unknown = again.regrade(passed, RecordedRun(run, tmp_path, (), tmp_path))
    gone = {r.key for r in passed if r.category.startswith("trained")}
    assert gone
    assert {key for key, verdict in unknown.items() if verdict.success is None} == gone
    dialogue_path(run, passed[0]).unlink()
    missing = again.regrade(passed[:1], recorded)
    assert [verdict.detail for verdict in missing.values()] == ["its dialogue was not recorded"]
