"""An OpenAI-compatible server's reply -> a completion, whatever dialect of reasoning and tool calls the server speaks."""

from __future__ import annotations

import json
from typing import Any

from core.messages import AssistantMessage, FunctionCall, ToolCall
from generation.llm.base import Completion

THINK, END_THINK = "<think>", "</think>"


def parse_completion(body: Any, seconds: float) -> Completion:
    """The first choice of a chat completion. Raises ValueError if `body` is no chat completion.

    What the model wrote stays as it wrote it: arguments that are not JSON come back verbatim, for the caller to count.
    """
    try:
        choice, usage = body["choices"][0], body.get("usage") or {}
        message = choice["message"]
        content, reasoning = _split_reasoning(message)
        calls = tuple(_tool_call(call, index) for index, call in enumerate(message.get("tool_calls") or ()))
        return Completion(
            message=AssistantMessage(content=content, reasoning_content=reasoning, tool_calls=calls or None),
            finish_reason=choice.get("finish_reason") or "stop",
            prompt_tokens=usage.get("prompt_tokens") or 0,
            completion_tokens=usage.get("completion_tokens") or 0,
            seconds=seconds,
        )
    except (LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"not a chat completion ({error!r}): {json.dumps(body)[:200]}") from None


def parse_models(body: Any, seconds: float) -> list[str]:
    """The names in a list of models. Raises ValueError if `body` is none."""
    try:
        return [str(model["id"]) for model in body["data"]]
    except (LookupError, TypeError) as error:
        raise ValueError(f"not a list of models ({error!r}): {json.dumps(body)[:200]}") from None


def _split_reasoning(message: dict[str, Any]) -> tuple[str, str | None]:
    """(what the user reads, the thinking before it). The field is `reasoning` in vLLM, `reasoning_content` in older
    servers; without a reasoning parser it stands in the content, its opening tag often left in the prompt."""
    content = message.get("content") or ""
    reasoning = message.get("reasoning") or message.get("reasoning_content")
    if not reasoning:
        before, end, after = content.partition(END_THINK)
        if end or before.lstrip().startswith(THINK):
            reasoning, content = before.lstrip().removeprefix(THINK), after
    return content.strip(), reasoning.strip() or None if reasoning else None


def _tool_call(call: dict[str, Any], index: int) -> ToolCall:
    function = call["function"]
    arguments = function.get("arguments")
    if arguments is None:
        arguments = "{}"
    elif not isinstance(arguments, str):
        arguments = json.dumps(arguments, ensure_ascii=False)
    # Harmony's channel markup leaks into names: "functions.get_member<|channel|>commentary".
    name = function["name"].partition("<|")[0].removeprefix("functions.").strip()
    return ToolCall(id=call.get("id") or f"call_{index}", function=FunctionCall(name=name, arguments=arguments))
