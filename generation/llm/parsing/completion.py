"""An OpenAI-compatible server's reply -> a completion, whatever dialect of reasoning and tool calls the server speaks."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from core.messages import AssistantMessage, FunctionCall, ToolCall, ToolSpec
from generation.llm.base import Completion
from generation.llm.parsing.dialects import harmony, written_calls
from generation.llm.parsing.json_text import first_json

REPAIRED, UNCLOSED = "repaired", "unclosed"
_THINKING = (("<think>", "</think>"), ("[THINK]", "[/THINK]"))
_EMPTY_THINKING = re.compile(r"\s*(?:<think>\s*)?</think>")


def parse_completion(body: Any, seconds: float, tools: Sequence[ToolSpec] = ()) -> Completion:
    """The first choice of a chat completion in answer to a request with `tools`. Raises ValueError if `body` is none.

    What the server left in the text is parsed here: thinking, harmony's channels and, if there were `tools`, calls. `flaws`
    says whether something had to be "repaired" (markup, names, arguments that were nearly JSON) and whether the thinking was
    "unclosed": then all is thinking, and there is no answer. Arguments that cannot be repaired stay as the model wrote them.
    """
    try:
        choice, usage = body["choices"][0], body.get("usage") or {}
        parsed = _Reply(choice["message"], tools)
        return Completion(
            message=AssistantMessage(
                content=parsed.content.strip(),
                reasoning_content=parsed.reasoning.strip() or None,
                tool_calls=tuple(parsed.calls) or None,
            ),
            finish_reason=choice.get("finish_reason") or "stop",
            prompt_tokens=usage.get("prompt_tokens") or 0,
            completion_tokens=usage.get("completion_tokens") or 0,
            cached_tokens=(usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0,
            flaws=tuple(dict.fromkeys(parsed.flaws)),
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


class _Reply:
    """A message of the wire, read step by step: what the server parsed, then what it left in the content."""

    def __init__(self, message: dict[str, Any], tools: Sequence[ToolSpec]) -> None:
        self.tools = tools
        self.declared = {tool.name for tool in tools}
        self.flaws: list[str] = []
        self.content = _text(message.get("content"))
        # The field is `reasoning` in vLLM, `reasoning_content` in older servers.
        self.reasoning = _text(message.get("reasoning") or message.get("reasoning_content"))
        self.calls: list[ToolCall] = []
        for call in message.get("tool_calls") or ():
            self._add(call["function"]["name"], call["function"].get("arguments"), call.get("id"))
        self._part_channels()
        self._part_thinking()
        if tools and not self.calls:
            self._take_written_calls()

    def _add(self, name: str, arguments: Any, call_id: str | None = None) -> None:
        plain = self._name(name)
        text = self._arguments(arguments)
        call_id = call_id or f"call_{len(self.calls)}"
        self.calls.append(ToolCall(id=call_id, function=FunctionCall(name=plain, arguments=text)))

    def _name(self, name: str) -> str:
        """Harmony's namespace and markup leak into names: "functions.get_member<|channel|>commentary"."""
        plain = name.partition("<|")[0].strip().removeprefix("functions.")
        last = re.split(r"[.:/]", plain)[-1]
        plain = last if plain not in self.declared and last in self.declared else plain
        if plain != name:
            self.flaws.append(REPAIRED)
        return plain

    def _arguments(self, arguments: Any) -> str:
        """A JSON object as text, as it was written if it is one."""
        if not isinstance(arguments, str):
            return json.dumps({} if arguments is None else arguments, ensure_ascii=False)
        if not arguments.strip():
            return "{}"
        try:
            value = json.loads(arguments)
            if isinstance(value, dict):
                return arguments
            mended = first_json(value, dict, partial=False) if isinstance(value, str) else None  # encoded twice
        except RecursionError:
            return arguments
        except ValueError:
            mended = self._first(arguments)
        if mended is None:
            return arguments
        self.flaws.append(REPAIRED)
        return json.dumps(mended, ensure_ascii=False)

    def _first(self, text: str) -> dict[str, Any] | None:
        try:
            return dict(first_json(text, dict, partial=False))
        except ValueError:
            return None

    def _part_channels(self) -> None:
        """Harmony's channels, where the server left them in the content."""
        spoken = harmony(self.content)
        if spoken is None:
            return
        self.flaws.append(REPAIRED)
        self.reasoning = "\n\n".join(filter(None, (self.reasoning.strip(), *spoken.reasoning)))
        self.content = "\n\n".join(spoken.content)
        for recipient, body in spoken.calls:
            if self.tools:
                self._add(recipient, body)
            else:  # who was offered no tools has addressed his answer wrongly
                self.content = f"{self.content}\n\n{body}".strip()
        if not self.content and not self.calls:
            self.flaws.append(UNCLOSED)

    def _part_thinking(self) -> None:
        """Thinking in the content, where the server has no parser for it; its opening tag is often left in the prompt."""
        if self.reasoning:
            if found := _EMPTY_THINKING.match(self.content):
                self.content = self.content[found.end() :]
            return
        for opening, closing in _THINKING:
            before, closed, after = self.content.partition(closing)
            words, opened, thinking = before.partition(opening)
            if closed:
                self.reasoning = thinking if opened else words
                self.content = f"{words}\n{after}" if opened else after
            elif opened and not words.strip():
                self.reasoning, self.content = thinking, ""
                self.flaws.append(UNCLOSED)

    def _take_written_calls(self) -> None:
        """Calls in the markup of the model's family, where the server has no parser for it or its parser gave up."""
        self.content, calls = written_calls(self.content, self.tools)
        if not self.content and not calls:
            # Qwen3 sometimes calls without having closed its thinking, which then ends with the call.
            words, late = written_calls(self.reasoning, self.tools)
            if late and self.reasoning.strip().startswith(words):
                self.reasoning, calls = words, late
                self.flaws.append(UNCLOSED)
        for call in calls:
            self._add(call.name, call.arguments)
        if calls:
            self.flaws.append(REPAIRED)


def _text(content: Any) -> str:
    """Content is text, or a list of parts with text in them."""
    if isinstance(content, list):
        return "".join(part.get("text") or "" for part in content)
    return content or ""
