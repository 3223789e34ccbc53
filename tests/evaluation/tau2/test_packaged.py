"""The official code of release 0.2.0, installed on demand, against inspect-evals: on the same recorded trajectories,
and live with the same answers. Skipped where no package index can be reached."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.settings import UserError
from evaluation.benchmark import RecordedRun, Regraded
from evaluation.known_answers.tau2_guide import GuideByGoldActions, guide_vaguely
from evaluation.known_answers.tau2_model import GoldActions, greet_and_wait, request_origin
from evaluation.tau2.benchmark import Tau2
from evaluation.tau2.blame import TRANSFER, writes
from evaluation.tau2.packaged import require_environment
from evaluation.tau2.settings import OfficialSettings
from evaluation.tau2.tasks import tasks
from evaluation.trials import TrialRecord
from tests.evaluation.helpers.replay import AnswerPolicy, ReplayServer, Reply
from tests.evaluation.helpers.tau2_runs import run_tau2
from tests.evaluation.helpers.trials import run_trials

PYTHON = OfficialSettings().python
GOLD = {"airline": ("5", "24"), "retail": ("2", "107")}
IDLE = {"airline": ("0", "2"), "retail": ("10", "62")}
WRONG = {"airline": ("14", "7"), "retail": ("35", "6")}
TELECOM = tuple(tasks("telecom"))[::16]
STEPS = 100


@pytest.fixture(scope="module")
def installed() -> None:
    try:
        require_environment(PYTHON)
    except UserError as error:
        pytest.skip(str(error))


class Mixed:
    """Gold actions, except that some agents only wait, and some get the arguments of their changes wrong."""

    def __init__(self) -> None:
        self.gold = GoldActions()

    def __call__(self, body: dict[str, Any]) -> Reply:
        domain, task, side = request_origin(body)
        if task in IDLE.get(domain, ()):
            return greet_and_wait(body)
        reply = self.gold(body)
        if task in WRONG.get(domain, TELECOM[1::2]) and side == "agent":
            for call in reply.get("tool_calls") or ():
                if writes(call["function"]["name"]):
                    call["function"]["arguments"] = '{"order_id": "#W0", "reservation_id": "NONE00"}'
        return reply


@pytest.mark.slow
def test_both_evaluators_give_the_same_rewards(
    serve: Callable[[AnswerPolicy], ReplayServer], installed: None, tmp_path: Path
) -> None:
    domains = {name: (*GOLD[name], *IDLE[name], *WRONG[name]) for name in GOLD} | {"telecom": TELECOM}
    benchmark = Tau2(smoke=domains, attempts=1, max_steps=STEPS)
    records = run_tau2(benchmark, serve(Mixed()).endpoint(), tmp_path / "run")
    rewards = {record.key: record.success for record in records}
    assert len(rewards) == 12 + len(TELECOM)
    assert {(domain, list(rewards.values()).count(True) > 0) for domain in domains} == {(d, True) for d in domains}
    assert list(rewards.values()).count(False) >= 6
    graded = regrade(benchmark, records, tmp_path)
    assert {key: verdict.success for key, verdict in graded.items()} == rewards
    failed = [record for record in records if not record.success]
    assert {record.blame for record in failed if record.task_id in WRONG.get(record.category, ())} == {"agent"}
    _live_scores_are_equal(serve, rewards, tmp_path)


def regrade(benchmark: Tau2, records: list[TrialRecord], directory: Path) -> dict[str, Regraded]:
    scratch = directory / "scratch"
    scratch.mkdir()
    return benchmark.regrade(records, RecordedRun(directory / "run", directory, (), scratch))


def _live_scores_are_equal(
    serve: Callable[[AnswerPolicy], ReplayServer], rewards: dict[str, bool | None], directory: Path
) -> None:
    """Runs some of the tasks with the official code. Its results count as recorded trajectories, too."""
    server = serve(Mixed())
    some = {"retail": ("2", "62", "35"), "telecom": TELECOM[:2]}
    benchmark = Tau2(backend="official", smoke=some, attempts=1, max_steps=STEPS)
    records = run_tau2(benchmark, server.endpoint(concurrency=4), directory / "live" / "run")
    assert {record.harness for record in records} == {f"official tau2 0.2.0, {STEPS} steps"}
    assert {record.key: record.success for record in records} == {record.key: rewards[record.key] for record in records}
    assert len(records) == 5
    assert all(record.prompt_tokens for record in records)
    requests = len(server.requests)
    assert run_tau2(benchmark, server.endpoint(), directory / "live" / "run") == records
    assert len(server.requests) == requests, "nothing remained to be run"
    graded = regrade(benchmark, records, directory / "live")
    assert {key: verdict.success for key, verdict in graded.items()} == {r.key: r.success for r in records}


@pytest.mark.slow
def test_the_scripted_customer_uses_its_tools_officially_too(
    serve: Callable[[AnswerPolicy], ReplayServer], installed: None, tmp_path: Path
) -> None:
    benchmark = Tau2(backend="official", smoke={"telecom": TELECOM[:4]}, attempts=1, max_steps=STEPS)
    agents: dict[bool, AnswerPolicy] = {True: GuideByGoldActions(), False: guide_vaguely}
    for passes, agent in agents.items():
        records = run_trials(benchmark, serve(agent).endpoint(concurrency=4), tmp_path / str(passes))
        assert [record.success for record in records] == [passes] * 4


@pytest.mark.slow
def test_an_unreachable_server_and_unreadable_calls_are_told_apart(
    serve: Callable[[AnswerPolicy], ReplayServer], installed: None, tmp_path: Path
) -> None:
    """A dead server is never scored; calls that cannot be read are the model's failure."""
    gold = GoldActions()

    def policy(body: dict[str, Any]) -> Reply:
        _, task, side = request_origin(body)
        if side == "user":
            return gold(body)
        if task == "2":
            return {"status": 500, "message": "out of order"}
        if task == "10":
            return {"status": 400, "message": "maximum context length is 10 tokens"}
        reply = gold(body)
        for call in reply.get("tool_calls") or ():
            call["function"]["arguments"] = "{broken"
        return reply

    benchmark = Tau2(backend="official", smoke={"retail": ("2", "10", "62")}, attempts=1, retries=0)
    records = {r.task_id: r for r in run_tau2(benchmark, serve(policy).endpoint(concurrency=4), tmp_path)}
    assert (records["2"].success, records["2"].stop_reason) == (None, "infrastructure")
    assert "agent: " in str(records["2"].infrastructure_error)
    assert (records["10"].success, records["10"].stop_reason) == (False, "context_length")
    assert (records["62"].success, records["62"].stop_reason, records["62"].blame) == (False, "agent_error", "agent")


@pytest.mark.slow
def test_tools_that_change_something_are_those_of_the_official_code(installed: None) -> None:
    kinds = {}
    (domains,) = PYTHON.parents[1].glob("lib/python3*/site-packages/tau2/domains")
    for path in [path for name in ("airline", "retail", "telecom") for path in domains.glob(f"{name}/*tools.py")]:
        for function in ast.walk(ast.parse(path.read_text())):
            for decorator in function.decorator_list if isinstance(function, ast.FunctionDef) else ():
                if isinstance(decorator, ast.Call) and isinstance(kind := decorator.args[0], ast.Attribute):
                    kinds[function.name] = kind.attr
    assert len(kinds) > 50
    assert {name for name in kinds if writes(name)} == {name for name, kind in kinds.items() if kind == "WRITE"}
    assert kinds[TRANSFER] == "GENERIC"


def test_another_environment_must_exist(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"python=.*none was given; expected the interpreter"):
        require_environment(tmp_path / "none")
