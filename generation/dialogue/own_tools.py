"""The user's side of dual control: what the user does with tools of their own before each message."""

from __future__ import annotations

from collections.abc import Sequence

from core.dialogue import Dialogue, calls
from core.dual_control import UserAction
from core.messages import Message
from generation.dialogue.user import SimulatedUser, UserTurn
from generation.environments.base import Environment, PastCall
from generation.llm.contexts import Achieved


async def act_and_speak(
    user: SimulatedUser, environment: Environment, messages: Sequence[Message], achieved: tuple[Achieved, ...] | None
) -> tuple[UserTurn, list[UserAction]]:
    """The user's next message, and all that they do before it."""
    actions: list[UserAction] = []
    while True:
        turn = await user.speak(tuple(messages), achieved, tuple(actions))
        if turn.use_tool is None:
            return turn, actions
        call = turn.use_tool
        result = (await environment.call(call.tool, call.arguments)).content
        actions.append(UserAction(message=len(messages), tool=call.tool, arguments=call.arguments, result=result))
        user.observe(turn, result)


def past_calls(dialogue: Dialogue, start: int, end: int) -> list[PastCall]:
    """The calls that both sides made from message `start` up to `end`, in order. The agent's calls of tools that only
    the user has reached no environment."""
    users = {tool.name for tool in dialogue.user_tools}

    def of_agent(first: int, last: int) -> list[PastCall]:
        return [call for call in calls(dialogue.messages[first:last]) if call[0] not in users]

    past: list[PastCall] = []
    for action in dialogue.user_actions:
        if start <= action.message < end:
            past += [*of_agent(start, action.message), (action.tool, action.arguments, action.result)]
            start = action.message
    return [*past, *of_agent(start, end)]
