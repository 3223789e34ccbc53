"""τ²-bench against a server that plays both sides: with the gold actions, with text only, or with errors."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from core.sampling import Sampling
from core.settings import UserError
from evaluation.endpoint import Endpoint
from evaluation.tau2.benchmark import Tau2
from evaluation.tau2.do_nothing import do_nothing
from evaluation.tau2.settings import Tau2Settings
from evaluation.trials import TrialRecord
from tests.evaluation.helpers.replay import AnswerPolicy, ReplayServer, Reply, call, say
from tests.evaluation.helpers.tau2_runs import run_tau2

ROAMING = "[mms_issue]bad_network_preference|user_abroad_roaming_disabled_on[PERSONA:None]"
AIRPLANE = "[mobile_data_issue]airplane_mode_on|data_mode_off[PERSONA:None]"
LONG = "[service_issue]lock_sim_card_pin|overdue_bill_suspension[PERSONA:Easy]"
CANCEL = "88"
NOTHING = "10"
LONG_BY_CODE, FILTERED = "90", "73"
"""Tasks whose requests are refused with one of OpenAI's error codes."""
USED = (ROAMING, AIRPLANE, LONG, CANCEL, NOTHING, LONG_BY_CODE, FILTERED)

KWARGS = {"enable_thinking": False}
Serve = Callable[[AnswerPolicy], ReplayServer]


def tau2(**more: Any) -> Tau2:
    return Tau2(**{"retries": 0, "attempts": 1, "max_steps": 12, **more})


class Replay:
    """Both sides perform a task's official gold actions; then the agent reports and the user leaves.

    The user's prompt contains its reason for the call; its messages name the task, by which the agent identifies it. In
    `endless` tasks both only talk and never leave.
    """

    def __init__(self, *endless: str) -> None:
        self.endless = endless
        domains = resources.files("inspect_evals.tau2") / "data" / "domains"
        tasks = json.loads(gzip.decompress((domains / "telecom" / "tasks.json.gz").read_bytes()))
        tasks += json.loads((domains / "retail" / "tasks.json").read_bytes())
        used = {task["id"]: task for task in tasks if task["id"] in USED}
        self.actions = {name: task["evaluation_criteria"]["actions"] for name, task in used.items()}
        self.reasons = {name: task["user_scenario"]["instructions"]["reason_for_call"] for name, task in used.items()}

    @staticmethod
    def side(body: dict[str, Any]) -> str:
        return "user" if "User Simulation Guidelines" in body["messages"][0]["content"] else "assistant"

    def task(self, body: dict[str, Any]) -> str:
        text = "".join(str(message["content"]) for message in body["messages"])
        return next(name for name in self.reasons if f"about {name}." in text or self.reasons[name] in text)

    def __call__(self, body: dict[str, Any]) -> Reply:
        side, task = self.side(body), self.task(body)
        roles = [message["role"] for message in body["messages"]]
        todo = [action for action in self.actions[task] if action.get("requestor", "assistant") == side]
        if task not in self.endless and roles.count("tool") < len(todo):
            action = todo[roles.count("tool")]
            return call((action["name"], action["arguments"]), reasoning="The gold action is next.")
        leaves = side == "user" and roles.count("user") > 1 and task not in self.endless
        return say("Thanks. ###STOP###" if leaves else f"This is about {task}.")


def outcomes(records: dict[str, TrialRecord]) -> dict[str, bool | None]:
    return {name: record.success for name, record in records.items()}


@pytest.mark.slow
def test_every_way_in_which_a_dialogue_can_end(serve: Serve, tmp_path: Path) -> None:
    replay = Replay(NOTHING)
    context_exceeded = {"status": 400, "message": "This model's maximum context length is 8192 tokens. However, …"}
    refused = {
        (LONG, "assistant"): context_exceeded,
        (AIRPLANE, "user"): context_exceeded,
        (LONG_BY_CODE, "assistant"): {"status": 400, "code": "context_length_exceeded", "message": "Shorten it."},
        (FILTERED, "assistant"): {"status": 400, "code": "content_filter", "message": "Not that."},
    }

    def answer(body: dict[str, Any]) -> Reply:
        return refused.get((replay.task(body), replay.side(body))) or replay(body)

    def answer_as_hosted(body: dict[str, Any]) -> Reply:
        return {"status": 400, "message": "unknown parameter: top_k"} if "top_k" in body else answer(body)

    model, user = serve(answer), serve(answer_as_hosted)
    simulator = user.endpoint().model_copy(update={"model": "simulator", "sampling": Sampling(top_k=0)})
    tasks = {"retail": (CANCEL, NOTHING, LONG_BY_CODE, FILTERED), "telecom": (ROAMING, LONG, AIRPLANE)}
    benchmark, endpoint = tau2(smoke=tasks, user=simulator), model.endpoint(chat_template_kwargs=KWARGS)
    records = {record.task_id: record for record in run_tau2(benchmark, endpoint, tmp_path)}

    failed, errored = dict.fromkeys((NOTHING, LONG, LONG_BY_CODE), False), dict.fromkeys((AIRPLANE, FILTERED))
    assert outcomes(records) == {CANCEL: True, ROAMING: True} | failed | errored
    assert (records[CANCEL].calls, records[CANCEL].valid_calls, records[CANCEL].stop_reason) == (1, 1, "stop")
    assert (records[ROAMING].calls, records[ROAMING].completion_tokens) == (1, 10), (
        "without the user's calls and tokens"
    )
    assert records[NOTHING].stop_reason == "max_steps", "its database is as expected, but the user never left"
    assert records[LONG].stop_reason == records[LONG_BY_CODE].stop_reason == "context_length"
    assert str(records[FILTERED].infrastructure_error).startswith("agent: BadRequestError"), "not the model's answer"
    assert str(records[AIRPLANE].infrastructure_error).startswith("user: BadRequestError"), "not the model's failure"
    assert {(r.harness, r.simulator) for r in records.values()} == {
        ("inspect-evals 0.26.0 tau2, 12 steps", "simulator")
    }
    assert do_nothing(list(records.values())) == {"retail": 0.25, "telecom": 0.0}
    assert not (tmp_path / "scratch").exists(), "the databases' temporary copies are removed"
    _check_wire(model.requests, user.requests)
    transcripts = {task: record.transcript for task, record in records.items() if record.transcript}
    assert set(transcripts) == set(failed), "only failed trials have one"
    assert "never ended the dialogue (max_steps)" in (tmp_path / transcripts[NOTHING]).read_text()

    refused.clear()
    with (tmp_path / "trials.jsonl").open("a") as file:
        file.write('{"benchmark": "ta')  # as a killed process may leave it
    requests_before = len(model.requests)
    resumed = {record.task_id: record for record in run_tau2(benchmark, endpoint, tmp_path)}
    assert resumed == records | {name: resumed[name] for name in errored}
    assert [(resumed[name].success, resumed[name].calls) for name in errored] == [(True, 0), (True, 1)]
    assert {replay.task(body) for body in model.requests[requests_before:]} == set(errored), "no trial runs twice"


def _check_wire(agent: list[dict[str, Any]], user: list[dict[str, Any]]) -> None:
    assert {Replay.side(body) for body in agent} == {"assistant"}
    sent = {(b["model"], b["temperature"], b["top_p"], b["top_k"], b["max_tokens"]) for b in agent}
    assert sent == {("replay_model/x", 0.7, 0.9, 20, 256)}
    assert all(body["chat_template_kwargs"] == KWARGS for body in agent)
    assert not any("chat_template_kwargs" in body for body in user), "the simulator is another model"
    assert len({body["seed"] for body in agent + user}) == len(agent + user), "each request has its own seed"
    assert not any(tool["function"].get("strict") for body in agent for tool in body["tools"])
    called = [message for body in agent for message in body["messages"] if message.get("tool_calls")]
    assert called
    assert all(message["reasoning"] == "The gold action is next." for message in called)


@pytest.mark.slow
def test_a_dead_server_is_not_scored(dead_endpoint: Endpoint, tmp_path: Path) -> None:
    tasks = {"retail": (NOTHING,), "telecom": (ROAMING,)}
    records = run_tau2(tau2(smoke=tasks), dead_endpoint, tmp_path, trials=2)
    assert len(records) == 4
    assert {record.success for record in records} == {None}
    assert all("APIConnectionError" in str(record.infrastructure_error) for record in records)


def test_splits_are_halves_of_the_base_set() -> None:
    """With the sizes of the official release."""
    sizes = {"airline": (50, 30, 20), "retail": (114, 74, 40), "telecom": (114, 74, 40)}
    for domain, expected in sizes.items():
        base, train, test = (
            set(Tau2Settings(subset="full", domains=(domain,), split=split).tasks()[domain])
            for split in ("base", "train", "test")
        )
        assert (len(base), len(train), len(test)) == expected
        assert train | test == base
    smoke = Tau2Settings(smoke={"airline": ("0", "2"), "retail": ("0",)}, split="test")
    assert smoke.tasks() == {"airline": ("2",)}, "0 is a train task in both"
    assert smoke.harness == "inspect-evals 0.26.0 tau2, split test"


@pytest.mark.parametrize(
    ("selection", "error"),
    [
        ({"smoke": {"retial": ()}}, r"'retial'; did you mean 'retail'"),
        ({"smoke": {"airline": ("0", "50")}}, r"airline has no task '50'; its ids are like '0'"),
        ({"smoke": {"airline": ("0",)}, "split": "test"}, r"no τ² task is selected: .*split=test"),
    ],
)
def test_an_unknown_domain_or_task_or_an_empty_selection_is_refused(selection: dict[str, Any], error: str) -> None:
    with pytest.raises(UserError, match=error):
        tau2(**selection)
