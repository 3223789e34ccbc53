"""Exported tasks as a task of inspect (inspect_ai): its model is the agent, and the score is the verdict by execution.

    inspect eval outputs/export/RUN/inspect/tasks.py -T epochs=4 --model openai/… --model-role user=openai/…

Without a model in the role `user` the scripted stand-in plays the users.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

from inspect_ai import Epochs, Task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import (
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageTool,
    ChatMessageUser,
    ContentReasoning,
    ContentText,
    Model,
    get_model,
    model_roles,
)
from inspect_ai.scorer import Score, Scorer, Target, accuracy, scorer, stderr
from inspect_ai.solver import Generate, Solver, TaskState, solver
from inspect_ai.tool import ToolCall as InspectCall
from inspect_ai.tool import ToolInfo, ToolParams

from core.messages import (
    AssistantMessage,
    ContractError,
    FunctionCall,
    Message,
    SystemMessage,
    ToolCall,
    ToolMessage,
    ToolSpec,
    UserMessage,
)
from generation.worlds.worlds import OutsideModel, Worlds

_VERDICT = "verdict"
"""Key of a sample's store."""


def world_task(folder: Path, epochs: int = 1) -> Task:
    """The tasks of a folder of worlds, each played `epochs` times; the reducers are the mean (Pass@1) and Pass^k for
    k = 1, 2, 4, … up to `epochs`. Samples show neither goals nor solutions."""
    worlds = Worlds.open(folder)
    samples = [
        Sample(id=task_id, input="The user opens the conversation.", metadata=line.summary)
        for task_id, line in worlds.tasks.items()
    ]
    powers = [2**power for power in range(epochs.bit_length()) if 2**power <= epochs]
    return Task(
        dataset=MemoryDataset(samples, name=folder.resolve().parent.name),
        solver=play(worlds),
        scorer=proof(),
        epochs=Epochs(epochs, ["mean", *(f"pass_k_{power}" for power in powers)]),
    )


@solver
def play(worlds: Worlds) -> Solver:
    """Plays the task of a sample; the messages of its state become the dialogue's."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        start = worlds.tasks[str(state.sample_id)].start
        agent = OutsideModel(str(state.model), partial(answer, get_model()))
        role = model_roles().get("user")
        simulator = role[0] if isinstance(role, list) else role
        user = OutsideModel("user", partial(answer, simulator)) if simulator else None
        played = await worlds.play(start, agent, user, repetition=state.epoch - 1)
        if played.failure:
            raise RuntimeError(f"the task could not be played: {played.failure}")
        state.messages = [_chat_message(message) for message in played.dialogue.messages]
        state.store.set(_VERDICT, {"reward": played.reward, "reasons": list(played.reasons)})
        return state

    return solve


@scorer(metrics=[accuracy(), stderr()])
def proof() -> Scorer:
    """1 if state, told values, conduct and policy are right, else 0; the explanation says what failed."""

    async def score(state: TaskState, target: Target) -> Score:
        verdict: dict[str, Any] = state.store.get(_VERDICT)
        return Score(value=verdict["reward"], explanation="\n".join(verdict["reasons"]) or "all checks passed")

    return score


async def answer(model: Model, messages: tuple[Message, ...], tools: tuple[ToolSpec, ...]) -> AssistantMessage:
    """The next message of an inspect model."""
    output = await model.generate([_chat_message(message) for message in messages], [_tool_info(t) for t in tools])
    message = output.message
    reasoning = [] if isinstance(message.content, str) else message.content
    thoughts = "\n".join(part.reasoning for part in reasoning if isinstance(part, ContentReasoning))
    calls = tuple(ToolCall(id=call.id, function=_function(call)) for call in message.tool_calls or ())
    return AssistantMessage(content=message.text, reasoning_content=thoughts or None, tool_calls=calls or None)


def _function(call: InspectCall) -> FunctionCall:
    """Arguments that inspect could not parse stay unreadable."""
    arguments = call.parse_error or json.dumps(call.arguments, ensure_ascii=False)
    return FunctionCall(name=call.function, arguments=arguments)


def _chat_message(message: Message) -> ChatMessage:
    match message:
        case SystemMessage():
            return ChatMessageSystem(content=message.content)
        case UserMessage():
            return ChatMessageUser(content=message.content)
        case ToolMessage():
            return ChatMessageTool(content=message.content, tool_call_id=message.tool_call_id)
        case AssistantMessage():
            thoughts = [ContentReasoning(reasoning=message.reasoning_content)] if message.reasoning_content else []
            calls = [_inspect_call(call) for call in message.tool_calls or ()]
            content = [*thoughts, ContentText(text=message.content)] if thoughts else message.content
            return ChatMessageAssistant(content=content, tool_calls=calls or None)


def _inspect_call(call: ToolCall) -> InspectCall:
    try:
        return InspectCall(id=call.id, function=call.name, arguments=call.parsed())
    except ContractError as error:
        return InspectCall(id=call.id, function=call.name, arguments={}, parse_error=str(error))


def _tool_info(tool: ToolSpec) -> ToolInfo:
    parameters = ToolParams.model_validate(tool.parameters)
    return ToolInfo(name=tool.name, description=tool.description, parameters=parameters)
