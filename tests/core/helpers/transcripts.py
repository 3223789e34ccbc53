"""A small valid dialogue for the tests of core."""

from __future__ import annotations

from core.dialogue import Dialogue, PlannedCall, Rubric, Task
from core.messages import AssistantMessage, Message, SystemMessage, ToolCall, ToolMessage, ToolSpec, UserMessage
from core.provenance import Provenance

GET = ToolSpec(
    name="get_member",
    description="One member.",
    parameters={
        "type": "object",
        "properties": {"member_id": {"type": "integer"}},
        "required": ["member_id"],
        "additionalProperties": False,
    },
)
RENAME = ToolSpec(
    name="rename_member",
    description="Change a member's name.",
    parameters={
        "type": "object",
        "properties": {"member_id": {"type": "integer"}, "name": {"type": "string"}},
        "required": ["member_id", "name"],
        "additionalProperties": False,
    },
    returns={"type": "object"},
)
MESSAGES: tuple[Message, ...] = (
    SystemMessage(content="You help."),
    UserMessage(content="Who are members 3 and 4?"),
    AssistantMessage(
        reasoning_content="Two look-ups.",
        tool_calls=(
            ToolCall.make("c1", "get_member", {"member_id": 3}),
            ToolCall.make("c2", "get_member", {"member_id": 4}),
        ),
    ),
    ToolMessage(tool_call_id="c2", content='{"name": "Noé"}'),
    ToolMessage(tool_call_id="c1", content='{"name": "Ann"}'),
    AssistantMessage(tool_calls=(ToolCall.make("c3", "rename_member", {"member_id": 3, "name": "Zoë"}),)),
    ToolMessage(tool_call_id="c3", content='{"rows_affected": 1}'),
    AssistantMessage(content="Ann is Zoë now; 4 is Noé."),
    UserMessage(content="Thanks, that is all."),
)
TASK = Task(
    task_id="t1",
    goal="Learn both names.",
    subgoals=("learn them",),
    difficulty="easy",
    rubric=Rubric(criteria=("both told",)),
    plan=(PlannedCall(tool="get_member", arguments={"member_id": 3}, tell=("name",)),),
)
DIALOGUE = Dialogue(
    dialogue_id="d1",
    pipeline="user_oriented_exec",
    domain="gym",
    tools=(GET, RENAME),
    messages=MESSAGES,
    tasks=(TASK,),
    task_starts=(1,),
    provenance=Provenance(seed=3),
)
