"""The held-out benchmark: gold calls score everything, silence nothing, and what the model was never asked is no score."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra import compose, initialize_config_dir
from replay import Brain, ReplayServer, call, say

from core.dialogue import Dialogue
from core.messages import AssistantMessage, FunctionCall, ToolCall, ToolSpec
from core.records import read_jsonl
from core.settings import UserError
from evaluation.benchmark import Context
from evaluation.endpoint import Endpoint
from evaluation.heldout import Heldout, Session, count_calls
from evaluation.passk import summarize
from evaluation.results import TrialRecord
from generation.llm.base import Completion, Request
from generation.llm.scripted import ScriptedLLM
from generation.llm.transport import Transport
from generation.seeds.bundled import HELD_OUT
from generation.toolset import Toolset
from scripts.generate import stage

Serve = Callable[[Brain], ReplayServer]
CONF = Path(__file__).parents[2] / "conf"
NOWHERE = Endpoint(base_url="http://127.0.0.1:9/v1", model="m")


def conf(name: str) -> dict[str, Any]:
    loaded = yaml.safe_load((CONF / name).read_text())
    assert isinstance(loaded, dict)
    return {key: value for key, value in loaded.items() if key not in ("defaults", "_target_")}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("seeds")


@pytest.fixture(scope="module")
def generation(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small generation run on two databases."""
    outputs = tmp_path_factory.mktemp("generation")
    given = {"outputs": outputs, "seeds.cache": cache, "seeds.domains": "[gym,library]", "n": 30, "max_tools": 8}
    words = [f"{key}={value}" for key, value in given.items()]
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        stage(compose("generate", [*words, "pipeline=user_oriented_exec", "tracking.mode=disabled"]))
    return (outputs / "generate" / "latest").resolve()


@pytest.fixture
def settings(cache: Path) -> dict[str, Any]:
    return conf("benchmark/heldout.yaml") | {"seeds_cache": str(cache), "dialogues": 6}


class Local(Session):
    """Asks a model in this process instead of the endpoint."""

    llm: Any

    def _agent(self, trial: int) -> Any:
        return self.llm


def hold(llm: Any, settings: dict[str, Any], generation: Path, directory: Path, trials: int = 1) -> list[TrialRecord]:
    benchmark = Heldout(ScriptedLLM(), **settings)
    session = Local(benchmark.settings, benchmark.partner, Context(NOWHERE, trials, NOWHERE, generation))
    session.llm = llm
    return asyncio.run(session.run(directory))


def dialogues(directory: Path) -> dict[str, Dialogue]:
    return {path.stem: next(read_jsonl(path, Dialogue)) for path in sorted((directory / "dialogues").iterdir())}


def test_gold_calls_score_everything(settings: dict[str, Any], generation: Path, tmp_path: Path) -> None:
    records = hold(ScriptedLLM(error_rate=0.0), settings | {"dialogues": 24}, generation, tmp_path, trials=2)
    assert [r for r in records if r.success is not True] == []
    assert len(records) == 2 * 24 * 2
    assert all(r.calls == r.valid_calls > 0 and r.stop_reason == "complete" for r in records)
    figures = Heldout(ScriptedLLM(), **settings).figures(records)
    assert figures == {"trained_databases": 1.0, "unseen_databases": 1.0}
    held = dialogues(tmp_path)
    for name, dialogue in held.items():
        assert dialogue.tasks == held[f"{name[:-1]}0"].tasks, "each trial poses the same task"


def test_a_model_that_slips_scores_between(settings: dict[str, Any], generation: Path, tmp_path: Path) -> None:
    records = hold(ScriptedLLM(error_rate=1.0), settings | {"dialogues": 24}, generation, tmp_path)
    passed = sum(bool(record.success) for record in records)
    assert 0 < passed < len(records)
    assert all(record.infrastructure_error is None for record in records)


def test_tasks_are_unseen_and_databases_kept_apart(settings: dict[str, Any], generation: Path, tmp_path: Path) -> None:
    hold(ScriptedLLM(error_rate=0.0), settings | {"dialogues": 24}, generation, tmp_path)
    lines = (generation / "user_oriented_exec" / "dialogues.jsonl").read_text().splitlines()
    trained = {task["goal"] for line in lines for task in json.loads(line)["tasks"]}
    held = dialogues(tmp_path)
    on_trained = {t.goal for name, d in held.items() if "trained_databases" in name for t in d.tasks}
    assert len(on_trained) > 10
    assert not on_trained & trained
    assert {d.domain for name, d in held.items() if "unseen_databases" in name} == set(HELD_OUT)
    toolsets = {toolset.domain for toolset in read_jsonl(generation / "toolsets.jsonl", Toolset)}
    assert {d.domain for name, d in held.items() if "trained_databases" in name} == toolsets
    assert not toolsets & set(HELD_OUT)


def test_every_goal_of_the_training_data_is_known_to_the_task_writer(
    settings: dict[str, Any], generation: Path
) -> None:
    """It refuses those it knows (tests/generation/test_tasks.py)."""
    session = Session(
        Heldout(ScriptedLLM(), **settings).settings, ScriptedLLM(), Context(NOWHERE, 1, NOWHERE, generation)
    )
    found = asyncio.run(session._subjects())["trained_databases"]
    lines = (generation / "user_oriented_exec" / "dialogues.jsonl").read_text().splitlines()
    goals = {task["goal"] for line in lines for task in json.loads(line)["tasks"]}
    assert all(subject.domain.seen == goals for subject in found)


def context(server: ReplayServer, generation: Path | None, trials: int = 1) -> Context:
    return Context(server.endpoint(), trials, NOWHERE, generation)


def test_an_agent_that_does_nothing_scores_nothing(
    settings: dict[str, Any], generation: Path, tmp_path: Path, serve: Serve
) -> None:
    server = serve(lambda body: say("I am here to help."))
    records = Heldout(ScriptedLLM(), **settings).run(context(server, generation), tmp_path)
    assert len(records) == 12
    assert {record.success for record in records} == {False}
    assert {record.calls for record in records} == {0}
    assert all(record.prompt_tokens == 10 * (record.completion_tokens // 5) > 0 for record in records)
    body = server.requests[0]
    assert body["tools"]
    assert body["messages"][0]["role"] == "system"
    assert (body["temperature"], body["max_tokens"]) == (0.7, 256)


@pytest.mark.parametrize(
    ("reply", "stop", "valid"),
    [
        (call(("open_door", {})), "agent: no answer after 6 rounds of tool use", 0),
        (call(("get_nothing", "{broken")), "agent: no answer after 6 rounds of tool use", 0),
        (say(""), "agent: the answer is empty", 0),
        (say("It is", finish_reason="length"), "agent: the answer was cut off by the token limit", 0),
    ],
)
def test_garbage_is_the_models_failure(
    reply: dict[str, Any], stop: str, valid: int, settings: dict[str, Any], tmp_path: Path, serve: Serve
) -> None:
    settings |= {"dialogues": 2, "categories": ["unseen_databases"]}
    records = Heldout(ScriptedLLM(), **settings).run(context(serve(lambda body: dict(reply)), None), tmp_path)
    assert [(r.success, r.stop_reason, r.valid_calls) for r in records] == [(False, stop, valid)] * 2


def test_what_was_lost_to_infrastructure_is_held_later_and_what_was_held_is_not_held_again(
    settings: dict[str, Any], generation: Path, tmp_path: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Transport, "_wait_s", lambda *_: 0.0)
    ill = True

    def brain(body: dict[str, Any]) -> dict[str, Any]:
        broken = ill and "library" in body["messages"][0]["content"]
        return {"status": 500, "message": "out of memory"} if broken else say("I am here to help.")

    benchmark, server = Heldout(ScriptedLLM(), **settings), serve(brain)
    first = benchmark.run(context(server, generation), tmp_path)
    lost = [record for record in first if record.success is None]
    assert {r.task_id.split("-")[1] for r in lost} == {"library"}
    assert all("out of memory" in str(record.infrastructure_error) for record in lost)
    summary = summarize(first, (1,))
    assert (summary.infrastructure_errors, summary.trials) == (len(lost), 12 - len(lost))
    alone = summarize(lost, (1,))
    assert (alone.pass_at, alone.valid_call_rate) == ({1: None}, None)
    ill = False
    before = len(server.requests)
    second = benchmark.run(context(server, generation), tmp_path)
    assert [r.key for r in second] == [r.key for r in first]
    assert {r.success for r in second} == {False}
    assert {"library" in body["messages"][0]["content"] for body in server.requests[before:]} == {True}


def test_a_server_that_never_was_there_is_a_clear_error_and_no_score(
    settings: dict[str, Any], tmp_path: Path, dead_endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Transport, "_wait_s", lambda *_: 0.0)
    settings |= {"categories": ["unseen_databases"]}
    with pytest.raises(UserError, match=f"no OpenAI-compatible server answers at {dead_endpoint.base_url}"):
        Heldout(ScriptedLLM(), **settings).run(Context(dead_endpoint, 1, NOWHERE), tmp_path)
    assert (tmp_path / "trials.jsonl").read_text() == ""


class NoTasks(ScriptedLLM):
    async def complete(self, request: Request) -> Completion:
        completion = await super().complete(request)
        return Completion(AssistantMessage(content="no idea")) if request.role == "task_writer" else completion


def test_a_task_that_could_not_be_written_is_not_the_models_failure(
    settings: dict[str, Any], tmp_path: Path, serve: Serve
) -> None:
    server = serve(lambda body: say("Hello."))
    benchmark = Heldout(NoTasks(), **settings | {"categories": ["unseen_databases"]})
    records = benchmark.run(context(server, None), tmp_path)
    assert {record.success for record in records} == {None}
    assert all(str(record.infrastructure_error).startswith("task_writer: ") for record in records)
    assert server.requests == []


def test_trained_databases_need_their_run(settings: dict[str, Any], tmp_path: Path, serve: Serve) -> None:
    server = serve(lambda body: say(""))
    with pytest.raises(UserError, match="need the generation run"):
        Heldout(ScriptedLLM(), **settings).run(context(server, None), tmp_path)


def test_a_misspelt_setting_names_itself(settings: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"benchmarks.heldout.dialoges.*did you mean 'dialogues'"):
        Heldout(ScriptedLLM(), **settings, dialoges=3)


def test_valid_calls_are_declared_and_fit() -> None:
    schema = {"type": "object", "properties": {"id": {"type": "integer"}}, "required": ["id"]}
    tools = (ToolSpec(name="get", description="get", parameters=schema),)
    arguments = ['{"id": 3}', '{"id": "3"}', "{}", "[]", "{", '{"id": 3, "more": 1}']
    calls = [ToolCall(id=str(i), function=FunctionCall(name="get", arguments=a)) for i, a in enumerate(arguments)]
    calls.append(ToolCall.make("x", "put", {"id": 3}))
    messages = [AssistantMessage(content="hm"), AssistantMessage(tool_calls=tuple(calls))]
    dialogue = Dialogue(dialogue_id="d", pipeline="p", domain="x", tools=tools, messages=tuple(messages))
    assert count_calls(dialogue) == (2, 7)
