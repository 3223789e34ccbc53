"""Parallel calls: which look-ups of a turn are merged, which never are, and what stays as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.dialogue import Dialogue, calls
from core.messages import AssistantMessage, ToolMessage
from core.placeholders import placeholder
from core.policy import ConfirmRule, Policy
from core.provenance import Provenance
from core.typography import same_values
from generation.dialogue.parallel import ParallelSettings, merge_look_ups
from generation.pipeline import DomainTools
from generation.stages import Parallel, Rollouts, Tasks, Validation
from generation.start_states.start_states import StartState
from generation.validation.validate import replay
from tests.generation.helpers.look_ups import OWNERS, Shop, Step, conversation, get
from tests.generation.helpers.pipeline_runs import FinishedRun, files, run_to_end, start_states

ALL = ParallelSettings(share=1.0, max_calls=6)
USER = "I need items 11 and 12, those of Ada, and item 13 too, please. Two of them if need be, for 1,100.50."


async def merged(dialogue: Dialogue, seed: str = "0/d", **changes: Any) -> Dialogue:
    return await merge_look_ups(dialogue, Shop(), seed, ALL.model_copy(update=changes))


def sizes(dialogue: Dialogue) -> list[int]:
    """The number of calls in each message with calls."""
    return [len(m.tool_calls) for m in dialogue.messages if isinstance(m, AssistantMessage) and m.tool_calls]


def counts(dialogue: Dialogue) -> tuple[int, int]:
    return dialogue.provenance.parallel["eligible"], dialogue.provenance.parallel["merged"]


async def test_independent_look_ups_become_one_message_with_results_in_the_order_of_the_calls() -> None:
    steps = [get(11, "First item 11.", "One moment."), get(12, "Item 12 as well.", "One moment."), get(13)]
    after = await merged(
        await conversation((USER, steps), ("And Ada's?", [Step((("search_items", {"owner": "Ada"}),))]))
    )
    _, _, message, *results, _, _, call, result, _ = after.messages
    assert isinstance(message, AssistantMessage)
    assert message.reasoning_content == "First item 11.\n\nItem 12 as well."
    assert message.content == "One moment."
    assert [(call.id, call.parsed()) for call in message.tool_calls or ()] == [
        (f"call_2_{number}", {"item_id": 11 + number}) for number in range(3)
    ]
    assert [result.tool_call_id for result in results if isinstance(result, ToolMessage)] == [
        f"call_2_{number}" for number in range(3)
    ]
    assert [f'"item_id": {11 + number}' in result.content for number, result in enumerate(results)] == [True] * 3
    assert isinstance(call, AssistantMessage)
    assert [each.id for each in call.tool_calls or ()] == ["call_8_0"]
    assert isinstance(result, ToolMessage)
    assert result.tool_call_id == "call_8_0"
    assert (after.task_starts, counts(after)) == ((1, 7), (1, 1))
    after.check()


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([get(11), get(12)], [2]),
        ([get(11), Step((("search_items", {"owner": "Ada"}),))], [2]),  # item 11 returns it too
        ([get(12), Step((("search_items", {"owner": "Ada"}),))], [2]),
        ([Step((("get_item", {"item_id": 11}), ("get_item", {"item_id": 12}))), get(13)], [3]),
        ([get(11), Step((("update_item", {"item_id": 12, "price": 1}),)), get(13)], [1, 1, 1]),
        ([Step((("update_item", {"item_id": 12, "price": 1}),)), get(11), get(13)], [1, 2]),
    ],
    ids=["two", "the user said it", "another owner", "parallel before", "write between", "write before"],
)
async def test_groups_are_the_look_ups_that_follow_each_other(steps: list[Step], expected: list[int]) -> None:
    assert sizes(await merged(await conversation((USER, steps)))) == expected


ADA = Step((("search_items", {"owner": "Ada"}),))

NEVER = {
    "argument from the result": ("What about those of Ada?", [ADA, get(11)]),
    "argument that others said by chance": ("Ada has 11 items, which ones?", [ADA, get(11)]),
    "argument that is stated nowhere": ("Some items, please.", [get(11), get(12)]),
    "write first": (USER, [Step((("update_item", {"item_id": 12, "price": 1}),)), get(11)]),
    "write second": (USER, [get(11), Step((("update_item", {"item_id": 12, "price": 1}),))]),
    "write without effect": (USER, [get(11), Step((("update_item", {"item_id": 12, "price": 1200.5}),))]),
    "look-up that changes the state": (USER, [get(11), get(12, tool="get_and_count")]),
    "look-up that changes the state first": (USER, [get(11, tool="get_and_count"), get(12)]),
    "result that depends on the order": (
        "A ticket for desks red and blue.",
        [Step((("get_ticket", {"desk": desk}),)) for desk in ("red", "blue")],
    ),
    "reasoning quotes a value": ("Items 11 and 12.", [get(11), get(12, "So it is Ada's. Now 12.")]),
    "reasoning quotes a number in another spelling": ("Items 11 and 12.", [get(11), get(12, "For 1,100.50, fine.")]),
    "reasoning quotes a number in words": ("Items 11 and 12.", [get(11), get(12, "There are two of it. Now 12.")]),
    "content quotes a value": ("Items 11 and 12.", [get(11), get(12, content="It is Ada's. A moment.")]),
    "reasoning names a field of the result": ("Items 11 and 13.", [get(11), get(13, "I know the stock of one.")]),
    "reasoning speaks of a result": (USER, [get(11), get(12, "Now that I have it, item 12.")]),
    "after a look-up in vain": ("Items 99 and 12.", [get(99), get(12)]),
    "the same call again": (USER, [get(11), get(11)]),
}


@pytest.mark.parametrize(("user", "steps"), NEVER.values(), ids=NEVER.keys())
async def test_calls_that_may_rest_on_each_other_are_never_merged(user: str, steps: list[Step]) -> None:
    before = await conversation((user, steps))
    after = await merged(before)
    assert after.messages == before.messages
    assert counts(after) == (0, 0)


async def test_an_argument_that_only_results_have_given_may_come_from_the_last_one() -> None:
    listed = Step((("list_items", {"limit": 5}),))
    owner = Step((("search_items", {"owner": "Di"}),))
    turns = ("List 5 items.", [listed]), ("Number 14, and what its owner has.", [get(14), owner])
    assert sizes(await merged(await conversation(*turns))) == [1, 1, 1]
    turns = turns[0], ("Number 13, and what the owner of the next one has.", [get(13), owner])
    assert sizes(await merged(await conversation(*turns))) == [1, 2]


async def test_look_ups_of_different_turns_are_not_merged() -> None:
    before = await conversation((USER, [get(11)]), ("And now 12.", [get(12)]))
    assert (await merged(before)).messages == before.messages


async def test_calls_that_a_policy_governs_are_not_merged() -> None:
    before = await conversation((USER, [get(11), get(12), get(13, tool="get_item")]))
    rule = ConfirmRule(rule_id="ask", text="Ask first.", tools=("get_item",))
    assert sizes(await merged(before.model_copy(update={"policy": Policy(rules=(rule,))}))) == [1, 1, 1]
    other = rule.model_copy(update={"tools": ("update_item",)})
    assert sizes(await merged(before.model_copy(update={"policy": Policy(rules=(other,))}))) == [3]


async def test_messages_from_a_start_state_stay_as_they_are() -> None:
    before = await conversation((USER, [get(11), get(12)]), (USER, [get(12), get(13)]))
    second = before.task_starts[1]
    given = before.model_copy(update={"given": second, "tasks": before.tasks[1:], "task_starts": (second,)})
    fork = before.model_copy(update={"provenance": Provenance(parent="old", parent_messages=second)})
    for start in (given, fork):
        after = await merged(start)
        assert sizes(after) == [1, 1, 2]
        assert after.messages[:second] == before.messages[:second]


async def test_a_message_has_no_more_calls_than_asked_for() -> None:
    before = await conversation(("Items 11, 12, 13, 14 and 15.", [get(item) for item in OWNERS]))
    assert sizes(await merged(before)) == [5]
    assert sizes(await merged(before, max_calls=2)) == [2, 2, 1]
    assert sizes(await merged(before, max_calls=3)) == [3, 2]


async def test_dialogues_that_break_the_contract_or_do_not_replay_stay_as_they_are() -> None:
    before = await conversation((USER, [get(11), get(12)]))
    broken = before.model_copy(update={"tools": before.tools[1:]})
    assert await merged(broken) is broken
    wrong = tuple(m.model_copy(update={"content": "[]"}) if isinstance(m, ToolMessage) else m for m in before.messages)
    changed = before.model_copy(update={"messages": wrong})
    assert (await merged(changed)).messages == wrong


async def test_late_tools_and_tasks_stay_at_their_user_messages() -> None:
    before = await conversation((USER, [get(11), get(12)]), (USER, [get(12), get(13)]), ("Ada's, please.", [ADA]))
    third = before.task_starts[2]
    after = await merged(before.model_copy(update={"late_tools": {"search_items": third}}))
    assert after.late_tools == {"search_items": after.task_starts[2]} == {"search_items": third - 2}
    assert after.messages[third - 2] == before.messages[third]
    after.check()


STEPS = st.one_of(
    st.builds(get, st.sampled_from(sorted(OWNERS))),
    st.builds(
        lambda item, price: Step((("update_item", {"item_id": item, "price": price}),)),
        st.sampled_from(sorted(OWNERS)),
        st.integers(1, 3),
    ),
    st.builds(lambda owner: Step((("search_items", {"owner": owner}),)), st.sampled_from(sorted(OWNERS.values()))),
    st.builds(lambda a, b: Step((*get(a).calls, *get(b).calls)), st.sampled_from((11, 12)), st.sampled_from((13, 14))),
    st.just(get(99)),
)


@settings(max_examples=80, deadline=None)
@given(
    turns=st.lists(st.lists(STEPS, max_size=5), min_size=1, max_size=3),
    words=st.sampled_from(["Items 11, 12, 13, 14, 15.", "Of Ada and Bo: 11, 12.", "Whatever you have."]),
    seed=st.integers(0, 99),
)
async def test_merging_keeps_contract_replay_and_every_call_with_its_result(
    turns: list[list[Step]], words: str, seed: int
) -> None:
    before = await conversation(*((words, steps) for steps in turns))
    after = await merged(before, f"{seed}/d", share=0.6)
    after.check()
    one, other = await replay(before, Shop()), await replay(after, Shop())
    assert (one.faithful, one.proof, one.hashes) == (True, other.proof, other.hashes)
    assert other.faithful
    for number in range(len(turns)):
        assert calls(after.part(number)) == calls(before.part(number))
        assert after.messages[after.task_starts[number]] == before.messages[before.task_starts[number]]
    spoken = [[m for m in d.messages if not isinstance(m, ToolMessage) and not _calls(m)] for d in (before, after)]
    assert spoken[0] == spoken[1]
    eligible, done = counts(after)
    assert len(before.messages) - len(after.messages) >= done
    assert (done == 0) == (after.messages == before.messages)
    assert eligible >= done


def _calls(message: Any) -> bool:
    return isinstance(message, AssistantMessage) and bool(message.tool_calls)


async def test_the_share_asked_for_is_merged_and_a_larger_share_merges_the_same_and_more() -> None:
    before = await conversation((USER, [get(11), get(12)]), (USER, [get(12), get(13)]))
    done: dict[float, set[tuple[int, int]]] = {}
    for share in (0.0, 0.3, 0.7, 1.0):
        done[share] = set()
        for number in range(300):
            after = await merged(before, f"0/d-{number}", share=share)
            assert counts(after)[0] == 2
            done[share] |= {(number, turn) for turn in (0, 1) if max(sizes(_part(after, turn))) == 2}
        # Of 600 groups, within four standard deviations.
        assert abs(len(done[share]) / 600 - share) <= 4 * (share * (1 - share) / 600) ** 0.5
    assert done[0.0] < done[0.3] < done[0.7] < done[1.0]


def _part(dialogue: Dialogue, number: int) -> Dialogue:
    return dialogue.model_copy(update={"messages": dialogue.part(number)})


STAGES = (Tasks(), Rollouts(), Parallel(share=1.0, max_calls=6), Validation(votes=1, attempts=1))


@pytest.fixture(scope="module")
def parallel(domains: tuple[DomainTools, ...], tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """The dialogues of `executed`, with every group of independent look-ups merged."""
    return run_to_end("user_oriented_exec", domains, tmp_path_factory.mktemp("parallel"), n=30, stages=STAGES)


def test_a_run_accepts_the_same_dialogues_and_never_merges_what_the_plan_chains(
    executed: FinishedRun, parallel: FinishedRun
) -> None:
    """The stand-in's plans say which call needs which result."""
    pairs = list(zip(executed.accepted, parallel.accepted, strict=True))
    new = 0
    for before, after in pairs:
        assert (after.dialogue_id, after.state, after.tasks) == (before.dialogue_id, before.state, before.tasks)
        new += len(before.messages) - len(after.messages)
        for number, task in enumerate(after.tasks):
            gold = [(call.tool, call.arguments) for call in task.gold_calls]
            for message in after.part(number):
                if not isinstance(message, AssistantMessage) or not message.tool_calls:
                    continue
                made = [(call.name, call.parsed()) for call in message.tool_calls]
                indices = {i for i, call in enumerate(gold) if any(same_values(list(call), list(m)) for m in made)}
                for index in indices:
                    sources = [placeholder(value) for value in task.plan[index].arguments.values()]
                    assert not indices & {call for source in sources if source for call in source.calls}
    assert new >= 5
    statistics = parallel.statistics.parallel
    assert statistics
    assert executed.statistics.parallel
    assert statistics.merged == statistics.eligible > 0
    assert statistics.messages == sum(len(sizes(d)) for d in parallel.accepted)
    assert statistics.several == sum(size > 1 for d in parallel.accepted for size in sizes(d))
    assert statistics.share > executed.statistics.parallel.share > 0


def test_a_dialogue_that_continues_after_merging_keeps_the_contract(
    parallel: FinishedRun, domains: tuple[DomainTools, ...], tmp_path: Path
) -> None:
    """Its call ids follow from indexes, which merging has moved."""
    shorter = [d for d in parallel.accepted if d.provenance.parallel["merged"]]
    starts = start_states(tuple(StartState(dialogue.dialogue_id, dialogue) for dialogue in shorter))
    run = run_to_end("user_oriented_exec", domains, tmp_path, n=len(shorter), stages=STAGES, starts=starts)
    assert len(run.accepted) > len(shorter) / 2
    assert not [reason for rejection in run.rejected for reason in rejection.reasons if "contract" in reason]
    for dialogue in run.accepted:
        parent = next(d for d in shorter if d.dialogue_id == dialogue.provenance.parent)
        assert dialogue.messages[: len(parent.messages) - 1] == parent.messages[:-1]


def test_the_same_bytes_at_any_concurrency(
    parallel: FinishedRun, domains: tuple[DomainTools, ...], tmp_path: Path
) -> None:
    again = run_to_end("user_oriented_exec", domains, tmp_path, n=30, stages=STAGES, concurrency=1)
    assert files(again.directory) == files(parallel.directory)


def test_where_tools_are_simulated_the_stage_does_nothing(domains: tuple[DomainTools, ...], tmp_path: Path) -> None:
    lists = {"with": STAGES, "without": (*STAGES[:2], STAGES[3])}
    runs = [run_to_end("user_oriented", domains, tmp_path / name, n=6, stages=s) for name, s in lists.items()]
    assert files(runs[0].directory) == files(runs[1].directory)
    assert runs[0].accepted
