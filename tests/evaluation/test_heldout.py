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

from core.dialogue import Dialogue, calls
from core.messages import AssistantMessage, FunctionCall, ToolCall, ToolSpec
from core.records import read_jsonl, write_jsonl
from core.settings import UserError
from evaluation.benchmark import Context
from evaluation.endpoint import Endpoint
from evaluation.heldout import Heldout, Session, count_calls
from evaluation.heldout_domains import Domains, DomainSettings
from evaluation.heldout_tasks import Posed
from evaluation.passk import summarize
from evaluation.results import TrialRecord
from evaluation.scores import by_axis
from generation.llm.base import AgentContext, Completion, LLMError, Request
from generation.llm.scripted import ScriptedLLM
from generation.llm.transport import Transport
from generation.seeds.base import Seeds
from generation.seeds.bundled import HELD_OUT, BundledSeeds
from generation.seeds.spider import SpiderSeeds
from generation.seeds.sqlite import SqliteSeeds
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
def settings() -> dict[str, Any]:
    return conf("benchmark/heldout.yaml") | {"subset": "smoke", "dialogues": 6}


@pytest.fixture
def heldout(cache: Path) -> Callable[..., Heldout]:
    def make(values: dict[str, Any], partner: Any = None, databases: Seeds | None = None) -> Heldout:
        return Heldout(partner or ScriptedLLM(), databases or BundledSeeds(cache, held_out=True), **values)

    return make


class Local(Session):
    """Asks a model in this process instead of the endpoint."""

    llm: Any

    def _agent(self, trial: int) -> Any:
        return self.llm


def hold(llm: Any, benchmark: Heldout, generation: Path | None, directory: Path, trials: int = 1) -> list[TrialRecord]:
    session = Local(benchmark, Context(NOWHERE, trials, NOWHERE, generation), directory)
    session.llm = llm
    return asyncio.run(session.run())


def dialogues(directory: Path) -> dict[str, Dialogue]:
    return {path.stem: next(read_jsonl(path, Dialogue)) for path in sorted((directory / "dialogues").iterdir())}


Make = Callable[..., Heldout]


def test_gold_calls_score_everything(settings: dict[str, Any], heldout: Make, generation: Path, tmp_path: Path) -> None:
    benchmark = heldout(settings | {"dialogues": 24})
    records = hold(ScriptedLLM(error_rate=0.0), benchmark, generation, tmp_path, trials=2)
    assert [r for r in records if r.success is not True] == []
    assert len(records) == 2 * 24 * 2
    assert all(r.calls == r.valid_calls > 0 and r.stop_reason == "complete" for r in records)
    assert benchmark.figures(records) == {"trained_databases": 1.0, "unseen_databases": 1.0}
    held = dialogues(tmp_path)
    for name, dialogue in held.items():
        assert dialogue.tasks == held[f"{name[:-1]}0"].tasks, "each trial poses the same task"


def test_a_model_that_slips_scores_between_and_its_transcripts_say_why(
    settings: dict[str, Any], heldout: Make, generation: Path, tmp_path: Path
) -> None:
    records = hold(ScriptedLLM(error_rate=1.0), heldout(settings | {"dialogues": 24}), generation, tmp_path)
    passed = sum(bool(record.success) for record in records)
    assert 0 < passed < len(records)
    assert all(record.infrastructure_error is None for record in records)
    for record in records:
        text = (tmp_path / str(record.transcript)).read_text()
        assert record.task_id in text.splitlines()[0]
        assert ("FAILED " in text) == (not record.success)
        assert "gold: " in text
        assert "--- user" in text


def test_tasks_are_unseen_and_databases_kept_apart(
    settings: dict[str, Any], heldout: Make, generation: Path, tmp_path: Path
) -> None:
    hold(ScriptedLLM(error_rate=0.0), heldout(settings | {"dialogues": 24}), generation, tmp_path)
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


def domains(context: Context, cache: Path, path: Path) -> Domains:
    reading = DomainSettings(max_tools=9, rows_per_table=5, seed=1)
    return Domains(BundledSeeds(cache, held_out=True), ScriptedLLM(), context, reading, path)


def test_every_goal_of_all_training_data_is_known_to_the_task_writer(
    generation: Path, cache: Path, tmp_path: Path
) -> None:
    """It refuses those it knows (tests/generation/test_tasks.py). Another model's training data count too."""
    other = tmp_path / "other"
    lines = list(read_jsonl(generation / "user_oriented_exec" / "dialogues.jsonl", Dialogue))
    goals = {task.goal for dialogue in lines for task in dialogue.tasks}
    task = lines[0].tasks[0].model_copy(update={"goal": "A goal of the other model's."})
    write_jsonl(other / "p" / "dialogues.jsonl", [lines[0].model_copy(update={"tasks": (task,)})])
    write_jsonl(other / "toolsets.jsonl", [])
    context = Context(NOWHERE, 1, NOWHERE, generation, seen=(other, generation))
    found = asyncio.run(domains(context, cache, tmp_path / "t.jsonl").find(["unseen_databases", "trained_databases"]))
    for subjects in found.values():
        assert all(subject.domain.seen == {*goals, task.goal} for subject in subjects)


def test_what_was_held_back_is_not_called_trained(generation: Path, cache: Path, tmp_path: Path) -> None:
    context = Context(NOWHERE, 1, NOWHERE, generation, held_back=frozenset({"gym"}))
    found = asyncio.run(domains(context, cache, tmp_path / "t.jsonl").find(["trained_databases"]))
    assert [subject.domain.name for subject in found["trained_databases"]] == ["library"]


def test_every_model_of_a_run_is_given_the_same_tasks(
    settings: dict[str, Any], heldout: Make, generation: Path, tmp_path: Path
) -> None:
    """Also where the writer would write others by now, as a real model may."""
    held = []
    for name, seed in (("first", 0), ("second", 5)):
        context = Context(NOWHERE, 1, NOWHERE, generation, shared=tmp_path / "shared")
        session = Local(heldout(settings, ScriptedLLM(seed=seed)), context, tmp_path / name)
        session.llm = ScriptedLLM(error_rate=0.0)
        asyncio.run(session.run())
        held.append({key: dialogue.tasks for key, dialogue in dialogues(tmp_path / name).items()})
    assert held[0] == held[1]


# The axes.


@pytest.fixture(scope="module")
def whole(generation: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[TrialRecord]]:
    """Every condition, held by an agent without slips."""
    directory = tmp_path_factory.mktemp("whole")
    values = conf("benchmark/heldout.yaml") | {"subset": "full", "dialogues": 4}
    benchmark = Heldout(ScriptedLLM(), BundledSeeds(cache, held_out=True), **values)
    return directory, hold(ScriptedLLM(error_rate=0.0), benchmark, generation, directory)


def test_one_axis_is_varied_at_a_time(whole: tuple[Path, list[TrialRecord]]) -> None:
    records = whole[1]
    values = {"density": "1248", "difficulty": ["mixed", "easy", "medium", "hard"]}
    values["fault"] = ["none", "tool_error", "renamed_columns", "partial_view"]
    expected = {(d, v) for d in ("unseen_databases", "trained_databases") for v in ("1", "2", "4", "8")}
    found = by_axis(records)
    assert set(found) == {"density", "difficulty", "fault", "database"}
    assert set(found["density"]) == expected
    for axis, each in values.items():
        assert {value for _, value in found[axis]} == set(each)
        for (_, value), trials in found[axis].items():
            assert len(trials) == 4
            assert {trial.axes[axis] for trial in trials} == {value}
            rest = {"density": "1", "difficulty": "mixed", "fault": "none"} | {axis: value}
            assert all(trial.axes.items() >= rest.items() for trial in trials)
    assert {value for _, value in found["database"]} == {*HELD_OUT, "gym", "library"}
    assert len({record.key for record in records}) == len(records) == 2 * 10 * 4


def test_a_condition_is_what_it_says(whole: tuple[Path, list[TrialRecord]]) -> None:
    for posed in read_jsonl(whole[0] / "heldout" / "tasks.jsonl", Posed):
        assert len(posed.draft.tasks) == int(posed.axes["density"])
        if posed.axes["difficulty"] != "mixed":
            assert {task.difficulty for task in posed.draft.tasks} == {posed.axes["difficulty"]}


def test_without_faults_gold_calls_solve_every_condition(whole: tuple[Path, list[TrialRecord]]) -> None:
    assert [r.key for r in whole[1] if r.axes["fault"] == "none" and not r.success] == []


class Persistent(ScriptedLLM):
    """Makes the gold calls at once, again where they fail and with the names that errors ask for, and tells all it has seen."""

    async def complete(self, request: Request) -> Completion:
        if request.role != "agent":
            return await super().complete(request)
        context = request.context
        assert isinstance(context, AgentContext)
        made: list[tuple[str, dict[str, Any], str]] = calls(request.messages[context.task_start :])
        done = [result for _, _, result in made if '"error"' not in result]
        if len(done) == len(context.task.gold_calls):
            return Completion(AssistantMessage(content="\n".join(done)))
        gold = context.task.gold_calls[len(done)]
        arguments = gold.arguments
        if made and "unknown argument" in made[-1][2]:
            wrong = made[-1][2].split("'")[1]
            (right,) = set(made[-1][2].split("expected: ")[1].strip('"}').split(", ")) - set(arguments)
            arguments = {right if name == wrong else name: value for name, value in arguments.items()}
        return Completion(AssistantMessage(tool_calls=(ToolCall.make("c", gold.tool, arguments),)))


def test_every_faulty_task_is_struck_and_can_be_solved(
    settings: dict[str, Any], heldout: Make, generation: Path, tmp_path: Path
) -> None:
    faults = ["tool_error", "renamed_columns", "partial_view"]
    benchmark = heldout(settings | {"subset": "full", "dialogues": 8, "axes": {"fault": faults}})
    records = hold(Persistent(), benchmark, generation, tmp_path)
    assert {record.axes["fault"] for record in records} == {"none", *faults}
    assert [record.key for record in records if not record.success] == []
    for record in records:
        posed = json.loads((tmp_path / "dialogues" / f"{record.key.replace('/', '_')}.jsonl").read_text())
        results = [message["content"] for message in posed["messages"] if message["role"] == "tool"]
        assert any("try again" in result for result in results) == (record.axes["fault"] == "tool_error")


def test_a_model_that_takes_faults_for_truth_fails_more(
    whole: tuple[Path, list[TrialRecord]],
) -> None:
    """The scripted agent never makes a call with other names than declared."""
    renamed = [record.success for record in whole[1] if record.axes["fault"] == "renamed_columns"]
    assert not all(renamed)


def test_a_fault_without_shares_is_refused(settings: dict[str, Any], heldout: Make) -> None:
    axes = {"fault": ["tool_eror"]}
    with pytest.raises(UserError, match=r"unknown fault 'tool_eror'; did you mean 'tool_error'"):
        heldout(settings | {"subset": "full", "axes": axes})
    with pytest.raises(UserError, match=r"axes.density': .*a dialogue holds 1 to 20 tasks, not 40"):
        heldout(settings | {"axes": {"density": [40]}})


# Databases of the user's own.


def test_any_database_can_be_the_unseen_one(
    settings: dict[str, Any], heldout: Make, cache: Path, tmp_path: Path
) -> None:
    (seed,) = BundledSeeds(cache, ["museum"]).load()
    assert seed.database
    folder = tmp_path / "spider" / "database" / "mine"
    folder.mkdir(parents=True)
    (folder / "mine.sqlite").write_bytes(seed.database.read_bytes())
    (tmp_path / "spider" / "tables.json").write_text(json.dumps([{"db_id": "mine", "table_names": ["works"]}]))
    only = settings | {"categories": ["unseen_databases"], "dialogues": 3}
    for name, databases in {
        "sqlite": SqliteSeeds([folder / "mine.sqlite"]),
        "spider": SpiderSeeds(tmp_path / "spider"),
    }.items():
        records = hold(ScriptedLLM(error_rate=0.0), heldout(only, databases=databases), None, tmp_path / name)
        assert [(r.axes["database"], r.success) for r in records] == [("mine", True)] * 3


def test_a_database_that_was_trained_on_is_not_unseen(
    settings: dict[str, Any], heldout: Make, generation: Path, cache: Path, tmp_path: Path
) -> None:
    benchmark = heldout(settings, databases=BundledSeeds(cache, ["library"]))
    with pytest.raises(UserError, match="the database library was trained on"):
        hold(ScriptedLLM(), benchmark, generation, tmp_path)


# An endpoint.


def context(server: ReplayServer, generation: Path | None, trials: int = 1) -> Context:
    return Context(server.endpoint(), trials, NOWHERE, generation)


def test_an_agent_that_does_nothing_scores_nothing(
    settings: dict[str, Any], heldout: Make, generation: Path, tmp_path: Path, serve: Serve
) -> None:
    server = serve(lambda body: say("I am here to help."))
    records = heldout(settings).run(context(server, generation), tmp_path)
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
        (call(("open_door", {})), "agent: no answer after 12 rounds of tool use", 0),
        (call(("get_nothing", "{broken")), "agent: no answer after 12 rounds of tool use", 0),
        (say(""), "agent: the answer is empty", 0),
        (say("It is", finish_reason="length"), "agent: the answer was cut off by the token limit", 0),
    ],
)
def test_garbage_is_the_models_failure(
    reply: dict[str, Any], stop: str, valid: int, settings: dict[str, Any], heldout: Make, tmp_path: Path, serve: Serve
) -> None:
    settings |= {"dialogues": 2, "categories": ["unseen_databases"]}
    records = heldout(settings).run(context(serve(lambda body: dict(reply)), None), tmp_path)
    assert [(r.success, r.stop_reason, r.valid_calls) for r in records] == [(False, stop, valid)] * 2
    assert {r.truncations for r in records} == {int("cut off" in stop)}


def test_what_was_lost_to_infrastructure_is_held_later_and_what_was_held_is_not_held_again(
    settings: dict[str, Any],
    heldout: Make,
    generation: Path,
    tmp_path: Path,
    serve: Serve,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Transport, "_wait_s", lambda *_: 0.0)
    ill = True

    def brain(body: dict[str, Any]) -> dict[str, Any]:
        broken = ill and "library" in body["messages"][0]["content"]
        return {"status": 500, "message": "out of memory"} if broken else say("I am here to help.")

    benchmark, server = heldout(settings), serve(brain)
    first = benchmark.run(context(server, generation), tmp_path)
    lost = [record for record in first if record.success is None]
    assert {r.axes["database"] for r in lost} == {"library"}
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
    settings: dict[str, Any], heldout: Make, tmp_path: Path, dead_endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Transport, "_wait_s", lambda *_: 0.0)
    settings |= {"categories": ["unseen_databases"]}
    with pytest.raises(UserError, match=f"no OpenAI-compatible server answers at {dead_endpoint.base_url}"):
        heldout(settings).run(Context(dead_endpoint, 1, NOWHERE), tmp_path)
    assert (tmp_path / "trials.jsonl").read_text() == ""


class Deaf(ScriptedLLM):
    """A partner who cannot do one thing."""

    def __init__(self, role: str) -> None:
        super().__init__()
        self.role = role

    async def complete(self, request: Request) -> Completion:
        completion = await super().complete(request)
        return Completion(AssistantMessage(content="no idea")) if request.role == self.role else completion


def test_tasks_that_cannot_be_written_end_the_run(
    settings: dict[str, Any], heldout: Make, tmp_path: Path, serve: Serve
) -> None:
    server = serve(lambda body: say("Hello."))
    benchmark = heldout(settings | {"categories": ["unseen_databases"], "dialogues": 1}, Deaf("task_writer"))
    with pytest.raises(UserError, match="no task could be written for unseen_databases in 30 attempts"):
        benchmark.run(context(server, None), tmp_path)
    assert server.requests == []


@pytest.mark.parametrize("role", ["tool_maker", "task_writer"])
def test_a_partner_who_does_not_answer_ends_the_run(
    role: str, settings: dict[str, Any], heldout: Make, tmp_path: Path
) -> None:
    class Away(ScriptedLLM):
        async def complete(self, request: Request) -> Completion:
            if request.role == role:
                raise LLMError("nobody is there")
            return await super().complete(request)

    benchmark = heldout(settings | {"categories": ["unseen_databases"]}, Away())
    with pytest.raises(UserError, match=r"who (makes the tools|writes the tasks) does not answer: .*nobody is there"):
        hold(ScriptedLLM(), benchmark, None, tmp_path)


def test_a_user_who_cannot_speak_is_not_the_models_failure(
    settings: dict[str, Any], heldout: Make, tmp_path: Path, serve: Serve
) -> None:
    server = serve(lambda body: say("Hello."))
    benchmark = heldout(settings | {"categories": ["unseen_databases"]}, Deaf("user"))
    records = benchmark.run(context(server, None), tmp_path)
    assert {(record.success, record.stop_reason) for record in records} == {(None, "infrastructure")}
    assert all(str(record.infrastructure_error).startswith("user: ") for record in records)
    assert server.requests == []


def test_a_server_that_fails_every_third_request_changes_nothing(
    settings: dict[str, Any],
    heldout: Make,
    generation: Path,
    tmp_path: Path,
    serve: Serve,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Transport, "_wait_s", lambda *_: 0.0)
    count = 0

    def healthy(body: dict[str, Any]) -> dict[str, Any]:
        return say(f"I see {len(body['messages'])} messages.")

    def ill(body: dict[str, Any]) -> dict[str, Any]:
        nonlocal count
        count += 1
        return {"status": 500, "message": "out of memory"} if count % 3 == 0 else healthy(body)

    held = []
    for name, brain in (("healthy", healthy), ("ill", ill)):
        records = heldout(settings).run(context(serve(brain), generation), tmp_path / name)
        held.append(sorted(record.model_copy(update={"seconds": 0.0}).model_dump_json() for record in records))
    assert held[0] == held[1]


def test_a_server_that_dies_half_way_costs_nothing_once_it_is_back(
    settings: dict[str, Any], heldout: Make, generation: Path, tmp_path: Path, serve: Serve
) -> None:
    def brain(body: dict[str, Any]) -> dict[str, Any]:
        return say(f"I see {len(body['messages'])} messages.")

    def records(directory: Path, server: ReplayServer) -> list[str]:
        held = heldout(settings | {"outage_s": 0.2, "timeout_s": 2}).run(context(server, generation), directory)
        return sorted(record.model_copy(update={"seconds": 0.0}).model_dump_json() for record in held)

    undisturbed = records(tmp_path / "undisturbed", serve(brain))

    def dying(body: dict[str, Any]) -> dict[str, Any]:
        if len(server.requests) == 15:
            server.die()
        return brain(body)

    server = serve(dying)
    with pytest.raises(UserError, match=r"no server has answered for 0\.2 s"):
        records(tmp_path / "disturbed", server)
    lines = (tmp_path / "disturbed" / "trials.jsonl").read_text().splitlines()
    assert len(lines) < 12, len(server.requests)
    assert records(tmp_path / "disturbed", serve(brain)) == undisturbed


def test_trained_databases_need_their_run(
    settings: dict[str, Any], heldout: Make, tmp_path: Path, serve: Serve
) -> None:
    server = serve(lambda body: say(""))
    with pytest.raises(UserError, match="need the generation run"):
        heldout(settings).run(context(server, None), tmp_path)


def test_a_misspelt_setting_names_itself(settings: dict[str, Any], heldout: Make) -> None:
    with pytest.raises(UserError, match=r"benchmarks.heldout.dialoges.*did you mean 'dialogues'"):
        heldout(settings | {"dialoges": 3})


def test_valid_calls_are_declared_and_fit() -> None:
    schema = {"type": "object", "properties": {"id": {"type": "integer"}}, "required": ["id"]}
    tools = (ToolSpec(name="get", description="get", parameters=schema),)
    arguments = ['{"id": 3}', '{"id": "3"}', "{}", "[]", "{", '{"id": 3, "more": 1}']
    calls = [ToolCall(id=str(i), function=FunctionCall(name="get", arguments=a)) for i, a in enumerate(arguments)]
    calls.append(ToolCall.make("x", "put", {"id": 3}))
    messages = [AssistantMessage(content="hm"), AssistantMessage(tool_calls=tuple(calls))]
    dialogue = Dialogue(dialogue_id="d", pipeline="p", domain="x", tools=tools, messages=tuple(messages))
    assert count_calls(dialogue) == (2, 7)
