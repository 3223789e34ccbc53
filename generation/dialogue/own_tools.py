"""The user's side of dual control: what the user does with tools of their own before each message."""

from __future__ import annotations

from collections.abc import Sequence

from core.dialogue import Dialogue, calls
from core.dual_control import UserAction
from core.messages import Message
from generation.dialogue.user import SimulatedUser, UserTurn
from generation.environments.base import Environment, PastCall
from generation.llm.contexts import Achieved

MOST_ACTIONS = 8
"""Actions before one message; then the user must speak."""


class OwnTools:
    """The actions of a dialogue's user so far."""

    def __init__(self, draft: Dialogue, user: SimulatedUser, environment: Environment) -> None:
        self.actions: list[UserAction] = list(draft.user_actions)
        self._tools = draft.user_tools
        self._user = user
        self._environment = environment

    @property
    def names(self) -> frozenset[str]:
        return frozenset(tool.name for tool in self._tools)

    async def turn(self, messages: Sequence[Message], achieved: tuple[Achieved, ...] | None) -> UserTurn:
        """The user's next message, after all that they do before it."""
        made: list[UserAction] = []
        while True:
            tools = self._tools if len(made) < MOST_ACTIONS else ()
            turn = await self._user.speak(tuple(messages), achieved, tools, tuple(made))
            if turn.use_tool is None:
                self.actions += made
                return turn
            call = turn.use_tool
            result = await self._environment.call(call.tool, call.arguments)
            made.append(
                UserAction(message=len(messages), tool=call.tool, arguments=call.arguments, result=result.content)
            )
            self._user.observe(turn, result.content)


def past_calls(dialogue: Dialogue, start: int, end: int) -> list[PastCall]:
    """The calls that both sides made from message `start` up to `end`, in order. The agent's calls of tools that only
    the user has reached no environment."""
    of_user = {tool.name for tool in dialogue.user_tools}
    past: list[PastCall] = []
    for action in (action for action in dialogue.user_actions if start <= action.message < end):
        past += calls(dialogue.messages[start : action.message])
        past.append((action.tool, action.arguments, action.result))
        start = action.message
    past += calls(dialogue.messages[start:end])
    own = [(action.tool, action.arguments, action.result) for action in dialogue.user_actions]
    return [call for call in past if call[0] not in of_user or call in own]
