"""Dialogues of every kind of request from the stand-in: what was asked for is there, and replays."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import pytest
import yaml

from core.dialogue import Dialogue
from core.messages import AssistantMessage, Message, ToolCall, ToolMessage, UserMessage
from core.placeholders import resolve_arguments
from core.policy import Rule
from core.request_kinds import NOTHING_HAPPENS, RequestKind
from generation.llm.meter import Meter
from generation.policies.comparisons import governs
from generation.run import domains as domains_of
from generation.scripted.llm import ScriptedLLM
from generation.seeds.base import Seed
from generation.stages import Policies, Tools
from generation.tasks.mentions import states
from generation.toolset_runner import run_toolset_stages, source_from_seed
from generation.validation.validate import policy_check, replay
from tests.generation.helpers.pipeline_runs import ROWS_PER_TABLE, FinishedRun, run_to_end
from tests.helpers.paths import CONF

EVERY_KIND = {kind: 1.0 for kind in get_args(RequestKind) if kind not in ("plain", "guided")} | {"forbidden": 4.0}
WITH_PLAIN = EVERY_KIND | {"plain": 3.0}
"""A request that cannot be written becomes a plain one, too. Guided ones: tests/generation/dual_control."""


@pytest.fixture(scope="module")
def mixed(seeds: Sequence[Seed], tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    folder: Path = tmp_path_factory.mktemp("mixed")
    stages = [
        Tools(max_tools=24, batch=5, attempts=3, questions=0, expansion=0),
        Policies(rules=6, attempts=3, file=None),
    ]
    toolset_sources = [source_from_seed(seed) for seed in seeds]
    path = folder / "toolsets.jsonl"
    toolsets = asyncio.run(run_toolset_stages(toolset_sources, stages, ScriptedLLM(), path, 4, lambda toolset: None))
    domains = domains_of(toolsets, ROWS_PER_TABLE, seed=0)
    return run_to_end("user_oriented_exec", domains, folder / "run", n=110, kinds=WITH_PLAIN, count={1: 0.5, 2: 0.5})


def test_the_shipped_mix_names_every_kind() -> None:
    for name in ("plain", "mix"):
        shipped = yaml.safe_load((CONF / "requests" / f"{name}.yaml").read_text())
        assert set(shipped["kinds"]) == set(get_args(RequestKind))


def test_every_kind_is_there_and_accepted(mixed: FinishedRun) -> None:
    kinds = Counter(task.kind for dialogue in mixed.accepted for task in dialogue.tasks)
    assert set(EVERY_KIND) <= set(kinds), kinds
    assert len(mixed.accepted) >= 95, [rejection.reasons for rejection in mixed.rejected]
    asked = Counter(r.kind for d in mixed.accepted for r in d.provenance.writer_requests.values())
    assert set(asked) <= set(WITH_PLAIN)


def test_nothing_happens_where_nothing_must(mixed: FinishedRun) -> None:
    for dialogue in mixed.accepted:
        if all(task.kind in NOTHING_HAPPENS for task in dialogue.tasks):
            assert dialogue.state
            assert dialogue.state.diff == ()


def test_withheld_values_come_late_and_withdrawn_ones_never(mixed: FinishedRun) -> None:
    for dialogue, number in _tasks(mixed, "incomplete", "ambiguous", "withdrawn"):
        task, part = dialogue.tasks[number], dialogue.part(number)
        said = [message.content for message in part if isinstance(message, UserMessage)]
        assert not any(states(said[0], value) for value in task.withheld)
        later = any(states(text, value) for text in said[1:] for value in task.withheld)
        assert later is (task.kind != "withdrawn")


def test_late_tools_are_offered_after_the_assistant_has_missed_them(mixed: FinishedRun) -> None:
    late = list(_tasks(mixed, "late_tool"))
    assert late
    for dialogue, number in late:
        for tool in dialogue.tasks[number].late_tools:
            start = dialogue.late_tools[tool]
            assert isinstance(dialogue.messages[start], UserMessage)
            assert isinstance(dialogue.messages[start - 1], AssistantMessage)
            assert start > dialogue.task_starts[number]
    for dialogue, number in _tasks(mixed, "no_tool"):
        offered = {tool.name for tool in dialogue.tools_at(dialogue.task_starts[number])}
        assert not offered & set(dialogue.tasks[number].late_tools)


def test_the_first_message_states_the_rules_about_late_tools(mixed: FinishedRun) -> None:
    """No later message could: it stands once, and is the same in every prompt of the dialogue."""
    stated = 0
    for dialogue, number in _tasks(mixed, "late_tool"):
        late = set(dialogue.tasks[number].late_tools)
        rules = [rule for rule in dialogue.policy.rules if late & set(rule.tools)] if dialogue.policy else []
        assert all(rule.text in str(dialogue.messages[0].content) for rule in rules)
        assert not any(message.role == "system" for message in dialogue.messages[1:])
        stated += len(rules)
    assert stated


def _tasks(run: FinishedRun, *kinds: str) -> list[tuple[Dialogue, int]]:
    return [
        (dialogue, number)
        for dialogue in run.accepted
        for number, task in enumerate(dialogue.tasks)
        if task.kind in kinds
    ]


async def test_broken_rules_are_found_and_kept_ones_are_not(mixed: FinishedRun) -> None:
    """The stand-in sometimes breaks rules itself; those dialogues are rejected. In accepted ones, rules are broken here
    on purpose. Identity, which few of these tasks need, has its own tests in policies/test_violations.py."""
    found: Counter[str] = Counter()
    for dialogue in mixed.accepted:
        assert dialogue.policy
        assert await _broken(mixed, dialogue) == set()
        for number, task in enumerate(dialogue.tasks):
            if task.kind == "forbidden" and task.rule_id:
                assert task.rule_id in await _broken(mixed, _with_forbidden_call(dialogue, number))
                found[dialogue.policy.rule(task.rule_id).form] += 1
        for position, rule in _governed(dialogue, "confirm"):
            assert rule.rule_id in await _broken(mixed, _without_consent(dialogue, position))
            found["confirm"] += 1
    assert all(found[form] >= 3 for form in ("arguments", "state", "staff", "confirm")), found


async def _broken(run: FinishedRun, dialogue: Dialogue) -> set[str]:
    pipeline = run.pipeline
    toolset = next(each.toolset for each in pipeline.domains if each.domain.name == dialogue.domain)
    environment = pipeline.environments.for_domain(toolset, Meter(ScriptedLLM()), dialogue.dialogue_id)
    replayed = await replay(dialogue, environment)
    assert all(check.passed for check in policy_check(dialogue, replayed)) is not bool(replayed.violations)
    return {violation.rule_id for violation in replayed.violations}


def _with_messages(dialogue: Dialogue, at: int, new: tuple[Message, ...], dropped: int = 0) -> Dialogue:
    """The dialogue with `dropped` messages from `at` on replaced."""
    shift = len(new) - dropped
    starts = tuple(start + shift if start > at else start for start in dialogue.task_starts)
    messages = (*dialogue.messages[:at], *new, *dialogue.messages[at + dropped :])
    return dialogue.model_copy(update={"messages": messages, "task_starts": starts})


def _with_forbidden_call(dialogue: Dialogue, number: int) -> Dialogue:
    """The agent makes the forbidden call before its last answer in the task."""
    task, start = dialogue.tasks[number], dialogue.task_starts[number]
    made = [(call.name, arguments, json.loads(result)) for _, call, arguments, result in dialogue.executed(number)]
    results = {  # by the plan's numbers: a mistaken call before the right one has none
        index: result
        for index, gold in enumerate(task.gold_calls)
        for name, arguments, result in made
        if (name, arguments) == (gold.tool, gold.arguments)
    }
    planned = task.plan[-1]
    call = ToolCall.make("bad", planned.tool, resolve_arguments(planned.arguments, results))
    answers = [n for n, m in enumerate(dialogue.part(number)) if isinstance(m, AssistantMessage) and not m.tool_calls]
    made = (AssistantMessage(tool_calls=(call,)), ToolMessage(tool_call_id="bad", content="{}"))
    return _with_messages(dialogue, start + answers[-1], made)


def _governed(dialogue: Dialogue, form: str) -> list[tuple[int, Rule]]:
    """(position of the message, rule) of each call that a rule of this form governs."""
    rules = [rule for rule in dialogue.policy.rules if rule.form == form] if dialogue.policy else []
    return [
        (position, rule)
        for position, message in enumerate(dialogue.messages)
        if isinstance(message, AssistantMessage)
        for call in message.tool_calls or ()
        for rule in rules
        if call.name in rule.tools and governs(rule.when, call.parsed(), dialogue.provenance.now or "")
    ]


def _without_consent(dialogue: Dialogue, position: int) -> Dialogue:
    """The user hesitates instead of agreeing to the call at `position`."""
    said = max(n for n in range(position) if isinstance(dialogue.messages[n], UserMessage))
    return _with_messages(dialogue, said, (UserMessage(content="Hm, let me think about it first."),), dropped=1)
