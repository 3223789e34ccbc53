"""One exported task: the dialogue before it, the task itself with its proof, and its identity."""

from __future__ import annotations

import hashlib

from pydantic import Field

from core.dialogue import Dialogue, Task
from core.json_fields import JsonModel
from core.messages import Frozen
from generation.utterances.text import canonical, plain


def task_hash(task: Task) -> str:
    """SHA-256 of a task's goal (case, punctuation and typography aside), its kind, the calls that solve it and the
    values that the user must learn.

    It depends on what is asked and on what solves it, not on ids, on the dialogue around it or on the run: in other
    words of user and assistant, or under another policy, it is the same task.
    """
    calls = [[call.tool, call.arguments] for call in task.gold_calls or task.plan]
    content = {"goal": plain(task.goal), "kind": task.kind, "calls": calls, "told": list(map(plain, task.told_values))}
    return hashlib.sha256(canonical(content).encode("utf-8", "surrogatepass")).hexdigest()


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
