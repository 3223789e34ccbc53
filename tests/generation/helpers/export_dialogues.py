"""Small dialogues for the tests of generation.export, and the shipped settings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from core.dialogue import Dialogue, Rubric, Task, Verdict
from core.journal import write_jsonl
from core.messages import AssistantMessage, Message, SystemMessage, ToolCall, ToolMessage, ToolSpec, UserMessage
from generation.export.decontamination import ContaminationSettings, Detector
from generation.export.dedup import DedupSettings, Removal, duplicates
from generation.export.export import ExportSettings
from generation.export.index import DialogueIndex
from generation.export.scan import scan
from tests.helpers.paths import CONF

SHIPPED: dict[str, Any] = yaml.safe_load((CONF / "export.yaml").read_text())

FIND = ToolSpec(name="find", description="Find a hall.", parameters={"type": "object", "properties": {"hall": {}}})

PROVENANCE = {
    "source": "bundled",
    "licence": "Apache-2.0",
    "llm": "scripted",
    "sampling": {"temperature": 0.6},
    "prompts": {"agent": "0a1b"},
    "seed": 0,
    "commit": "c0ffee",
    "config": "f1",
}


def dialogue(
    dialogue_id: str,
    *texts: str,
    goals: Sequence[str] = (),
    calls: Sequence[tuple[str, dict[str, Any], str]] = (),
    **more: Any,
) -> Dialogue:
    """`texts` of user and assistant in turn; `calls` (name, arguments, result) come one by one before the assistant's
    first answer."""
    messages: list[Message] = [SystemMessage(content="You help.")]
    for position, text in enumerate(texts):
        if position == 1:
            for number, (name, arguments, result) in enumerate(calls):
                call = ToolCall.make(f"c{number}", name, arguments)
                messages.append(AssistantMessage(reasoning_content="I look.", tool_calls=(call,)))
                messages.append(ToolMessage(tool_call_id=f"c{number}", content=result))
        messages.append(AssistantMessage(content=text) if position % 2 else UserMessage(content=text))
    fields: dict[str, Any] = {
        "pipeline": "user_oriented",
        "domain": "halls",
        "tools": (FIND,),
        "tasks": tuple(
            Task(task_id=f"t{i}", goal=goal, subgoals=(), difficulty="easy", rubric=Rubric(criteria=()))
            for i, goal in enumerate(goals)
        ),
        "task_starts": tuple(range(1, len(goals) + 1)),
        "verdict": Verdict(accepted=True),
        "provenance": PROVENANCE,
    }
    return Dialogue(dialogue_id=dialogue_id, messages=tuple(messages), **fields | more)


def dedup_settings(**changes: Any) -> DedupSettings:
    return DedupSettings.model_validate(SHIPPED["dedup"] | changes)


def contamination_settings(**changes: Any) -> ContaminationSettings:
    return ContaminationSettings.model_validate(SHIPPED["contamination"] | changes)


def export_settings(outputs: Path, **changes: Any) -> ExportSettings:
    shipped = {key: value for key, value in SHIPPED.items() if key != "defaults"}
    return ExportSettings.model_validate(shipped | {"profile": "cpu", "outputs": outputs} | changes)


def removed(dialogues: Sequence[Dialogue], folder: Path, **settings: Any) -> list[Removal]:
    """The duplicates among `dialogues`, which are written to a file in `folder` first."""
    dedup = dedup_settings(**settings)
    path = folder / "dialogues.jsonl"
    write_jsonl(path, dialogues)
    with DialogueIndex([path]) as index:
        scanned = scan(index, dedup, Detector((), contamination_settings()), {}, lambda count: None)
        return list(duplicates(scanned.entries, index.dialogue, dedup))
