"""The table of parsers, against excerpts of published chat templates and the parsers that vLLM has."""

from __future__ import annotations

import pytest

from core.parsers import FAMILIES, Parsers, parsers_for
from tests.helpers.paths import ROOT

HERMES = r"""
    {{- "\n<tool_call>\n{\"name\": <function-name>, \"arguments\": <args-json-object>}\n</tool_call><|im_end|>\n" }}
"""
QWEN_XML = r"""
    {{- "<tool_call>\n<function=example_function_name>\n<parameter=example_parameter_1>\nvalue_1\n</parameter>" }}
"""
QWEN_THINKING = r"{%- set content = content.split('</think>')[-1] %}{{- '<|im_start|>assistant\n<think>\n' }}"
DEEPSEEK_R1 = (
    "{{'<｜Assistant｜><｜tool▁calls▁begin｜><｜tool▁call▁begin｜>' + tool['type'] + '<｜tool▁sep｜>' + "
    r"tool['function']['name'] + '\n' + '```json' + '\n' + tool['function']['arguments']}}"
    r"{% if add_generation_prompt %}{{'<｜Assistant｜><think>\n'}}{% endif %}"
)
DEEPSEEK_V31 = (
    "{{'<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>'+ tool['function']['name'] + '<｜tool▁sep｜>'}}"
    "{%- if not thinking -%}{{'</think>'}}{%- else -%}{{'<think>'}}{%- endif -%}"
)
NEMOTRON_SUPER = "{{- '<TOOLCALL>[' -}}{%- if not enable_thinking -%}{{- '<think>\n\n</think>\n\n' -}}{%- endif -%}"

PUBLISHED = {
    "Qwen2.5 and Qwen3-Instruct-2507": (HERMES, "qwen2", None, "hermes"),
    "Qwen3-Thinking-2507": (QWEN_THINKING + HERMES, "qwen3", "qwen3", "hermes"),
    "Qwen3-Coder": (QWEN_XML, "qwen3_moe", None, "qwen3_coder"),
    "Qwen3.5": (QWEN_THINKING + QWEN_XML, "qwen3_5", "qwen3", "qwen3_coder"),
    "Nemotron 3": (QWEN_THINKING + QWEN_XML, "nemotron_h", "nemotron_v3", "qwen3_coder"),
    "GPT-OSS": ('"<|start|>assistant<|channel|>analysis<|message|>"', "gpt_oss", "openai_gptoss", "openai"),
    "Llama 3.1": ('{{- "<|python_tag|>" + tool_call.name + ".call(" }}', "llama", None, "llama3_json"),
    "Llama 3.2": (r'{{- "Environment: ipython\n" }}', "llama", None, "llama3_json"),
    "Mistral Small": ('{{- "[TOOL_CALLS]" }}', "mistral3", None, "mistral"),
    "Magistral": ('{{- "[TOOL_CALLS]" }}{{- "[THINK]" + block.thinking + "[/THINK]" }}', "mistral", *["mistral"] * 2),
    "DeepSeek R1": (DEEPSEEK_R1, "deepseek_v3", "deepseek_r1", "deepseek_v3"),
    "DeepSeek V3.1": (DEEPSEEK_V31, "deepseek_v3", "deepseek_v3", "deepseek_v31"),
    "GLM 4.5": ("<tool_call>{function-name}\n<arg_key>{arg-key-1}</arg_key></think>", "glm4_moe", "glm45", "glm45"),
    "Nemotron Super, whose calls vLLM does not know": (NEMOTRON_SUPER, "nemotron-nas", "qwen3", None),
    "a model without tools": (r"{{- '<|im_start|>' + message.role + '\n' + message.content }}", "llama", None, None),
    "a base model": ("", "llama", None, None),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_models_get_their_parsers(name: str) -> None:
    template, model_type, reasoning, tools = PUBLISHED[name]
    assert parsers_for(template, model_type) == Parsers(reasoning, tools)


def test_the_models_built_here_get_the_parsers_of_qwen3() -> None:
    template = (ROOT / "training/template.jinja").read_text()
    assert parsers_for(template, "qwen3") == parsers_for(template, "llama") == Parsers("qwen3", "hermes")


def test_vllm_has_every_parser() -> None:
    reasoning = pytest.importorskip("vllm.reasoning").ReasoningParserManager.list_registered()
    tools = pytest.importorskip("vllm.tool_parsers").ToolParserManager.list_registered()
    assert {family.tools for family in FAMILIES} <= set(tools)
    used = {family.reasoning for family in FAMILIES if family.reasoning} | {"deepseek_r1", "mistral", "qwen3"}
    assert used <= set(reasoning)
