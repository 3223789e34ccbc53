"""The tasks of exported dialogues as worlds that any agent can play (generation.worlds): one line per task, with
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
from generation.tools.toolset import Toolset
from generation.worlds.task_line import TaskLine, task_hash
from generation.worlds.worlds import PipelineWorld, Worlds, WorldSettings, read_toolsets

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
        return read_toolsets(self.directory / "toolsets.jsonl")

    def worlds(self) -> Worlds:
        """Worlds without tasks. Raises UserError as `toolsets` and `settings` do."""
        return Worlds(self.settings(), self.toolsets())

    def settings(self) -> WorldSettings:
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


def playable_tasks(dialogue: Dialogue, worlds: Worlds) -> list[int]:
    """The numbers of the tasks that can be played again and that execution decides: those of an accepted dialogue with
    a simulated user and executed tools."""
    accepted = dialogue.verdict is not None and dialogue.verdict.accepted
    is_executed = dialogue.state is not None and dialogue.domain in worlds.toolsets
    if not accepted or not is_executed or not worlds.settings.pipelines[dialogue.pipeline].rollout.user_simulator:
        return []
    return [number for number, task in enumerate(dialogue.tasks) if task.is_proved]


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
            "user_actions": dialogue.actions_before(position),
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
    worlds, hashes = run.worlds(), list[str]()
    domains, pipelines = set[str](), set[str]()

    def lines() -> Iterator[str]:
        for dialogue in dialogues:
            for number in playable_tasks(dialogue, worlds):
                start = fork(dialogue, worlds.toolsets[dialogue.domain], number, dialogue.task_starts[number])
                digest = task_hash(start.tasks[-1])
                domains.add(dialogue.domain)
                pipelines.add(dialogue.pipeline)
                hashes.append(digest)
                yield dump_line(TaskLine(task_id=f"{dialogue.dialogue_id}/{number}", task_hash=digest, start=start))

    write_atomically(folder / "tasks.jsonl", lines())
    databases = folder / "databases"
    databases.mkdir(exist_ok=True)
    toolsets = [worlds.toolsets[domain] for domain in sorted(domains)]
    for toolset in toolsets:
        if toolset.database:
            shutil.copyfile(toolset.database, databases / toolset.database.name)
    write_jsonl(folder / "toolsets.jsonl", map(_movable, toolsets))
    settings = WorldSettings(
        pipelines={name: worlds.settings.pipelines[name] for name in sorted(pipelines)}, user=worlds.settings.user
    )
    write_json(folder / "settings.json", settings.model_dump(mode="json"))
    return hashes


def _movable(toolset: Toolset) -> Toolset:
    """The toolset with its database next to it."""
    if toolset.database is None:
        return toolset
    return toolset.model_copy(update={"database": Path("databases") / toolset.database.name})
