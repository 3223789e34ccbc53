"""The stand-in's agent in a guided task: makes the procedure's calls and tells the user to make theirs, one by one.

Sometimes it takes a problem for solved too early, as models do.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from core.dialogue import PlannedCall
from core.messages import AssistantMessage, Message, ToolCall
from generation.llm.contexts import AgentContext

_ORDER = "Have the user "
_OPENERS = ("Please {}.", "Could you {}?", "Now please {}.", "Next, {}, please.")


def answer(context: AgentContext, messages: Sequence[Message], rng: Random, error_rate: float) -> AssistantMessage:
    """The next call, instruction or closing message."""
    steps = context.task.gold_calls
    since = [message for message in messages[context.task_start :] if isinstance(message, AssistantMessage)]
    done = len(since)  # each of its messages is one step
    if done >= len(steps) or (done and rng.random() < error_rate / len(steps)):
        wish = context.task.subgoals[0]
        return _message("All steps are made.", f"Done: I have helped you to {wish}. Is there anything else?")
    step = steps[done]
    if step.actor == "agent":
        call = ToolCall.make(f"call_{len(messages)}_0", step.tool, step.arguments)
        return AssistantMessage(reasoning_content="The procedure has me call this now.", tool_calls=(call,))
    order = _order(context, step)
    return _message("Only the user can do this.", rng.choice(_OPENERS).format(order))


def _order(context: AgentContext, step: PlannedCall) -> str:
    """The step in the procedure's words, as said to the user."""
    workflow = context.policy.workflow(context.task.workflow_id) if context.policy else None
    steps = workflow.steps if workflow else ()
    texts = [candidate.text for candidate in steps if candidate.tool == step.tool]
    return texts[0].removeprefix(_ORDER).rstrip(".") if texts else step.tool.replace("_", " ")


def _message(reasoning: str, content: str) -> AssistantMessage:
    return AssistantMessage(reasoning_content=reasoning, content=content)
