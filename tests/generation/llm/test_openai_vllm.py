"""The client, every stage, start state and pipeline against a real local vLLM engine: a tiny Qwen3 with random
weights."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from core.dialogue import Rubric, Task
from core.journal import read_jsonl
from core.messages import AssistantMessage, SystemMessage, ToolCall, ToolMessage, ToolSpec, UserMessage
from core.server_check import check_server
from core.servers import probe
from core.serving import EngineSettings, serve
from core.settings import UserError
from generation.llm.base import LLM, Completion, Request, Role
from generation.llm.contexts import AgentContext
from generation.llm.openai import OpenAILLM
from generation.metrics.statistics import Statistics
from generation.pipeline import DomainTools
from generation.runner import Rejection
from generation.scripted.llm import ScriptedLLM
from generation.seeds.tools import ToolSeeds
from generation.stages import Schemas, Tools
from generation.tools.toolset import Toolset
from generation.toolset_runner import run_toolset_stages, source_from_seed
from tests.generation.helpers.command_line_runs import CASES, ROOMS, FinishedCommand, prepare_inputs, run_all
from tests.generation.helpers.pipeline_runs import pipeline_of, run_local
from tests.helpers.paths import ROOT

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


@dataclass(frozen=True)
class Engine:
    """A running engine. `logit_bias` favours the tokens that end a text, a string, a list and an object, so that some
    answers of the random weights are complete rather than cut off."""

    url: str
    logit_bias: dict[str, float]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    folder = tmp_path_factory.mktemp("engine")
    settings = EngineSettings(
        device="cpu", max_num_seqs=32, cpu_cache_gib=1, reasoning_parser=None, tool_call_parser="hermes"
    )
    model = folder / "model"
    subprocess.run([sys.executable, str(ROOT / "tests/generation/helpers/tiny_qwen3.py"), str(model)], check=True)
    tokens = json.loads((model / "tokenizer.json").read_text())
    ids = tokens["model"]["vocab"] | {token["content"]: token["id"] for token in tokens["added_tokens"]}
    ends = {"<|im_end|>": 4.0, '"': 5.0, "]": 4.0, "}": 4.0}
    with serve(model, settings, folder / "logs", name="tiny") as (url,):
        yield Engine(url, {str(ids[text]): bias for text, bias in ends.items()})


@pytest.fixture(scope="module")
def base_url(engine: Engine) -> str:
    return engine.url


def complete(base_url: str, *requests: Request, **options: Any) -> list[Completion]:
    async def all_at_once() -> list[Completion]:
        llm = OpenAILLM([base_url], sampling={"max_tokens": 16} | options.pop("sampling", {}), **options)
        try:
            return await asyncio.gather(*(llm.complete(request) for request in requests))
        finally:
            await llm.close()

    return asyncio.run(all_at_once())


def test_equal_keys_give_equal_answers_whatever_runs_alongside(base_url: str) -> None:
    assert probe(base_url) == ("tiny",)
    requests = [replace(REQUEST, key=f"d{i}/agent/0") for i in range(6)]
    together = complete(base_url, *requests)
    alone = [complete(base_url, request)[0] for request in requests[::-1]][::-1]
    assert [c.message for c in together] == [c.message for c in alone]
    assert len({c.message.content for c in together}) > 1, "different keys are sampled differently"
    assert all(0 < c.completion_tokens <= 16 < c.prompt_tokens for c in together)


def test_the_check_of_servers_tells_untrained_models_from_wrong_parsers(base_url: str) -> None:
    def check(text: str | None) -> tuple[str, ...]:
        regex = {"structured_outputs": {"regex": re.escape(text)}} if text else {}
        return check_server(base_url, "tiny", body={"max_tokens": 120, **regex})

    assert len(check(None)) == 2, "random answers are only warned about"
    call = '<tool_call>{"name": "get_weather", "arguments": {"city": "Paris"}}</tool_call>'
    assert check(call) == (), "the server reads calls"
    (warning,) = check("A library lends books.")
    assert "did not call the tool when asked to (its answer: 'A library lends books.')" in warning
    with pytest.raises(UserError, match=r"left the tool call in the text: .* --tool-call-parser qwen3_coder"):
        check("<function=get_weather><parameter=city>Paris</parameter></function>")
    with pytest.raises(UserError, match=r"left the reasoning in the text: .* --reasoning-parser mistral"):
        check("[THINK]The user asks.[/THINK]A library lends books.")


def test_cached_tokens_are_counted(base_url: str) -> None:
    """A prompt of several cache blocks, twice."""
    request = replace(REQUEST, messages=(UserMessage(content="Hello there. " * 100),))
    (first,), (second,) = (complete(base_url, request) for _ in range(2))
    assert first.cached_tokens < second.cached_tokens < second.prompt_tokens


def test_schemas_and_required_tools_hold_even_for_random_weights(base_url: str) -> None:
    (answer,) = complete(base_url, replace(REQUEST, role="judge", json_schema=FLAG), sampling={"max_tokens": 200})
    assert isinstance(json.loads(answer.message.content)["done"], bool)
    options = {"extra_body": {"tool_choice": "required"}, "strict_tools": True, "sampling": {"max_tokens": 200}}
    (called,) = complete(base_url, replace(REQUEST, tools=(TOOL,)), **options)
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
    longer, shorter = complete(base_url, replace(REQUEST, messages=history), replace(REQUEST, messages=without))
    assert longer.prompt_tokens > shorter.prompt_tokens, "the template saw the reasoning"


def test_a_prompt_beyond_the_context_is_length(base_url: str) -> None:
    (completion,) = complete(base_url, replace(REQUEST, messages=(UserMessage(content="Hello there. " * 5000),)))
    assert (completion.finish_reason, completion.message.content) == ("length", "")


@pytest.fixture(scope="module")
def runs(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> dict[str, FinishedCommand]:
    folder = tmp_path_factory.mktemp("runs")
    bias = ",".join(f"{token}:{value}" for token, value in engine.logit_bias.items())
    model = (
        f"llm=vllm llm.base_urls=[{engine.url}] llm.retries=3 llm.sampling.max_tokens=80 "
        f"+llm.extra_body.logit_bias={{{bias}}}"
    )
    names = prepare_inputs(folder)
    return run_all(folder, {name: f"{case.words.format(**names)} {model}" for name, case in CASES.items()})


@pytest.mark.parametrize("name", CASES)
def test_every_stage_start_state_and_pipeline_ends_whatever_a_model_answers(
    name: str, runs: dict[str, FinishedCommand]
) -> None:
    case, done = CASES[name], runs[name]
    assert done.code == 0, done.output
    assert "Traceback" not in done.output
    toolsets = list(read_jsonl(done.directory / "toolsets.jsonl", Toolset))
    asked = sum(toolset.provenance.usage.requests for toolset in toolsets)
    there = {path.parent.name: path for path in done.directory.glob("*/statistics.json")}
    assert set(there) == set(case.pipelines if case.started else ())
    for pipeline, path in there.items():
        figures = json.loads(path.read_text())
        asked += figures["requests"]
        assert (figures["started"], figures["failed"]) == (case.started, 0)
        assert figures["accepted"] + figures["rejected"] == case.started
        rejected = list(read_jsonl(done.directory / pipeline / "rejected.jsonl", Rejection))
        assert len(rejected) == figures["rejected"]
        for line in rejected:
            assert all(line.reasons)
            if line.dialogue:
                assert line.dialogue.verdict
                assert line.dialogue.verdict.blame, "whose fault it was"
                assert line.dialogue.provenance.llm == "tiny"
            else:
                assert line.reasons[0].startswith("tool_maker: "), "without tools no dialogue begins"
    assert asked, "the engine was used"


def test_results_of_tool_stages_with_random_weights_are_reported(runs: dict[str, FinishedCommand]) -> None:
    (library,) = read_jsonl(runs["tools"].directory / "toolsets.jsonl", Toolset)
    assert not library.tools
    assert library.refused
    assert "is left out: " in runs["tools"].output
    (rooms,) = read_jsonl(runs["schemas"].directory / "toolsets.jsonl", Toolset)
    assert not rooms.tools
    assert any("no output schema" in line for line in rooms.refused)
    (rooms,) = read_jsonl(runs["from own tools"].directory / "toolsets.jsonl", Toolset)
    assert [tool.name for tool in rooms.tools][: len(ROOMS)] == [room["name"] for room in ROOMS], "given tools stay"


# One role at a time, so that the others lead to every place where it occurs


@dataclass
class OneReal:
    """The engine plays `role`, the stand-in without mistakes plays all others."""

    role: Role
    real: LLM
    rest: LLM
    requests: int = 0
    name: str = "one real role"

    async def complete(self, request: Request) -> Completion:
        self.requests += request.role == self.role
        return await (self.real if request.role == self.role else self.rest).complete(request)

    async def close(self) -> None:
        await self.real.close()


def one_real(role: Role, engine: Engine, **options: Any) -> OneReal:
    body = {"logit_bias": engine.logit_bias}
    real = OpenAILLM([engine.url], sampling={"max_tokens": 150}, extra_body=body, retries=3, **options)
    return OneReal(role, real, ScriptedLLM(error_rate=0.0))


@pytest.mark.parametrize("pipeline", ["user_oriented", "user_oriented_exec"])
@pytest.mark.parametrize(
    ("role", "blame"),
    [("task_writer", "task"), ("user", "user"), ("agent", "agent"), ("tool_simulator", "tool"), ("judge", "judge")],
)
def test_the_one_role_of_random_weights_is_to_blame(
    role: Role, blame: str, pipeline: str, engine: Engine, domains: tuple[DomainTools, ...], tmp_path: Path
) -> None:
    # A judge constrained to its schema blames at random; without the schema its answers are unreadable.
    llm = one_real(role, engine, **({"structured": []} if role == "judge" else {}))

    async def run_to_end() -> Statistics:
        try:
            return await run_local(pipeline_of(pipeline, domains, llm), tmp_path, 6, 6)
        finally:
            await llm.close()

    figures = asyncio.run(run_to_end())
    executed = pipeline == "user_oriented_exec"
    assert (llm.requests > 0) is not (executed and role == "tool_simulator")
    assert (figures.started, figures.failed) == (6, 0)
    assert figures.accepted + figures.rejected == 6
    if executed and role in ("tool_simulator", "judge"):
        assert figures.accepted == 6, "execution needs neither"
    else:
        # By chance a tool finds nothing, which is valid: then the agent seems to have left the request undone.
        seeming = {"agent"} if role == "tool_simulator" else set()
        assert set(figures.blame) <= {blame} | seeming
        assert figures.blame[blame] >= 3


@pytest.mark.parametrize("role", ["tool_maker", "schema_writer"])
def test_supplied_tools_survive_a_model_with_random_weights(role: Role, engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "rooms.jsonl").write_text("".join(json.dumps(room) + "\n" for room in ROOMS))
    origins = [source_from_seed(seed) for seed in ToolSeeds([tmp_path / "rooms.jsonl"]).load()]
    stages = (Tools(max_tools=6, batch=5, attempts=2, questions=4, expansion=2), Schemas(attempts=2))
    llm = one_real(role, engine)

    async def make() -> list[Toolset]:
        try:
            return await run_toolset_stages(origins, stages, llm, tmp_path / "toolsets.jsonl", 2, lambda _: None)
        finally:
            await llm.close()

    (toolset,) = asyncio.run(make())
    assert llm.requests
    if role == "tool_maker":
        # A grammar makes even random weights write tools, though rarely one that is kept.
        assert [tool.name for tool in toolset.tools][: len(ROOMS)] == [room["name"] for room in ROOMS]
        assert all(tool.returns for tool in toolset.tools)
        assert toolset.counts["given"] == len(ROOMS)
    else:
        assert not toolset.tools, "what a tool returns must be known to simulate it"
        assert sum("no output schema" in line for line in toolset.refused) >= len(ROOMS)
