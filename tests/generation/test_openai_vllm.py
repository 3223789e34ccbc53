"""The client against a real vLLM engine on this machine, serving a tiny Qwen3 of random weights through core.serving."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest

from core.dialogue import Rubric, Task
from core.messages import AssistantMessage, SystemMessage, ToolCall, ToolMessage, ToolSpec, UserMessage
from core.serving import EngineSettings, probe, serve
from generation.llm.base import AgentContext, Completion, Request, Role
from generation.llm.openai import OpenAILLM
from generation.llm.scripted import ScriptedLLM
from generation.seeds.bundled import BundledSeeds
from generation.stages import Tools
from generation.toolsets import from_seed, prepare

pytestmark = pytest.mark.slow

TASK = Task(task_id="t", goal="g", subgoals=("g",), difficulty="easy", rubric=Rubric(criteria=("c",)))
FLAG = {
    "type": "object",
    "properties": {"done": {"type": "boolean"}},
    "required": ["done"],
    "additionalProperties": False,
}
TOOL = ToolSpec(name="set_flag", description="Set the flag.", parameters=FLAG)
REQUEST = Request(
    role="agent",
    messages=(SystemMessage(content="Help."), UserMessage(content="Hello there.")),
    key="d1/agent/0",
    affinity="d1",
    context=AgentContext(task=TASK, task_start=1),
)


@pytest.fixture(scope="module")
def base_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("engine")
    settings = EngineSettings(
        device="cpu", max_model_len=4096, max_num_seqs=16, cpu_cache_gib=1, tool_call_parser="hermes"
    )
    model = folder / "model"
    subprocess.run([sys.executable, str(Path(__file__).with_name("tiny_qwen3.py")), str(model)], check=True)
    with serve(model, settings, folder / "logs", name="tiny") as (url,):
        yield url


def ask(base_url: str, *requests: Request, **options: Any) -> list[Completion]:
    async def all_at_once() -> list[Completion]:
        llm = OpenAILLM([base_url], sampling={"max_tokens": 16} | options.pop("sampling", {}), **options)
        try:
            return await asyncio.gather(*(llm.complete(request) for request in requests))
        finally:
            await llm.close()

    return asyncio.run(all_at_once())


def test_equal_keys_give_equal_answers_whatever_runs_beside_them(base_url: str) -> None:
    assert probe(base_url) == ("tiny",)
    requests = [replace(REQUEST, key=f"d{i}/agent/0") for i in range(6)]
    together = ask(base_url, *requests)
    alone = [ask(base_url, request)[0] for request in requests[::-1]][::-1]
    assert [c.message for c in together] == [c.message for c in alone]
    assert len({c.message.content for c in together}) > 1, "different keys are sampled differently"
    assert all(0 < c.completion_tokens <= 16 < c.prompt_tokens for c in together)


def test_schemas_and_required_tools_hold_even_for_random_weights(base_url: str) -> None:
    (answer,) = ask(base_url, replace(REQUEST, role="judge", json_schema=FLAG), sampling={"max_tokens": 200})
    assert isinstance(json.loads(answer.message.content)["done"], bool)
    options = {"extra_body": {"tool_choice": "required"}, "strict_tools": True, "sampling": {"max_tokens": 200}}
    (called,) = ask(base_url, replace(REQUEST, tools=(TOOL,)), **options)
    assert called.message.tool_calls
    assert called.message.tool_calls[0].name == "set_flag"
    assert TOOL.argument_error(called.message.tool_calls[0].parsed()) is None


def test_a_history_with_reasoning_and_broken_calls_is_accepted(base_url: str) -> None:
    broken = ToolCall.make("c1", "set_flag", {}).model_copy(
        update={"function": ToolCall.make("c1", "set_flag", {}).function.model_copy(update={"arguments": '{"done": '})}
    )
    history = (
        *REQUEST.messages,
        AssistantMessage(reasoning_content="I think about it for a while.", tool_calls=(broken,)),
        ToolMessage(tool_call_id="c1", content='{"error": "not JSON"}'),
    )
    without = (*history[:2], history[2].model_copy(update={"reasoning_content": None}), history[3])
    longer, shorter = ask(base_url, replace(REQUEST, messages=history), replace(REQUEST, messages=without))
    assert longer.prompt_tokens > shorter.prompt_tokens, "the template saw the reasoning"


def test_a_prompt_beyond_the_context_is_length(base_url: str) -> None:
    (completion,) = ask(base_url, replace(REQUEST, messages=(UserMessage(content="Hello there. " * 2000),)))
    assert (completion.finish_reason, completion.message.content) == ("length", "")


def test_a_generation_with_random_weights_ends_in_rejections_that_name_a_role(base_url: str, tmp_path: Path) -> None:
    seeds = BundledSeeds(tmp_path / "seeds", ["library"]).load()
    toolsets = tmp_path / "toolsets.jsonl"
    origins, stage = [from_seed(seed) for seed in seeds], Tools(max_tools=4, attempts=1, questions=0, expansion=0)
    asyncio.run(prepare(origins, [stage], ScriptedLLM(), toolsets, 1, lambda _: None))
    given = {"seeds.domains": "[library]", "seeds.cache": tmp_path / "seeds", "toolsets": toolsets, "outputs": tmp_path}
    model = {"llm": "vllm", "llm.base_urls": f"[{base_url}]", "llm.sampling.max_tokens": 48, "llm.retries": 0}
    words = [f"{key}={value}" for key, value in {**given, **model, "n": 4, "tracking.mode": "disabled"}.items()]
    subprocess.run([sys.executable, "-m", "scripts.generate", *words], check=True, timeout=300)
    for pipeline in ("task_oriented", "user_oriented", "user_oriented_exec"):
        folder = tmp_path / "generate" / "latest" / pipeline
        figures = json.loads((folder / "statistics.json").read_text())
        assert (figures["started"], figures["accepted"], figures["rejected"], figures["failed"]) == (4, 0, 4, 0)
        reasons = [json.loads(line)["reasons"] for line in (folder / "rejected.jsonl").read_text().splitlines()]
        assert all(any(role in reason for role in get_args(Role)) for found in reasons for reason in found)
        assert all(reasons)
