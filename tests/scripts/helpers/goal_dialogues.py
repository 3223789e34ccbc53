"""Dialogues with as many distinct goals as wanted."""

from __future__ import annotations

from core.dialogue import Dialogue, PlannedCall, Rubric, Task
from core.messages import AssistantMessage, SystemMessage, UserMessage
from tests.generation.helpers.vet_dialogues import TOOLS


def dialogues(count: int, goals: int) -> list[Dialogue]:
    made = []
    for number in range(count):
        goal = f"find pet {chr(97 + number % goals % 26)}{'x' * (number % goals // 26)}"
        task = Task(
            task_id="t",
            goal=goal,
            subgoals=(goal,),
            difficulty="easy",
            rubric=Rubric(criteria=()),
            plan=(PlannedCall(tool="search", arguments={"query": number}),),
        )
        said = (SystemMessage(content="Serve."), UserMessage(content=goal), AssistantMessage(content="Done."))
        made.append(
            Dialogue(
                dialogue_id=f"d-{number}",
                pipeline="p",
                domain="vet",
                tools=TOOLS,
                messages=said,
                tasks=(task,),
                task_starts=(1,),
            )
        )
    return made
