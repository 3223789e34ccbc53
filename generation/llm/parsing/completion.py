"""Parses an OpenAI-compatible server's reply into a completion, whatever its dialect of reasoning and tool calls."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from core.messages import AssistantMessage, FunctionCall, ToolCall, ToolSpec
from core.server_protocol import token_counts
from generation.llm.base import Completion
from generation.llm.parsing.dialects import harmony, written_calls
from generation.llm.parsing.json_text import first_json

REPAIRED, UNCLOSED = "repaired", "unclosed"
_THINKING = (("<think>", "</think>"), ("[THINK]", "[/THINK]"))
_EMPTY_THINKING = re.compile(r"\s*(?:<think>\s*)?</think>")


def parse_completion(body: Any, seconds: float, tools: Sequence[ToolSpec] = ()) -> Completion:
    """The first choice of a chat completion that answers a request with `tools`.

    Parses what the server left in the text: thinking, harmony's channels and, if the request had `tools`, tool calls.
    `flaws` contains "repaired" if something had to be fixed (markup, names, arguments that were almost JSON), and
    "unclosed" if the thinking never ended, so that everything is thinking and the answer is empty. Arguments beyond
    repair stay as written.

    Raises ValueError if `body` is not a chat completion.
    """
    try:
        choice = body["choices"][0]
        prompt_tokens, completion_tokens = token_counts(body)
        parsed = _MessageParser(choice["message"], tools)
        return Completion(
            message=AssistantMessage(
                content=parsed.content.strip(),
                reasoning_content=parsed.reasoning.strip() or None,
                tool_calls=tuple(parsed.calls) or None,
            ),
            finish_reason=choice.get("finish_reason") or "stop",
            prompt_tokens=prompt_tokens,
            completion_tokens=completion_tokens,
            cached_tokens=_cached_tokens(body),
            flaws=tuple(dict.fromkeys(parsed.flaws)),
            seconds=seconds,
        )
    except (LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"not a chat completion ({error!r}): {json.dumps(body)[:200]}") from None


def _cached_tokens(body: dict[str, Any]) -> int:
    """Tokens of the prompt in the server's cache; servers that found none leave the details out."""
    details = (body.get("usage") or {}).get("prompt_tokens_details") or {}
    return details.get("cached_tokens") or 0


def parse_models(body: Any, seconds: float) -> dict[str, int | None]:
    """The served models: name -> context in tokens, None if the server does not say (vLLM does). Raises ValueError if
    `body` is not a list of models."""
    try:
        return {str(model["id"]): model.get("max_model_len") for model in body["data"]}
    except (LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"not a list of models ({error!r}): {json.dumps(body)[:200]}") from None


class _MessageParser:
    """Parses a message of the wire format step by step: what the server parsed, then what it left in the content."""

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
        self._split_channels()
        self._split_thinking()
        if tools and not self.calls:
            self._extract_written_calls()

    def _add(self, name: str, arguments: Any, call_id: str | None = None) -> None:
        function = FunctionCall(name=self._name(name), arguments=self._arguments(arguments))
        self.calls.append(ToolCall(id=call_id or f"call_{len(self.calls)}", function=function))

    def _name(self, name: str) -> str:
        """The name without harmony's namespace and markup, which leak into it:
        "functions.get_member<|channel|>commentary"."""
        plain = name.partition("<|")[0].strip().removeprefix("functions.")
        last = re.split(r"[.:/]", plain)[-1]
        plain = last if plain not in self.declared and last in self.declared else plain
        if plain != name:
            self.flaws.append(REPAIRED)
        return plain

    def _arguments(self, arguments: Any) -> str:
        """The arguments as the text of a JSON object, unchanged if they are one or cannot be repaired."""
        if not isinstance(arguments, str):
            return json.dumps({} if arguments is None else arguments, ensure_ascii=False)
        if not arguments.strip():
            return "{}"
        try:
            value = json.loads(arguments)
            if isinstance(value, dict):
                return arguments
            repaired = first_json(value, dict, partial=False) if isinstance(value, str) else None  # encoded twice
        except RecursionError:
            return arguments
        except ValueError:
            repaired = self._repaired_object(arguments)
        if repaired is None:
            return arguments
        self.flaws.append(REPAIRED)
        return json.dumps(repaired, ensure_ascii=False)

    def _repaired_object(self, text: str) -> dict[str, Any] | None:
        try:
            return dict(first_json(text, dict, partial=False))
        except ValueError:
            return None

    def _split_channels(self) -> None:
        """Split harmony's channels, where the server left them in the content."""
        channels = harmony(self.content)
        if channels is None:
            return
        self.flaws.append(REPAIRED)
        self.reasoning = "\n\n".join(filter(None, (self.reasoning.strip(), *channels.reasoning)))
        self.content = "\n\n".join(channels.content)
        for recipient, body in channels.calls:
            if self.tools:
                self._add(recipient, body)
            else:  # without tools this is the answer, sent to a wrong recipient
                self.content = f"{self.content}\n\n{body}".strip()
        if not self.content and not self.calls:
            self.flaws.append(UNCLOSED)

    def _split_thinking(self) -> None:
        """Split thinking from the content, where the server has no parser for it; the prompt often holds the opening
        tag."""
        if self.reasoning:
            if empty := _EMPTY_THINKING.match(self.content):
                self.content = self.content[empty.end() :]
            return
        for opening, closing in _THINKING:
            before, closed, after = self.content.partition(closing)
            text, opened, thinking = before.partition(opening)
            if closed:
                self.reasoning = thinking if opened else text
                self.content = f"{text}\n{after}" if opened else after
            elif opened and not text.strip():
                self.reasoning, self.content = thinking, ""
                self.flaws.append(UNCLOSED)

    def _extract_written_calls(self) -> None:
        """Extract calls written in the markup of the model's family, where the server has no parser or its parser
        failed."""
        self.content, calls = written_calls(self.content, self.tools)
        if not self.content and not calls:
            # Qwen3 sometimes calls a tool without closing its thinking, which then ends with the call.
            thinking, final_calls = written_calls(self.reasoning, self.tools)
            if final_calls and self.reasoning.strip().startswith(thinking):
                self.reasoning, calls = thinking, final_calls
                self.flaws.append(UNCLOSED)
        for call in calls:
            self._add(call.name, call.arguments)
        if calls:
            self.flaws.append(REPAIRED)


def _text(content: Any) -> str:
    """The text of content, which is a string or a list of parts."""
    if isinstance(content, list):
        return "".join(part.get("text") or "" for part in content)
    return content or ""
