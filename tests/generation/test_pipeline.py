"""Runs give the same bytes at any concurrency and after any interruption, and survive every model answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from core.messages import FunctionCall, ToolCall
from core.settings import UserError
from generation.llm.base import Completion, LLMError, Request, Role
from generation.scripted.llm import ScriptedLLM
from tests.generation.helpers.pipeline_answers import EXECUTED, Domains
from tests.generation.helpers.pipeline_runs import (
    FinishedRun,
    SpoiledRole,
    files,
    fixed_answer,
    run_to_end,
)


@pytest.mark.parametrize("name", ["task_oriented", "user_oriented", EXECUTED])
def test_equal_seeds_give_equal_bytes_at_any_concurrency(name: str, domains: Domains, tmp_path: Path) -> None:
    first, *others = [
        files(run_to_end(name, domains, tmp_path / str(workers), n=24, concurrency=workers).directory)
        for workers in (1, 7, 64)
    ]
    assert first["dialogues.jsonl"].count(b"\n") > 12
    assert others == [first, first]
    assert files(run_to_end(name, domains, tmp_path / "other", n=24, seed=1).directory) != first


def test_every_request_has_its_own_key_and_its_dialogues_affinity(
    executed: FinishedRun, simulated: dict[str, FinishedRun]
) -> None:
    for played in (executed, *simulated.values()):
        requests = [request for request, _ in played.log]
        assert len({request.key for request in requests}) == len(requests)
        assert all(request.key.startswith(f"{request.affinity}/") for request in requests)
        assert {request.affinity for request in requests} == {f"{played.pipeline.name}-{i:07d}" for i in range(30)}


def test_lines_are_in_order_and_carry_their_provenance(executed: FinishedRun) -> None:
    numbers = [int(d.dialogue_id.rpartition("-")[2]) for d in executed.accepted]
    assert numbers == sorted(numbers)
    for dialogue, number in zip(executed.accepted, numbers, strict=True):
        domain_tools = executed.pipeline.domains[number % 3]
        assert dialogue.domain == domain_tools.domain.name
        assert dialogue.provenance.database_sha256 == domain_tools.toolset.database_sha256
        assert dialogue.provenance.llm == "scripted"
        assert dialogue.provenance.seed == 0
        assert dialogue.provenance.persona.partition("; expertise: ")[0] in executed.pipeline.settings.user.personas
        assert {"agent", "user", "judge", "task_writer"} <= set(dialogue.provenance.prompts)


def test_usage_adds_up_to_the_requests(executed: FinishedRun) -> None:
    spent: Counter[str] = Counter()
    for request, completion in executed.log:
        spent[request.affinity] += completion.completion_tokens
    by_id = {d.dialogue_id: d.usage for d in executed.accepted}
    by_id |= {r.dialogue_id: r.dialogue.usage for r in executed.rejected if r.dialogue}
    assert {name: usage.completion_tokens for name, usage in by_id.items()} == dict(spent)
    assert sum(usage.requests for usage in by_id.values()) == len(executed.log)


def arguments(text: str) -> Callable[[Completion], Completion]:
    """The same calls with other arguments."""
    return calls(lambda call: call.model_copy(update={"function": FunctionCall(name=call.name, arguments=text)}))


def calls(change: Callable[[ToolCall], ToolCall]) -> Callable[[Completion], Completion]:
    def spoil(completion: Completion) -> Completion:
        changed = tuple(change(call) for call in completion.message.tool_calls or ()) or None
        return replace(completion, message=completion.message.model_copy(update={"tool_calls": changed}))

    return spoil


def cut(completion: Completion) -> Completion:
    content = completion.message.content[: len(completion.message.content) // 2]
    return replace(
        completion, finish_reason="length", message=completion.message.model_copy(update={"content": content})
    )


NO_JSON = "I would rather not say."


WRONG_TYPES = (
    '{"goal": 3, "user_message": [], "is_task_complete": "perhaps", "judgment": 7, "reasoning": {}, '
    '"rows_affected": "many"}'
)


HALF_A_CHARACTER = '{"goal": "\\ud83d", "user_message": "\\ud83d", "is_task_complete": false, "reasoning": "\\ud83d"}'


ENDLESS = "[" * 30_000


UNUSABLE = "finished: agent: nothing usable in 3 attempts: "


@pytest.mark.parametrize(
    "spoil",
    [
        fixed_answer(""),
        cut,
        fixed_answer(NO_JSON),
        fixed_answer(WRONG_TYPES),
        fixed_answer(HALF_A_CHARACTER),
        fixed_answer(ENDLESS),
    ],
)
@pytest.mark.parametrize(
    ("role", "name", "blamed"),
    [
        ("task_writer", EXECUTED, "finished: task_writer: "),
        ("user", EXECUTED, "finished: user: nothing usable in "),
        ("tool_simulator", "task_oriented", "finished: tool_simulator: "),
        ("judge", "task_oriented", "judge: the judge's answer is unreadable: "),
    ],
)
def test_unusable_answers_reject_the_dialogue_and_blame_their_role(
    role: Role, name: str, blamed: str, spoil: Callable[[Completion], Completion], domains: Domains, tmp_path: Path
) -> None:
    played = run_to_end(name, domains, tmp_path, n=3, llm=SpoiledRole(role, spoil))
    assert (played.statistics.accepted, played.statistics.rejected, played.statistics.failed) == (0, 3, 0)
    for rejection in played.rejected:
        assert rejection.dialogue
        assert rejection.reasons
        assert all(reason.startswith(blamed) for reason in rejection.reasons)


@pytest.mark.parametrize(
    ("spoil", "blamed"),
    [
        (fixed_answer(""), "finished: agent: nothing usable in 3 attempts: the answer is empty"),
        (cut, "finished: agent: nothing usable in 3 attempts: the answer was cut off"),
        (fixed_answer("half \ud83d"), "finished: agent: nothing usable in 3 attempts: the answer is not text"),
        (calls(lambda c: ToolCall.make(c.id, "open_door", {})), UNUSABLE),
        (arguments("{'a': 1"), UNUSABLE),
        (arguments("[1]"), UNUSABLE),
        (arguments(ENDLESS), UNUSABLE),
        (arguments('{"limit": ' + 5000 * "9" + "}"), UNUSABLE),
        (arguments('{"limit": NaN, "x": "\\ud83d"}'), UNUSABLE),
    ],
)
@pytest.mark.parametrize("name", ["task_oriented", EXECUTED])
def test_unusable_agent_answers_reject_the_dialogue_and_blame_the_agent(
    name: str, spoil: Callable[[Completion], Completion], blamed: str, domains: Domains, tmp_path: Path
) -> None:
    played = run_to_end(name, domains, tmp_path, n=3, llm=SpoiledRole("agent", spoil))
    assert (played.statistics.accepted, played.statistics.failed) == (0, 0)
    assert [reason for rejection in played.rejected for reason in rejection.reasons if reason.startswith(blamed)]


def test_an_agent_that_only_talks_is_rejected_by_execution(domains: Domains, tmp_path: Path) -> None:
    played = run_to_end(
        EXECUTED, domains, tmp_path, n=6, llm=SpoiledRole("agent", fixed_answer("Certainly, it is done."))
    )
    assert len(played.rejected) == 6
    assert all(reason.startswith(("state of", "told in")) for r in played.rejected for reason in r.reasons)


def test_call_ids_that_a_model_repeats_are_made_unique(executed: FinishedRun, domains: Domains, tmp_path: Path) -> None:
    same_ids = calls(lambda call: call.model_copy(update={"id": "call_0"}))
    played = run_to_end(EXECUTED, domains, tmp_path, n=30, llm=SpoiledRole("agent", same_ids))
    assert [d.messages for d in played.accepted] == [d.messages for d in executed.accepted]


class Failing:
    """A model that cannot be reached for some dialogues, and raises an internal error in others."""

    name = "failing"

    def __init__(self) -> None:
        self.llm = ScriptedLLM()

    async def complete(self, request: Request) -> Completion:
        number = int(request.affinity.rpartition("-")[2])
        if number % 5 == 1 and request.role == "agent":
            raise LLMError("the server is gone")
        if number % 5 == 2 and request.role == "judge":
            raise ZeroDivisionError("a bug")
        return await self.llm.complete(request)

    async def close(self) -> None: ...


def test_failed_dialogues_are_recorded_and_the_others_continue(
    executed: FinishedRun, domains: Domains, tmp_path: Path
) -> None:
    played = run_to_end(EXECUTED, domains, tmp_path, n=30, llm=Failing())
    statistics = played.statistics
    failed = played.dead
    assert statistics.started == 30 == statistics.accepted + statistics.rejected + statistics.failed
    assert statistics.failed == len(failed)
    assert {r.reasons for r in failed} == {
        ("llm: the server is gone",),
        ("internal: ZeroDivisionError: a bug",),
    }
    assert {r.unanswered for r in failed if r.reasons[0].startswith("llm")} == {True}
    assert all("ZeroDivisionError" in r.trace for r in failed if r.reasons[0].startswith("internal"))
    assert all(r.dialogue and r.dialogue.tasks for r in failed if r.unanswered), "the dialogue so far is kept"
    assert statistics.reasons["llm"] == 6
    spared = [d.messages for d in executed.accepted if int(d.dialogue_id.rpartition("-")[2]) % 5 not in (1, 2)]
    assert [d.messages for d in played.accepted] == spared


class Misused(Failing):
    async def complete(self, request: Request) -> Completion:
        raise UserError("the key is wrong")


def test_an_error_that_hits_every_dialogue_ends_the_run(domains: Domains, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the key is wrong"):
        run_to_end(EXECUTED, domains, tmp_path, n=30, llm=Misused())
    assert (tmp_path / "journal.jsonl").read_bytes() == b""


def test_without_domains_the_tool_maker_is_to_blame(tmp_path: Path) -> None:
    played = run_to_end(EXECUTED, (), tmp_path, n=4)
    assert [r.reasons[0].partition(":")[0] for r in played.rejected] == ["tool_maker"] * 4
