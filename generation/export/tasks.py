"""The tasks of exported dialogues as worlds that anyone's agent can play (generation.worlds): one line per task, with
the toolsets and databases that it acts on."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from core.dialogue import Dialogue
from core.files import write_atomically, write_json
from core.journal import dump_line, write_jsonl
from core.messages import AssistantMessage, Message
from core.settings import UserError
from core.usage import Usage
from generation.dialogue.personas import UserSettings
from generation.dialogue.setup import RolloutSettings
from generation.export.task_hash import task_hash
from generation.tools.toolset import Toolset
from generation.toolset_runner import sources_from_file
from generation.worlds.task_line import TaskLine
from generation.worlds.worlds import PipelineWorld, WorldSettings

_DECIDED_BY_EXECUTION = {
    "user_checks_state": True,
    "invalid_calls": "error",
    "agent_attempts": 1,
    "max_user_turns": 30,
}
"""As in the held-out benchmark: no wording fails a correct agent, its mistakes are its own, and it may ask back."""


@dataclass(frozen=True)
class GenerationRun:
    """The generation run of the exported dialogues: its folder and its configuration."""

    directory: Path
    config: Mapping[str, Any]

    def toolsets(self) -> dict[str, Toolset]:
        """By domain. Raises UserError if a database is missing or has changed."""
        return {s.toolset.domain: s.toolset for s in sources_from_file(self.directory / "toolsets.jsonl")}

    def worlds(self) -> WorldSettings:
        """How its pipelines' dialogues are played again. Raises UserError for a run of another version."""
        try:
            return WorldSettings(
                pipelines={
                    name: PipelineWorld(
                        environment=pipeline["environment"],
                        rollout=RolloutSettings.model_validate(pipeline["rollout"] | _DECIDED_BY_EXECUTION),
                    )
                    for name, pipeline in self.config["pipelines"].items()
                },
                user=UserSettings.model_validate(self.config["user"]),
            )
        except (KeyError, ValidationError) as error:
            raise UserError(
                f"{self.directory} was made by a version with other settings ({error}); its tasks cannot be played with "
                "this one: export dialogues with as=[sft], or generate again"
            ) from None


def task_lines(dialogue: Dialogue, toolset: Toolset | None) -> Iterator[TaskLine]:
    """The tasks of an accepted dialogue that execution decides, each in its own start state. `toolset` is that of its
    domain."""
    accepted = dialogue.verdict is not None and dialogue.verdict.accepted
    if toolset is None or dialogue.state is None or not accepted:
        return
    for number, task in enumerate(dialogue.tasks):
        if task.is_proved:
            start = fork(dialogue, toolset, number, dialogue.task_starts[number])
            yield TaskLine(task_id=f"{dialogue.dialogue_id}/{number}", task_hash=task_hash(task), start=start)


def fork(dialogue: Dialogue, toolset: Toolset, number: int, position: int) -> Dialogue:
    """The dialogue before message `position` of its task `number`, which is still to be played, without its agent's
    reasoning, which is not another agent's. It has the tools again that were never offered because of a request that
    needs them."""
    tasks = dialogue.tasks[: number + 1]
    offered, needed = {tool.name for tool in dialogue.tools}, {name for task in tasks for name in task.late_tools}
    hidden = tuple(tool for tool in toolset.tools if tool.name in needed - offered)
    return dialogue.model_copy(
        update={
            "tools": (*dialogue.tools, *hidden),
            "messages": tuple(map(without_reasoning, dialogue.messages[:position])),
            "tasks": tasks,
            "task_starts": tuple(start for start in dialogue.task_starts[: number + 1] if start < position),
            "late_tools": {name: index for name, index in dialogue.late_tools.items() if index < position},
            "user_actions": tuple(action for action in dialogue.user_actions if action.message < position),
            "given": min(dialogue.given, position),
            "stop": "open" if position > dialogue.task_starts[number] else "complete",
            "verdict": None,
            "state": None,
            "usage": Usage(prompt_tokens=0, completion_tokens=0),
        }
    )


def without_reasoning(message: Message) -> Message:
    return message.model_copy(update={"reasoning_content": None}) if isinstance(message, AssistantMessage) else message


def write_worlds(folder: Path, dialogues: Iterable[Dialogue], run: GenerationRun) -> list[str]:
    """Write a folder of worlds with the tasks of these dialogues, in their order; returns the hash of each task."""
    toolsets, used, hashes = run.toolsets(), dict[str, Toolset](), list[str]()
    settings = run.worlds()

    def lines() -> Iterator[str]:
        for dialogue in dialogues:
            toolset = toolsets.get(dialogue.domain)
            if not settings.pipelines[dialogue.pipeline].rollout.user_simulator:
                continue
            for line in task_lines(dialogue, toolset):
                assert toolset, "lines are of a toolset's domain"
                used[toolset.domain] = toolset
                hashes.append(line.task_hash)
                yield dump_line(line)

    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "tasks.jsonl", lines())
    databases = folder / "databases"
    databases.mkdir(exist_ok=True)
    for toolset in used.values():
        if toolset.database:
            shutil.copyfile(toolset.database, databases / toolset.database.name)
    write_jsonl(folder / "toolsets.jsonl", [_movable(used[domain]) for domain in sorted(used)])
    write_json(folder / "settings.json", settings.model_dump(mode="json"))
    return hashes


def _movable(toolset: Toolset) -> Toolset:
    """The toolset with its database next to it."""
    if toolset.database is None:
        return toolset
    return toolset.model_copy(update={"database": Path("databases") / toolset.database.name})
