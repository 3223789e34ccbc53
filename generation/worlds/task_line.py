"""One exported task: the dialogue before it, and the task itself with its proof."""

from __future__ import annotations

from pydantic import Field

from core.dialogue import Dialogue, Task
from core.json_fields import JsonModel
from core.messages import Frozen


class TaskLine(Frozen):
    """One line of tasks.jsonl. `start` has the messages before the task and all tasks up to it, of which the last is
    still to be played. The calls of these messages lead from the domain's initial state to the task's start state."""

    task_id: str = Field(description="dialogue and number of the task: user_oriented_exec-0000012/1")
    task_hash: str = Field(description="identity of the task's content, whatever export it is in")
    start: JsonModel[Dialogue]

    @property
    def task(self) -> Task:
        return self.start.tasks[-1]

    @property
    def summary(self) -> dict[str, str]:
        """What may be shown with the task: nothing of its goal, its solution or its values."""
        return {
            "task_id": self.task_id,
            "task_hash": self.task_hash,
            "domain": self.start.domain,
            "kind": self.task.kind,
            "difficulty": self.task.difficulty,
        }
