"""Tables 1 and 4: the definitions on a hand-written dialogue, and the metrics of real runs against a naive recount."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from core.dialogue import Dialogue
from core.journal import write_jsonl
from core.messages import AssistantMessage, Message, SystemMessage, ToolCall, ToolMessage, ToolSpec, UserMessage
from core.provenance import Provenance
from core.usage import RoleUsage, Usage
from generation.metrics.diversity import SaturationSettings
from generation.metrics.statistics import CostSettings, MeanMax, RoleMetrics, Statistics, StatisticsTally
from generation.outcomes import Outcome
from generation.summary import summarise
from tests.generation.helpers.pipeline_runs import FinishedRun, quality_settings


def statistics(name: str, outcomes: list[Outcome], gpus: int = 0) -> Statistics:
    tally = StatisticsTally(
        name,
        None,
        quality_settings(),
        CostSettings(gpus=gpus, per_gpu_hour=2.0),
        SaturationSettings(growth=0.2, dialogues=200),
    )
    for outcome in outcomes:
        tally.add(outcome)
    return tally.result()


TOOL = ToolSpec(name="get", description="get", parameters={"type": "object"})


def calls(*names: str) -> AssistantMessage:
    return AssistantMessage(tool_calls=tuple(ToolCall.make(name, "get", {}) for name in names))


def result(name: str) -> ToolMessage:
    return ToolMessage(tool_call_id=name, content="{}")


def dialogue(*messages: Message, **more: Any) -> Dialogue:
    return Dialogue(
        dialogue_id="d", pipeline="p", domain="x", tools=(TOOL,), messages=messages, tasks=(), task_starts=(), **more
    )


def test_turns_steps_and_tasks_by_hand() -> None:
    """Two requests: one with two rounds of tool use (the first with two calls), one without."""
    one = dialogue(
        SystemMessage(content="s"),
        UserMessage(content="u1"),
        calls("a", "b"),
        result("a"),
        result("b"),
        calls("c"),
        result("c"),
        AssistantMessage(content="a1"),
        UserMessage(content="u2"),
        AssistantMessage(content="a2"),
        UserMessage(content="bye"),
    )
    one.check()
    assert one.turns == 10
    assert one.steps() == (2, 0, 0)
    assert one.user_turns == 3
    metrics = statistics("p", [Outcome(dialogue_id="d", status="accepted", dialogue=one, tasks_requested=2)])
    assert metrics.turn == MeanMax(mean=10, max=10)
    assert metrics.step == MeanMax(mean=2, max=2)
    assert metrics.tasks_requested == 2


def recount(directory: Path) -> dict[str, Any]:
    """The same metrics, recounted naively from the files alone."""
    accepted = [json.loads(line) for line in (directory / "dialogues.jsonl").read_text().splitlines()]
    rejected = [json.loads(line) for line in (directory / "rejected.jsonl").read_text().splitlines()]
    turns, steps, tasks, users, domains = [], [], [], [], {}
    for line in accepted:
        turns.append(len([m for m in line["messages"] if m["role"] in ("user", "assistant", "tool")]))
        users.append(len([m for m in line["messages"] if m["role"] == "user"]))
        tasks.append(len(json.loads(line["tasks"])))
        for message in line["messages"]:
            if message["role"] == "user":
                steps.append(0)
            if "tool_calls" in message:
                steps[-1] += 1
        domains[line["domain"]] = domains.get(line["domain"], 0) + 1
    steps = [count for count in steps if count]
    everything = accepted + [line["dialogue"] for line in rejected]
    return {
        "accepted": len(accepted),
        "rejected": len(rejected),
        "unanswered": 0,
        "step": {"mean": round(sum(steps) / len(steps), 3), "max": max(steps)},
        "turn": {"mean": round(sum(turns) / len(turns), 3), "max": max(turns)},
        "task": {"mean": round(sum(tasks) / len(tasks), 3), "max": max(tasks)},
        "user_turns": {"mean": round(sum(users) / len(users), 3), "max": max(users)},
        "domains": domains,
        "requests": sum(json.loads(line["usage"])["requests"] for line in everything),
        "prompt_tokens": sum(json.loads(line["usage"])["prompt_tokens"] for line in everything),
        "completion_tokens": sum(json.loads(line["usage"])["completion_tokens"] for line in everything),
    }


def test_statistics_json_against_a_naive_recount(executed: FinishedRun, simulated: dict[str, FinishedRun]) -> None:
    for played in (executed, *simulated.values()):
        written = json.loads((played.directory / "statistics.json").read_text())
        expected = recount(played.directory)
        assert {key: written[key] for key in expected} == expected
        assert written["started"] == 30 == written["accepted"] + written["rejected"] + written["failed"]
        assert sum(written["reasons"].values()) >= written["rejected"]
        assert written["latency_s"] == pytest.approx(written["wall_s"] / written["accepted"], rel=0.01)
        assert written["throughput"] == pytest.approx(written["completion_tokens"] / written["wall_s"], rel=0.01)


def test_user_oriented_dialogues_have_more_turns_and_tasks(simulated: dict[str, FinishedRun]) -> None:
    """Table 1's finding; fewer than ten turns would suggest a simulator that is not incremental."""
    task_oriented, user_oriented = (simulated[name].statistics for name in ("task_oriented", "user_oriented"))
    assert user_oriented.turn.mean > 1.5 * task_oriented.turn.mean
    assert user_oriented.task.mean > task_oriented.task.mean
    assert user_oriented.turn.mean > 10


def test_reasons_are_counted_by_kind_once_per_dialogue() -> None:
    reasons = [
        ("told in task 0: never told: 3", "state of task 1: x"),
        ("finished: agent: the answer is empty",),
        ("finished: user: not done after 3 messages",),
        ("llm: gone",),
        ("judge: no", "judge: no"),
    ]
    outcomes = [Outcome(dialogue_id=str(i), status="rejected", reasons=r) for i, r in enumerate(reasons)]
    counted = statistics("p", outcomes).reasons
    assert counted == {"told": 1, "state": 1, "finished: agent": 1, "finished: user": 1, "llm": 1, "judge": 1}


def test_rejections_for_telling_alone_are_counted() -> None:
    told, state = "told in task {}: never told: 3", "state of task 1: x"
    reasons = [(told.format(0),), (told.format(0), told.format(1)), (told.format(0), state), (state,), ()]
    outcomes = [Outcome(dialogue_id=str(i), status="rejected", reasons=r) for i, r in enumerate(reasons)]
    assert statistics("p", outcomes).rejected_untold == 2


def test_costs_by_hand() -> None:
    """Two sessions of one hour on 8 GPUs. The judge accounts for a quarter of all waiting; failed dialogues cost tokens
    too."""
    agent = RoleUsage(requests=3, prompt_tokens=100, cached_tokens=60, completion_tokens=9)
    judge = RoleUsage(requests=1, prompt_tokens=50, completion_tokens=2)
    spent = [
        ("accepted", 1, Usage(requests=4, roles={"agent": agent, "judge": judge}), {"agent": 20.0, "judge": 10.0}, 2),
        ("failed", 2, Usage(requests=3, roles={"agent": agent}), {"agent": 10.0}, 1),
    ]
    outcomes = [
        Outcome(
            dialogue_id=str(session),
            status=status,
            session=session,
            clock=3600.0,
            dialogue=dialogue(
                SystemMessage(content="s"), usage=usage, provenance=Provenance(llm="big", llms={"judge": "small"})
            ),
            role_seconds=seconds,
            role_retries={"agent": retries},
        )
        for status, session, usage, seconds, retries in spent
    ]
    metrics = statistics("p", outcomes, gpus=8)
    assert (metrics.gpu_hours, metrics.cost) == (16.0, 32.0)
    assert metrics.roles["agent"] == RoleMetrics(
        llm="big",
        requests=6,
        retries=3,
        prompt_tokens=200,
        cached_tokens=120,
        completion_tokens=18,
        seconds=30.0,
        gpu_hours=12.0,
    )
    assert (metrics.roles["judge"].gpu_hours, metrics.roles["judge"].llm) == (4.0, "small")
    assert (metrics.requests, metrics.prompt_tokens, metrics.completion_tokens) == (7, 250, 20)
    assert statistics("p", outcomes).cost == 0.0, "without GPUs there is no cost"


def test_tokens_that_one_server_did_not_count_are_unknown_in_total(tmp_path: Path) -> None:
    counted, uncounted = (
        RoleUsage(prompt_tokens=7, completion_tokens=2),
        RoleUsage(prompt_tokens=7, completion_tokens=None),
    )
    usages = [Usage(roles={"agent": counted, "judge": counted}), Usage(roles={"agent": uncounted})]
    outcomes = [
        Outcome(
            dialogue_id=str(i), status="failed", clock=4.0, dialogue=dialogue(SystemMessage(content="s"), usage=usage)
        )
        for i, usage in enumerate(usages)
    ]
    metrics = statistics("p", outcomes)
    assert (metrics.prompt_tokens, metrics.completion_tokens, metrics.throughput) == (21, None, None)
    assert (metrics.roles["agent"].completion_tokens, metrics.roles["judge"].completion_tokens) == (None, 2)
    console = Console(record=True, width=200)
    write_jsonl(tmp_path / "toolsets.jsonl", [])
    summarise(console, [metrics], tmp_path)
    assert "?" in console.export_text()


def test_wall_clock_sums_all_sessions_and_zero_denominators_are_handled() -> None:
    clocks = [(1, 2.0), (1, 5.0), (2, 1.5), (1, 4.0)]
    outcomes = [
        Outcome(dialogue_id=str(i), status="failed", session=session, clock=clock)
        for i, (session, clock) in enumerate(clocks)
    ]
    metrics = statistics("p", outcomes)
    assert metrics.wall_s == 6.5
    assert metrics.tasks_requested == 0, "they failed before the first task"
    assert metrics.latency_s is None
    assert metrics.throughput == 0.0
    empty = statistics("p", [])
    assert (empty.started, empty.throughput, empty.agreement) == (0, None, None)
