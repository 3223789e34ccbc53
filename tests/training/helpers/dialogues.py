"""Realistic dialogues without running generation: several user turns, reasoning, calls, results and errors."""

from __future__ import annotations

import random

from core.dialogue import Dialogue, Rubric, Task
from core.messages import AssistantMessage, Message, SystemMessage, ToolCall, ToolMessage, ToolSpec, UserMessage


def late_tool_dialogue(number: int, given: int = 0) -> Dialogue:
    """Of four turns; from the third one on another tool is offered, which the last turn calls besides the first one."""
    source = dialogue(number, turns=4)
    users = [index for index, message in enumerate(source.messages) if isinstance(message, UserMessage)]
    parameters = {"type": "object", "properties": {"record_id": {"type": "integer"}}, "required": ["record_id"]}
    late = ToolSpec(name="stock_of", description="How many are in stock.", parameters=parameters)
    both = (
        ToolCall.make("late_0", "stock_of", {"record_id": number}),
        ToolCall.make("late_1", "get_shop", {"record_id": number}),
    )
    answers = (
        AssistantMessage(reasoning_content="Now I can look that up.", tool_calls=both),
        ToolMessage(tool_call_id="late_0", content='{"stock": 4}'),
        ToolMessage(tool_call_id="late_1", content="[]"),
        AssistantMessage(reasoning_content="Four.", content="There are four."),
    )
    changed = source.model_copy(
        update={
            "tools": (late, *source.tools),
            "late_tools": {"stock_of": users[2]},
            "messages": (*source.messages[: users[3] + 1], *answers),
            "given": given,
        }
    )
    changed.check()
    return changed


def dialogue(number: int, domain: str = "shop", pipeline: str = "user_oriented_exec", turns: int = 3) -> Dialogue:
    """Each user turn asks for one record; every third record is first requested with a wrong id, and some turns need no
    tool."""
    draw = random.Random(f"{domain}/{pipeline}/{number}")
    messages: list[Message] = [SystemMessage(content=f"You help the customers of the {domain}.")]
    for turn in range(turns):
        record = draw.randrange(1000, 9999)
        messages.append(UserMessage(content=f"Could you look up {domain} record {record} – please?"))
        for attempt in range(draw.choice((0, 1, 1, 2))):
            record_id = record + (attempt == 0 and record % 3 == 0)
            call = ToolCall.make(f"call_{turn}_{attempt}", f"get_{domain}", {"record_id": record_id, "note": "née Zoë"})
            thought = f"The user wants record {record}, so I call get_{domain}."
            messages.append(AssistantMessage(reasoning_content=thought, tool_calls=(call,)))
            messages.append(ToolMessage(tool_call_id=call.id, content=f'{{"record_id": {record_id}, "price": 9.5}}'))
        messages.append(AssistantMessage(reasoning_content="I can answer.", content=f"Record {record} costs 9.50 €."))
    tool = ToolSpec(
        name=f"get_{domain}",
        description=f"Read one record of the {domain}.",
        parameters={
            "type": "object",
            "properties": {"record_id": {"type": "integer"}, "note": {"type": "string"}},
            "required": ["record_id"],
        },
    )
    goal = f"Find out what {domain} record {number} costs."
    task = Task(
        task_id=f"{domain}-{number}", goal=goal, subgoals=(goal,), difficulty="easy", rubric=Rubric(criteria=(goal,))
    )
    return Dialogue(
        dialogue_id=f"{pipeline}-{domain}-{number}",
        pipeline=pipeline,
        domain=domain,
        tools=(tool,),
        messages=tuple(messages),
        tasks=(task,),
        task_starts=(1,),
    )
