"""A user with tools of their own on the state that the agent's tools act on, too (τ²-bench's dual control).

What the user does is recorded next to the messages, not in them: the agent knows of it only what the user says, so
prompts, training and exports of the chat stay as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from core.json_fields import JsonObject
from core.messages import ContractError, Frozen, Message, ToolSpec, UserMessage

Actor = Literal["agent", "user"]


class UserAction(Frozen):
    """A call that the user made with one of their own tools, just before they wrote message `message`."""

    message: int = Field(description="index of the user message that follows it")
    tool: str
    arguments: JsonObject
    result: str = Field(description="the text of its result, as the user saw it")


def check_user_actions(
    actions: Sequence[UserAction],
    user_tools: Sequence[ToolSpec],
    tools: Sequence[ToolSpec],
    messages: Sequence[Message],
) -> None:
    """Raises ContractError unless the user's tools are not the agent's, and every action is a fitting call of one of
    them that stands, in order, before a user message."""
    specs = {tool.name: tool for tool in user_tools}
    if shared := sorted(specs.keys() & {tool.name for tool in tools}):
        raise ContractError(f"{shared} are tools of both the agent and the user", "user actions")
    last = 0
    for number, action in enumerate(actions):
        where = f"user action {number} ({action.tool})"
        if action.tool not in specs:
            raise ContractError(f"{where}: not one of the user's tools {sorted(specs)}", "user actions")
        if problem := specs[action.tool].argument_error(action.arguments):
            raise ContractError(f"{where}: its arguments do not fit: {problem}", "user actions")
        if not last <= action.message < len(messages) or not isinstance(messages[action.message], UserMessage):
            raise ContractError(
                f"{where}: stands before message {action.message}, which is not a user message from {last} on",
                "user actions",
            )
        last = action.message
