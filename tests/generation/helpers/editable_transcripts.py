"""Transcripts as editable lists of lines, and their calls executed again."""

from __future__ import annotations

from core.dialogue import Dialogue, StateProof
from core.messages import AssistantMessage, Message, ToolCall, ToolMessage
from generation.environments.base import DomainEnvironment

CHANGING = ("update_", "create_", "delete_")
Line = tuple[Message, int]
"""A message and the number of the task it belongs to; -1 for the system message."""


def lines_of(dialogue: Dialogue) -> list[Line]:
    return [(m, sum(start <= i for start in dialogue.task_starts) - 1) for i, m in enumerate(dialogue.messages)]


def with_lines(dialogue: Dialogue, lines: list[Line]) -> Dialogue:
    starts = [min((i for i, (_, task) in enumerate(lines) if task == n), default=0) for n in range(len(dialogue.tasks))]
    return dialogue.model_copy(update={"messages": tuple(m for m, _ in lines), "task_starts": tuple(starts)})


async def with_real_results(dialogue: Dialogue, domain_environment: DomainEnvironment) -> Dialogue:
    """The dialogue with the real results of its calls and the real state proof, whatever it claims; without a
    verdict."""
    environment = domain_environment.open()
    initial = environment.state_hash()
    calls: dict[str, ToolCall] = {}
    messages: list[Message] = []
    for message in dialogue.messages:
        if isinstance(message, AssistantMessage):
            calls |= {call.id: call for call in message.tool_calls or ()}
        real = message
        if isinstance(message, ToolMessage):
            call = calls[message.tool_call_id]
            real = message.model_copy(update={"content": (await environment.call(call.name, call.parsed())).content})
        messages.append(real)
    state = StateProof(initial_hash=initial, final_hash=environment.state_hash(), diff=environment.state_diff())
    environment.close()
    return dialogue.model_copy(update={"messages": tuple(messages), "state": state, "verdict": None})


async def changes_state(call: ToolCall, dialogue: Dialogue, domain_environment: DomainEnvironment) -> bool:
    """Whether this call of the dialogue changed the state."""
    environment = domain_environment.open()
    try:
        for message in dialogue.messages:
            for other in message.tool_calls or () if isinstance(message, AssistantMessage) else ():
                before = environment.state_hash()
                await environment.call(other.name, other.parsed())
                if other.id == call.id:
                    return environment.state_hash() != before
        raise AssertionError(f"{call.id} is not in the dialogue")
    finally:
        environment.close()


async def single_changes(dialogue: Dialogue, domain_environment: DomainEnvironment) -> list[int]:
    """Positions of assistant messages with a single call that changed the state."""
    return [
        position
        for position, message in enumerate(dialogue.messages)
        if isinstance(message, AssistantMessage)
        and len(message.tool_calls or ()) == 1
        and message.tool_calls
        and message.tool_calls[0].name.startswith(CHANGING)
        and await changes_state(message.tool_calls[0], dialogue, domain_environment)
    ]


def call_of(message: Message) -> ToolCall:
    assert isinstance(message, AssistantMessage)
    assert message.tool_calls
    return message.tool_calls[0]


def with_call(message: Message, call: ToolCall) -> Message:
    return message.model_copy(update={"tool_calls": (call,)})
