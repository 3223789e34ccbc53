"""Dialogues that offer parts of a pool, with dealt cards and varied system messages: the whole pipeline."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest

from core.dialogue import Dialogue
from core.messages import SystemMessage
from generation.dialogue.scenario import VarietySettings
from generation.llm.contexts import TaskWriterContext
from generation.pipeline import DomainTools
from generation.start_states.start_states import StartState
from generation.tools.choice import ToolChoiceSettings
from tests.generation.helpers.pipeline_runs import FinishedRun, files, run_to_end, start_states, user_settings

BLOCK = 4
VARIETY = VarietySettings(
    tools=ToolChoiceSettings(count=6, block=BLOCK, distractors=1, shuffle=True),
    cards=True,
    system_prompts={"full": 1, "brief": 1, "rules_first": 1, "none": 2},
)
Domains = tuple[DomainTools, ...]


def run(domains: Domains, directory: Path, n: int = 60, **more: Any) -> FinishedRun:
    user = user_settings("mix")
    return run_to_end("user_oriented_exec", domains, directory, n, variety=VARIETY, user=user, **more)


@pytest.fixture(scope="module")
def played(domains: Domains, tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    return run(domains, tmp_path_factory.mktemp("variety"))


def every(played: FinishedRun) -> list[Dialogue]:
    return [*played.accepted, *(r.dialogue for r in played.rejected if r.dialogue)]


def block_of(dialogue: Dialogue, domains: Domains) -> tuple[str, int]:
    return dialogue.domain, int(dialogue.dialogue_id[-7:]) // len(domains) // BLOCK


def test_most_dialogues_are_accepted(played: FinishedRun) -> None:
    assert played.statistics.accepted >= 48


def test_the_dialogues_of_a_block_share_tools_and_their_order(played: FinishedRun, domains: Domains) -> None:
    blocks = defaultdict(set)
    for dialogue in every(played):
        blocks[block_of(dialogue, domains)].add(tuple(tool.name for tool in dialogue.tools))
    assert all(len(tools) == 1 for tools in blocks.values())
    assert len({tools for of_block in blocks.values() for tools in of_block}) == len(blocks) == 15


def test_tools_that_are_not_offered_are_neither_planned_nor_called(played: FinishedRun) -> None:
    for dialogue in played.accepted:
        dialogue.check()
        offered = {tool.name for tool in dialogue.tools}
        assert {call.tool for task in dialogue.tasks for call in task.plan} <= offered


def test_the_whole_pool_is_used(played: FinishedRun, domains: Domains) -> None:
    for domain in domains:
        used = {
            call.tool for d in every(played) if d.domain == domain.domain.name for t in d.tasks for call in t.gold_calls
        }
        assert len(used) >= len(domain.toolset.tools) - 2  # the stand-in cannot use lists of many rows


def test_the_writer_is_asked_for_target_tools_and_mostly_uses_them(played: FinishedRun) -> None:
    hits = Counter[bool]()
    for dialogue in every(played):
        for task in dialogue.tasks:
            if targets := dialogue.provenance.writer_requests[task.task_id].targets:
                hits[any(call.tool in targets for call in task.plan)] += 1
    assert hits[True] > 5 * hits[False]
    contexts = [request.context for request, _ in played.log if isinstance(request.context, TaskWriterContext)]
    follow_ups = [context for context in contexts if context.want_follow_up]
    assert follow_ups
    assert not any(context.targets for context in follow_ups)
    assert all("; expertise: " in context.user for context in contexts)


def test_system_messages_vary_by_block_and_some_dialogues_have_none(played: FinishedRun, domains: Domains) -> None:
    styles = {block_of(d, domains): str(d.provenance.system_prompt) for d in played.accepted}
    assert set(styles.values()) == {"full", "brief", "rules_first", "none"}
    for dialogue in played.accepted:
        style = dialogue.provenance.system_prompt
        assert style == styles[block_of(dialogue, domains)]
        assert isinstance(dialogue.messages[0], SystemMessage) is (style != "none")
        assert dialogue.task_starts[0] == (style != "none")


def test_files_do_not_depend_on_concurrency(played: FinishedRun, domains: Domains, tmp_path: Path) -> None:
    for concurrency in (1, 32):
        again = run(domains, tmp_path / str(concurrency), concurrency=concurrency)
        assert files(again.directory) == files(played.directory)


def test_a_continued_dialogue_keeps_its_own_tools_and_user(
    played: FinishedRun, domains: Domains, tmp_path: Path
) -> None:
    parents = played.accepted[:12]
    starts = start_states(tuple(StartState(d.dialogue_id, d) for d in parents))
    further = run(domains, tmp_path, n=12, starts=starts, seed=5)
    assert len(further.accepted) >= 8
    by_id = {dialogue.dialogue_id: dialogue for dialogue in parents}
    for dialogue in further.accepted:
        parent = by_id[str(dialogue.provenance.parent)]
        assert dialogue.tools == parent.tools
        assert dialogue.provenance.persona == parent.provenance.persona
        assert dialogue.provenance.user_rules == parent.provenance.user_rules
        assert dialogue.provenance.system_prompt == parent.provenance.system_prompt
        assert dialogue.messages[: len(parent.messages) - 1] == parent.messages[:-1]


def test_simulated_tools_vary_too(domains: Domains, tmp_path: Path) -> None:
    simulated = run_to_end("user_oriented", domains, tmp_path, 24, variety=VARIETY)
    assert {len(dialogue.tools) for dialogue in simulated.accepted} == {6}
    assert len({tuple(tool.name for tool in dialogue.tools) for dialogue in simulated.accepted}) >= 6
