"""make generate end to end: interruptions, and mistakes that each end in one clear message and exit code 2."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from generation.llm.base import Completion, LLMError, Request
from generation.scripted.llm import ScriptedLLM
from tests.core.helpers.chat_servers import ChatServer, answering, called, said
from tests.scripts.helpers.generate_runs import GYM, contents, final, generate

pytestmark = pytest.mark.usefixtures("no_commit")


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An outputs folder with an earlier run that no mistake may change."""
    outputs = tmp_path_factory.mktemp("outputs")
    generate(outputs, GYM, "n=2")
    return outputs


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ([GYM, "+bogus=1"], "unknown config key 'bogus'"),
        ([GYM, "+user.attemps=3"], "unknown config key 'user.attemps'"),
        (
            [GYM, "start.at=-3"],
            "config key 'start.at': .*expected: end, random, or the index of a message .from 0. .given: -3",
        ),
        (
            [GYM, "pipelines.user_oriented_exec.environment.row_cap=0"],
            "config key 'environment.row_cap': .*greater than or equal to 1 .given: 0",
        ),
        ([GYM, "n=0"], "config key 'n': .*greater than or equal to 1 .given: 0"),
        (["domains=sqlite", "domains.paths=[/nope.sqlite]"], "/nope.sqlite was given, but there is no such file"),
        (
            ["domains=sqlite", f"domains.paths=[{__file__}]"],
            "test_generate.py was given, but it is not an SQLite database",
        ),
        (["domains=sqlite", "domains.paths=/nope.sqlite"], "a list of files is expected: paths="),
        (["domains.names=[freight]"], "freight: held out for evaluation; expected: .*gym"),
        (["domains.held_out=true"], "refused as training seeds: film_festival, freight, repair_shop"),
        (
            [GYM, "toolsets=/nope.jsonl"],
            "toolsets=/nope.jsonl was given, but there is no such file; expected: the toolsets.jsonl",
        ),
        ([GYM, "llm.error_rate=high"], "error_rate=high was given; a share between 0 and 1 is expected"),
        ([GYM, "llm=vllm", "llm.base_urls=http://x/v1"], "base_urls is 'http://x/v1'; expected a list"),
        (
            [GYM, "llm=vllm", "llm.base_urls=[http://127.0.0.1:9/v1]", "llm.retries=0"],
            "no OpenAI-compatible server answers at http://127.0.0.1:9/v1",
        ),
        ([GYM, "start.file=/nope.jsonl"], "start.file=/nope.jsonl was given, but there is no such file"),
        ([GYM, f"start.file={__file__}"], "no line of it can be used; .*test_generate.py, line 1: "),
        ([GYM, "start.at=random"], "start.at, .* need dialogues to start from: give start.file"),
        ([GYM, "start.branches=4"], "start.branches and .* need dialogues to start from: give start.file"),
        (
            [GYM, "stage=[validation]"],
            "validation is the first stage, but has no dialogues to validate: give .*start.file",
        ),
        ([GYM, "stage=[tools,validation,rollout]"], "validation is the first stage, but has no dialogues to validate"),
        ([GYM, "stage=[rollout]"], "the chosen stages make no tools, and no tools are given: add stage tools, or give"),
        ([GYM, "start.branches=0"], "config key 'start.branches': .*greater than or equal to 1 .given: 0"),
        ([GYM, f"toolsets={__file__}"], "test_generate.py, line 1: not a Toolset: Invalid JSON"),
        ([GYM, "tasks_per_dialogue=0"], "config key 'tasks_per_dialogue': .*greater than or equal to 1 .given: 0"),
        ([GYM, "tasks_per_dialogue=21"], "config key 'tasks_per_dialogue': .*less than or equal to 20 .given: 21"),
        ([GYM, "tasks_per_dialogue=many"], "config key 'tasks_per_dialogue': .*valid integer.* .given: 'many'"),
        ([GYM, "stage=[]"], "config key 'stages': .*at least 1 item"),
        ([GYM, "user.rules.patience=0"], "config key 'user.rules.patience': .*greater than or equal to 1 .given: 0"),
        ([GYM, "user.rules.manner=rude"], "config key 'user.rules.manner': .*'cooperative' or 'adversarial'"),
        ([GYM, "quality.leaked_goals=2"], "config key 'quality.leaked_goals': .*less than or equal to 1 .given: 2"),
        ([GYM, "stages.validation.votes=0"], "config key 'stages.validation.votes': .*equal to 1 .given: 0"),
        ([GYM, "stages.validation.votes=2"], "config key 'stages.validation.votes': .*odd number.* .given: 2"),
        ([GYM, "stages.validation.attempts=0"], "config key 'stages.validation.attempts': .*equal to 1 .given: 0"),
        ([GYM, "stages.schemas.attempts=0"], "config key 'stages.schemas.attempts': .*equal to 1 .given: 0"),
        ([GYM, "stages.tools.expansion=11"], "config key 'stages.tools.expansion': .*equal to 10 .given: 11"),
        ([GYM, "+stages.rollout.x=1"], "'generation.stages.Rollouts': Rollouts.. takes no arguments"),
        ([GYM, "stages.rollout._target_=nowhere.Stage"], "'nowhere.Stage': .*No module named 'nowhere'"),
        ([GYM, "stages.rollout._target_=json"], "Expected a callable target, got .*json"),
        (
            [GYM, "stages.rollout._target_=datetime.timedelta"],
            "stages.rollout: datetime.timedelta is not a stage; expected a method",
        ),
        (["domains.names=[]"], "names=.. was given; expected: at least one name"),
        (["domains=spider"], "domains.root=… must be given"),
        (["domains=sqlite"], "domains.paths=… must be given"),
        (["domains=tools"], "domains.paths=… must be given"),
        (["domains=tools", f"domains.paths=[{__file__}]"], "test_generate.py, line 1: not JSON"),
        (
            ["domains=nemotron", "domains.limit=many"],
            "limit=many, min_tools=2 was given; expected: integers of at least 1",
        ),
        (["domains=nemotron", "domains.path=/nope.jsonl"], "path=/nope.jsonl, .*there is no such file"),
        (
            ["domains=tau2", "domains.names=[telecom]"],
            "names: 'telecom' is not a known database; known: airline, retail",
        ),
        (["domains=tau2"], "user_oriented_exec executes tools of engine sql, but the seeds give tools of engine tau2"),
        ([GYM, "pipeline=user_oriented_tau2"], "user_oriented_tau2 executes tools of engine tau2, but the seeds give"),
        (
            [GYM, "pipeline=user_oriented", "pipelines.user_oriented.environment.attempts=0"],
            "config key 'environment.attempts': .*greater than or equal to 1 .given: 0",
        ),
    ],
)
def test_a_mistake_gives_one_clear_message_and_leaves_earlier_results(
    overrides: list[str], message: str, outputs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    earlier = (outputs / "generate" / "latest").resolve()
    before = contents(earlier)
    with pytest.raises(SystemExit) as ended:
        generate(outputs, "n=2", *overrides)
    assert ended.value.code == 2
    error = capsys.readouterr().err.strip()
    assert "\n" not in error
    assert re.search(message, error), error
    assert contents(earlier) == before
    assert (outputs / "generate" / "latest").resolve() == earlier


def test_a_server_that_swallows_answers_ends_the_command_before_anything_is_generated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with answering(ChatServer(called(), said(None, "Only thoughts."))) as server:
        for overrides in (
            ["llm=vllm", f"llm.base_urls=[{server.url}]"],
            ["llm@roles.judge=vllm", f"roles.judge.base_urls=[{server.url}]"],
        ):
            with pytest.raises(SystemExit) as ended:
                generate(tmp_path, GYM, "n=2", *overrides)
            assert ended.value.code == 2
            assert "the reasoning parser takes the whole answer for reasoning" in capsys.readouterr().err
    assert len(server.seen) == 6, "two questions and a look at the prompt, for each command"


def test_empty_files_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty.jsonl").touch()
    for key, message in (
        ("toolsets", "the file contains no toolset"),
        ("start.file", "empty.jsonl was given, but it is empty"),
    ):
        with pytest.raises(SystemExit) as ended:
            generate(tmp_path, GYM, f"{key}={tmp_path}/empty.jsonl")
        assert ended.value.code == 2
        assert message in capsys.readouterr().err


def unfinish(run: Path) -> Path:
    """Make a run look as if it had been killed before its end; returns its journal."""
    manifest = json.loads((run / "manifest.json").read_text())
    (run / "manifest.json").write_text(json.dumps(manifest | {"status": "running"}))
    return run / "user_oriented_exec" / "journal.jsonl"


def test_a_corrupt_line_is_named_and_a_torn_line_is_repaired(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = generate(tmp_path, GYM, "n=6")
    results = final(run)
    journal = unfinish(run)
    complete = journal.read_bytes()
    lines = complete.splitlines(keepends=True)
    journal.write_bytes(b"".join([*lines[:2], lines[2][:80] + b"\n", *lines[3:]]))
    corrupt = contents(run)
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        generate(tmp_path, GYM, "n=6")
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith(f"{journal}, line 3: not a record of this journal")
    assert {name: data for name, data in contents(run).items() if name != "manifest.json"} == {
        name: data for name, data in corrupt.items() if name != "manifest.json"
    }
    journal.write_bytes(complete[:-40])
    assert generate(tmp_path, GYM, "n=6") == run, "the same run was resumed"
    assert journal.read_bytes().startswith(b"".join(lines[:5]))
    assert final(run) == results


def test_infrastructure_errors_are_counted_and_the_same_command_retries_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    complete = ScriptedLLM.complete

    async def sometimes(self: ScriptedLLM, request: Request) -> Completion:
        if request.affinity.endswith(("1", "4")):
            raise LLMError("the server is gone")
        return await complete(self, request)

    with monkeypatch.context() as outage:
        outage.setattr(ScriptedLLM, "complete", sometimes)
        with pytest.raises(SystemExit) as ended:
            generate(tmp_path, GYM, "n=6")
    assert ended.value.code == 1
    assert "2 dialogues failed because no model responded" in capsys.readouterr().out
    (path,) = tmp_path.glob("generate/2*/user_oriented_exec/statistics.json")
    figures = json.loads(path.read_text())
    assert (figures["started"], figures["failed"], figures["reasons"]["llm"]) == (6, 2, 2)
    assert figures["accepted"] + figures["rejected"] == 4
    assert not (tmp_path / "generate" / "latest").exists()
    run = generate(tmp_path, GYM, "n=6")
    assert run == path.parents[1]
    assert final(run) == final(generate(tmp_path / "undisturbed", GYM, "n=6"))
