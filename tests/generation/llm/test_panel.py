"""A panel of judges: whose turn each vote is, what is recorded, and what the settings of its models decide."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from core.dialogue import Dialogue
from core.journal import read_jsonl
from core.messages import AssistantMessage
from core.runs import open_run
from core.settings import UserError, typed
from generation.build import neutral_keys, served, with_base_urls
from generation.llm.base import Completion, Request
from generation.llm.meter import Meter
from generation.llm.panel import Panel
from generation.llm.server_checks import check_servers
from generation.run import GenerateSettings
from generation.validation.judge import judge_task
from scripts.launch import CONF
from tests.core.helpers.chat_servers import ChatServer, answering, called, said
from tests.generation.helpers.judge_requests import INVALID, VALID
from tests.generation.helpers.judgments import TASK, transcript
from tests.generation.helpers.misbehaving_servers import REQUEST
from tests.generation.helpers.pipeline_runs import SCENE
from tests.scripts.helpers.generate_runs import GYM, generate


@dataclass
class Judge:
    """Gives its answers in order; keeps the keys of its requests."""

    name: str
    answers: list[str]
    keys: list[str] = field(default_factory=list)
    closed: bool = False

    async def complete(self, request: Request) -> Completion:
        self.keys.append(request.key)
        return Completion(AssistantMessage(content=self.answers[len(self.keys) - 1]), model=self.name)

    async def close(self) -> None:
        self.closed = True


async def test_the_models_take_the_votes_in_turn_and_each_vote_names_its_model() -> None:
    first, second = Judge("a", [VALID, "?", INVALID]), Judge("b", [VALID])
    panel = Panel({"first": first, "second": second, "third": None})
    meter = Meter(panel)
    judgment = await judge_task(TASK, transcript(), SCENE, "d", meter, 3, 2)
    assert first.keys == ["d/t0/judge/0/0", "d/t0/judge/2/0", "d/t0/judge/2/1"], (
        "a repeated request stays with its model"
    )
    assert second.keys == ["d/t0/judge/1/0"]
    assert (judgment.votes, judgment.models) == (("valid", "valid", "invalid"), ("a", "b", "a"))
    assert (panel.name, meter.models) == ("a + b", {"judge": "a + b"})
    await panel.close()
    assert (first.closed, second.closed) == (True, True)


async def test_one_model_needs_no_names_at_its_votes() -> None:
    judgment = await judge_task(TASK, transcript(), SCENE, "d", Meter(Judge("a", [VALID] * 3)), 3, 1)
    assert judgment.models is None


async def test_a_panel_only_judges() -> None:
    with pytest.raises(UserError, match=r"asked to be the agent.*llm@roles\.judge=panel"):
        await Panel({"first": Judge("a", [VALID])}).complete(replace(REQUEST, role="agent"))
    with pytest.raises(UserError, match="a panel has no models"):
        Panel({"first": None})


def test_the_servers_of_all_its_models_are_checked() -> None:
    with (
        answering(ChatServer(called(), said("Words."))) as fine,
        answering(ChatServer(called(), said(None, "Only thoughts."))) as swallowing,
    ):
        models = {"first": {"base_urls": [fine.url]}, "second": {"base_urls": [swallowing.url]}, "third": None}
        with pytest.raises(UserError, match="takes the whole answer for reasoning"):
            check_servers({"llm": {}, "roles": {"judge": {"models": models}}})
        assert len(fine.seen) == 2


def test_a_served_model_reaches_every_model_of_a_panel() -> None:
    old, urls = {"base_urls": ["http://old/v1"]}, ["http://new/v1"]
    panel = {"inner": {"models": {"first": {"model": "a", **old}, "second": old, "third": None, "fourth": {"seed": 0}}}}
    models = {"first": {"model": "a", "base_urls": urls}, "second": {"base_urls": urls}, "third": None}
    assert with_base_urls(panel, urls) == {"inner": {"models": models | {"fourth": {"seed": 0}}}}


def test_a_served_model_is_for_all_roles_or_for_those_that_ask_a_server() -> None:
    old, new, scripted = {"base_urls": ["http://old/v1"]}, {"base_urls": ["http://new/v1"]}, {"_target_": "Scripted"}
    assert served(old, {"judge": old, "user": None}, ["http://new/v1"]) == (new, {"judge": old, "user": None})
    roles = {"judge": old, "agent": scripted, "user": None}
    assert served(scripted, roles, ["http://new/v1"]) == (scripted, {**roles, "judge": new})


def test_a_server_that_no_model_asks_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        generate(tmp_path, GYM, "n=1", "serve=org/model")
    error = " ".join(capsys.readouterr().err.split())
    assert "serve=org/model was given, but llm is generation.scripted.llm.ScriptedLLM, which asks no server" in error


PANEL = ("llm@roles.judge=panel", "llm@roles.judge.models.first=scripted", "llm@roles.judge.models.second=scripted")


def test_a_run_has_a_panel_of_judges(tmp_path: Path) -> None:
    run = generate(tmp_path, GYM, "n=6", *PANEL, "stages.validation.votes=3", "stages.validation.gate=majority")
    accepted = [d for file in run.glob("*/dialogues.jsonl") for d in read_jsonl(file, Dialogue)]
    assert accepted
    for dialogue in accepted:
        assert dialogue.verdict
        assert all(judgment.judgment == "valid" for judgment in dialogue.verdict.judgments)
        assert all(len(judgment.votes) == 3 for judgment in dialogue.verdict.judgments)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["stages.validation.votes=1"], "votes=1 was given with a panel of 2 judges, so second would never vote"),
        (
            ["stages.validation.votes=3", "llm@roles.judge.models.first=vllm", "roles.judge.models.first.sampling.temperature=0"],
            "votes=3 was given with a greedy judge",
        ),
    ],
)  # fmt: skip
def test_votes_that_say_nothing_are_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    with pytest.raises(SystemExit, match="2"):
        generate(tmp_path, GYM, "n=2", *PANEL, *words)
    assert message in capfd.readouterr().err


def test_other_servers_of_its_models_resume_the_same_run(tmp_path: Path) -> None:
    """Only what changes the judgments makes another run: the model's name, not its server's address."""
    directories = []
    for model, url in (("a", "http://one/v1"), ("a", "http://other/v1"), ("b", "http://one/v1")):
        second = [f"roles.judge.models.second.{key}" for key in (f"model={model}", f"base_urls=[{url}]")]
        settings = settings_of("llm@roles.judge=panel", *second)
        with open_run(tmp_path, "generate", settings.model_dump(mode="json"), neutral=neutral_keys(settings)) as run:
            directories.append(run.directory)
    assert (directories[0] == directories[1], directories[0] == directories[2]) == (True, False)


def settings_of(*overrides: str) -> GenerateSettings:
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        return typed(compose("generate", ["profile=tiny", *overrides]), GenerateSettings)
