"""The agent: the generation model, answering with text or tool calls as any OpenAI-compatible model does."""

from __future__ import annotations

from pydantic_core import PydanticSerializationError

from core.dialogue import Task
from core.messages import AssistantMessage, Message, SystemMessage, ToolCall, ToolSpec
from core.policy import Policy
from generation.dialogue.scenario import Style
from generation.llm.base import Completion, Request
from generation.llm.contexts import AgentContext
from generation.llm.meter import Meter
from generation.llm.parsing.dialects import markup
from generation.llm.parsing.text_calls import text_call
from generation.prompts import render
from generation.prompts.scene import Scene

_PROMPTS: dict[Style, str] = {"full": "agent", "brief": "agent_brief", "rules_first": "agent_rules_first"}


def agent_system_message(
    scene: Scene, style: Style = "full", policy: Policy | None = None, multilingual: bool = False
) -> SystemMessage | None:
    """The system message of a dialogue; None for style "none", unless there is a policy to tell. If users are
    `multilingual`, it says to answer in their language."""
    if style == "none" and policy is None:
        return None
    prompt = _PROMPTS.get(style, "agent")
    text = render(prompt, scene=scene, policy=policy.shown if policy else "", multilingual=multilingual)
    return SystemMessage(content=text)


class Agent:
    """The assistant of one dialogue. Counts its requests, so that each has a unique key."""

    def __init__(
        self,
        meter: Meter,
        dialogue_id: str,
        attempts: int,
        require_valid_calls: bool = True,
    ) -> None:
        self.meter = meter
        self.dialogue_id = dialogue_id
        self.attempts = attempts
        self.require_valid_calls = require_valid_calls
        self._count = 0

    async def respond(
        self,
        messages: tuple[Message, ...],
        tools: tuple[ToolSpec, ...],
        task: Task,
        task_start: int,
        policy: Policy | None = None,
    ) -> AssistantMessage:
        """The next assistant message when `tools` are offered, with call ids that are unique within the dialogue.

        An unusable answer, and with `require_valid_calls` one that breaks the message contract
        (core.messages.check_transcript), is requested again, up to `attempts` times: with the same messages and another
        seed, since a complaint must not become part of training data. Raises UnusableAnswerError after the last
        attempt, and LLMError.
        """

        def request(attempt: int) -> Request:
            self._count += 1
            return Request(
                role="agent",
                messages=messages,
                key=f"{self.dialogue_id}/agent/{self._count - 1}",
                affinity=self.dialogue_id,
                context=AgentContext(task=task, task_start=task_start, policy=policy),
                tools=tools,
            )

        async def read(completion: Completion) -> AssistantMessage:
            check_answer(completion, tools, self.require_valid_calls)
            message = completion.message
            # By position and not by count: a resumed or forked dialogue continues with ids that it has not used.
            calls = tuple(
                call.model_copy(update={"id": f"call_{len(messages)}_{position}"})
                for position, call in enumerate(message.tool_calls or ())
            )
            return message.model_copy(update={"tool_calls": calls or None})

        return await self.meter.request(request, read, self.attempts, repair=False)


def check_answer(completion: Completion, tools: tuple[ToolSpec, ...], require_valid_calls: bool = True) -> None:
    """Raise ValueError with the reason if no dialogue may contain an agent's answer: it is empty, cannot be encoded,
    shows markup, a call or bare JSON to the user or, with `require_valid_calls`, a call does not fit `tools`."""
    message = completion.message
    if not message.tool_calls and not message.content.strip():
        raise ValueError("the answer is empty")
    try:
        message.model_dump_json()
    except PydanticSerializationError as error:  # a lone surrogate, which UTF-8 cannot encode
        raise ValueError(f"the answer is not text: {error}") from None
    if found := markup(message.content):
        raise ValueError(f"the answer shows the markup {found}")
    if found := text_call(message.content, tools):
        raise ValueError(f"the answer {found}")
    for call in message.tool_calls or () if require_valid_calls else ():
        _check_call(call, tools)


def _check_call(call: ToolCall, tools: tuple[ToolSpec, ...]) -> None:
    tool = next((tool for tool in tools if tool.name == call.name), None)
    if tool is None:
        raise ValueError(f"the answer calls {call.name!r}, which is not a tool")
    if problem := tool.argument_error(call.parsed()):
        raise ValueError(f"the answer's arguments of {call.name} do not fit: {problem}")
