"""The chat format of models that bring none for tools: Qwen3-Thinking's, as a template and its special tokens."""

from __future__ import annotations

from pathlib import Path

TEMPLATE = Path(__file__).with_name("template.jinja")

CONTROL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
"""Never part of a decoded answer."""

MARKUP_TOKENS = ("<think>", "</think>", "<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>")
"""One token each, but part of the answer's text: servers parse reasoning and tool calls from it."""
