"""Which of vLLM's parsers a model needs: a table of model families, told apart by the markup in their chat templates.

The same table names the parser that a server lacks, from the markup in an answer (core.server_check).
"""

from __future__ import annotations

from dataclasses import dataclass

THINKING = ("<think>", "</think>", "[THINK]", "<seed:think>", "<|channel|>", "<|channel>")
"""Markup of reasoning. A template without any of it belongs to a model that does not think."""


@dataclass(frozen=True)
class Family:
    """Models that write tool calls alike. `markup` is all in their templates; the first is what a call begins with."""

    models: str
    markup: tuple[str, ...]
    tools: str
    """vLLM's tool-call parser."""

    reasoning: str | None
    """vLLM's reasoning parser, for those that think."""

    model_types: tuple[str, ...] = ()
    """`model_type` in config.json, if other models share the markup; empty: any."""


FAMILIES = (
    Family("GPT-OSS", ("<|channel|>",), "openai", "openai_gptoss"),
    Family("DeepSeek R1, V3", ("<｜tool▁calls▁begin｜>", "```json"), "deepseek_v3", "deepseek_r1"),
    Family("DeepSeek V3.1", ("<｜tool▁calls▁begin｜>",), "deepseek_v31", "deepseek_v3"),
    Family("Kimi K2", ("<|tool_calls_section_begin|>",), "kimi_k2", "kimi_k2"),
    Family("Kimi K2", ("<|im_middle|>",), "kimi_k2", "kimi_k2"),
    Family("MiniMax M2", ("<minimax:tool_call>",), "minimax_m2", "minimax_m2"),
    Family("Seed-OSS", ("<seed:tool_call>",), "seed_oss", "seed_oss"),
    Family("Gemma 4", ("<|tool_call>",), "gemma4", "gemma4"),
    Family("LFM2", ("<|tool_call_start|>",), "lfm2", "qwen3"),
    Family("Mistral, Magistral", ("[TOOL_CALLS]",), "mistral", "mistral"),
    Family("Llama 3.1 to 3.3", ("<|python_tag|>",), "llama3_json", None),
    Family("Llama 3.1 to 3.3", ("Environment: ipython",), "llama3_json", None),
    Family("GLM 4.5 and later", ("<tool_call>", "<arg_key>"), "glm45", "glm45"),
    Family("Nemotron 3", ("<tool_call>", "<function="), "qwen3_coder", "nemotron_v3", ("nemotron_h",)),
    Family("Qwen3-Coder, Qwen3.5 and later", ("<function=",), "qwen3_coder", "qwen3"),
    Family("Qwen2.5, Qwen3, Hermes, and models fine-tuned here", ("<tool_call>",), "hermes", "qwen3"),
)
"""The first family whose markup a template contains decides."""


@dataclass(frozen=True)
class Parsers:
    """Names of vLLM's parsers; None: the model needs none, or none is known for it."""

    reasoning: str | None
    tools: str | None


def family_of(text: str, model_type: str = "") -> Family | None:
    """Return the family to whose markup a template or an answer belongs."""
    return next(
        (
            family
            for family in FAMILIES
            if all(mark in text for mark in family.markup)
            and (not family.model_types or model_type in family.model_types)
        ),
        None,
    )


def parsers_for(template: str, model_type: str = "") -> Parsers:
    """Return the parsers for a model with this chat template."""
    family = family_of(template, model_type)
    thinks = any(mark in template for mark in THINKING)
    if family is None:
        return Parsers(_reasoning_without_tools(template) if thinks else None, None)
    return Parsers(family.reasoning if thinks else None, family.tools)


def _reasoning_without_tools(template: str) -> str:
    if "<｜Assistant｜>" in template:
        return "deepseek_r1"
    return "mistral" if "[THINK]" in template else "qwen3"
