"""Value flow between tasks, against a slow reading of the definition and dialogues made by hand."""

from __future__ import annotations

import json
import re
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.dialogue import Dialogue, Rubric, Task
from core.messages import AssistantMessage, Message, SystemMessage, ToolCall, ToolMessage, ToolSpec, UserMessage
from generation.metrics.task_dependency import Dependency, DependencyTally, dependency_scores

TOOL = ToolSpec(
    name="act",
    description="Does it.",
    parameters={
        "type": "object",
        "properties": {"unit": {"type": "string", "enum": ["metric", "imperial"]}, "who": {"type": "object"}},
    },
)


def said(text: str) -> list[Message]:
    return [UserMessage(content=text)]


def told(text: str) -> list[Message]:
    return [AssistantMessage(content=text)]


def called(result: Any, /, **arguments: Any) -> list[Message]:
    """A call and its result; ids are given by `dialogue_of`."""
    content = result if isinstance(result, str) else json.dumps(result)
    call = ToolCall.make("?", "act", arguments)
    return [AssistantMessage(tool_calls=(call,)), ToolMessage(tool_call_id="?", content=content)]


def dialogue_of(*tasks: list[Message], follows: tuple[bool, ...] = (), domain: str = "halls") -> Dialogue:
    """A dialogue of these tasks; `follows[i]` says whether task i was meant to follow from the one before."""
    messages: list[Message] = [SystemMessage(content="You help.")]
    starts = []
    for part in tasks:
        starts.append(len(messages))
        for message in part:
            number = f"c{len(messages) + (1 if isinstance(message, AssistantMessage) else 0)}"
            if isinstance(message, AssistantMessage) and message.tool_calls:
                calls = tuple(call.model_copy(update={"id": number}) for call in message.tool_calls)
                messages.append(message.model_copy(update={"tool_calls": calls}))
            elif isinstance(message, ToolMessage):
                messages.append(message.model_copy(update={"tool_call_id": number}))
            else:
                messages.append(message)
    goals = tuple(
        Task(
            task_id=f"t{number}",
            goal="g",
            subgoals=("g",),
            difficulty="easy",
            rubric=Rubric(criteria=()),
            follows_from=f"t{number - 1}" if number < len(follows) and follows[number] else None,
        )
        for number in range(len(tasks))
    )
    return Dialogue(
        dialogue_id="d",
        pipeline="p",
        domain=domain,
        tools=(TOOL,),
        messages=tuple(messages),
        tasks=goals,
        task_starts=tuple(starts),
    )


FIRST = [*said("Find Ada."), *called({"customer_id": 17, "city": "Graz"}, name="Ada"), *told("Ada is number 17.")]


@pytest.mark.parametrize(
    ("second", "score"),
    [
        ([*said("What did she buy?"), *called([], customer_id=17)], 1.0),
        ([*said("And in her city?"), *called([], customer_id=17, year=2024)], 0.5),
        ([*said("Number 17, please."), *called([], customer_id="17", city="GRAZ")], 1.0),
        ([*said("Number 170, please."), *called([], customer_id=170)], 0.0),
        ([*said("And Ada?"), *called([], name="Ada")], 0.0),
        ([*said("Hm."), *called({"order_id": 55}, page=2), *called([], order_id=55)], 0.0),
        ([*said("Hm."), *called([], limit=17, again={"deep": [{"city": "Graz"}, 17]}, page=3)], 1.0),
        ([*said("Hm."), *called([], unit="metric", flag=True, nothing=None, empty="", x="G", one=1)], 0.0),
        ([*said("Thanks."), *told("Welcome.")], 0.0),
        ([*said("Hm."), *called([], customer_id=17), *called([], customer_id=17), *called([], year=2024)], 0.5),
    ],
)
def test_scores_worked_out_by_hand(second: list[Message], score: float) -> None:
    assert dependency_scores(dialogue_of(FIRST, second)) == (score,)


def test_what_the_user_knew_before_is_no_flow() -> None:
    knew = [*said("Find the customer of Graz, with number 17."), *FIRST[1:]]
    assert dependency_scores(dialogue_of(knew, [*said("Go on."), *called([], customer_id=17, city="Graz")])) == (0.0,)
    tried = [*said("Hi."), *called("not found", customer_id=17), *FIRST]
    assert dependency_scores(dialogue_of(tried, [*said("Go on."), *called([], customer_id=17)])) == (0.0,)


def test_small_numbers_flow_only_as_identifiers() -> None:
    first = [*said("Which club?"), *called([{"Club_ID": 4, "players": 6}])]
    assert dependency_scores(dialogue_of(first, [*said("It."), *called([], Club_ID=4)])) == (1.0,)
    assert dependency_scores(dialogue_of(first, [*said("It."), *called([], clubId=4)])) == (1.0,)
    assert dependency_scores(dialogue_of(first, [*said("It."), *called([], quantity=6)])) == (0.0,)


def test_identifiers_flow_only_from_identifiers() -> None:
    """Doctor 38 does not come from somebody's age, and a fee of 38 may come from anywhere."""
    first = [*said("Who?"), *called([{"age": 38, "rooms": [{"doctorId": 61}]}])]
    assert dependency_scores(dialogue_of(first, [*said("It."), *called([], doctor_id=38)])) == (0.0,)
    assert dependency_scores(dialogue_of(first, [*said("It."), *called([], fee=38)])) == (1.0,)
    assert dependency_scores(dialogue_of(first, [*said("It."), *called([], doctor_id=61)])) == (1.0,)
    told_so = [*said("Who?"), *called([{"age": 38}]), *told("The doctor is 38.")]
    late = [*said("It."), *called([], doctor_id=38)]
    assert dependency_scores(dialogue_of(told_so, late)) == (0.0,), "its first appearance as one is in words"


def test_closed_sets_never_flow_and_plain_text_results_do() -> None:
    first = [*said("Hi."), *called("Booked under ref QX7T4, unit metric, for 1,200.50 euro.")]
    second = [*said("It."), *called([], unit="metric", booking="qx7t4", amount=1200.5, zone="south")]
    assert dependency_scores(dialogue_of(first, second))[0] == pytest.approx(2 / 3)


def test_each_later_task_is_scored_against_all_before_it() -> None:
    third = [*said("More."), *called([], customer_id=17)]
    assert dependency_scores(dialogue_of(FIRST, [*said("Hm.")], third)) == (0.0, 1.0)
    assert dependency_scores(dialogue_of(FIRST)) == ()


def test_tasks_that_were_not_played_have_no_score() -> None:
    dialogue = dialogue_of(FIRST, [*said("It."), *called([], customer_id=17)])
    waiting = dialogue.model_copy(update={"tasks": (*dialogue.tasks, dialogue.tasks[0])})
    assert dependency_scores(waiting) == (1.0,)


VALUES = st.sampled_from(["Ada", "Graz", "W77", "Paul Street", 17, 170, 25.5, 44])
TURN = st.one_of(
    st.lists(VALUES, min_size=1, max_size=2).map(lambda v: said(" and ".join(map(str, v)))),
    st.tuples(st.lists(VALUES, max_size=2), st.lists(VALUES, min_size=1, max_size=2)).map(
        lambda v: called({"rows": v[0]}, **{f"x{i}": value for i, value in enumerate(v[1])})
    ),
)


def naive(dialogue: Dialogue) -> tuple[float, ...]:
    """The definition read out slowly, for dialogues whose texts and results hold nothing but VALUES."""
    seen: list[tuple[int, str, str]] = []
    for place, message in enumerate(dialogue.messages):
        if isinstance(message, ToolMessage):
            seen += [(place, "tool", str(value)) for value in json.loads(message.content)["rows"]]
        elif isinstance(message, AssistantMessage):
            for call in message.tool_calls or ():
                seen += [(place, "agent", str(value)) for value in call.parsed().values()]
        else:
            seen += [(place, "user", value) for value in message.content.split(" and ")]
    scores = []
    ends = [*dialogue.task_starts[1:], len(dialogue.messages)]
    for start, end in list(zip(dialogue.task_starts, ends, strict=True))[1:]:
        used = sorted({value for place, who, value in seen if who == "agent" and start <= place < end})
        firsts = [min((place, who) for place, who, other in seen if other == value) for value in used]
        flows = [who == "tool" and place < start for place, who in firsts]
        scores.append(sum(flows) / len(flows) if flows else 0.0)
    return tuple(scores)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.lists(TURN, min_size=1, max_size=4), min_size=1, max_size=4))
def test_equals_the_naive_reading(parts: list[list[list[Message]]]) -> None:
    dialogue = dialogue_of(*[[message for turn in part for message in turn] for part in parts])
    assert dependency_scores(dialogue) == pytest.approx(naive(dialogue))


def shop_dialogue(rng: Random, follow: bool) -> Dialogue:
    """Two tasks about random customers; the second is about the first's customer where it follows."""
    one, other = rng.sample(range(100, 999), 2)
    first = [*said("Who is new?"), *called({"customer_id": one})]
    chosen = one if follow else other
    second = [*said("Her orders." if follow else f"Orders of {other}."), *called([], customer_id=chosen)]
    return dialogue_of(first, second, follows=(False, follow))


def test_the_tally_tells_meant_flow_from_chance() -> None:
    rng, tally = Random("shop"), DependencyTally()
    for number in range(200):
        tally.add(shop_dialogue(rng, number % 4 > 0))
    found = tally.result()
    assert (found.all.pairs, found.all.mean, found.all.positive) == (200, 0.75, 0.75)
    assert (found.follow_ups.pairs, found.follow_ups.mean) == (150, 1.0)
    assert (found.independent.pairs, found.independent.mean) == (50, 0.0)
    assert found.random.pairs == 199
    assert found.random.mean is not None
    assert found.random.mean < 0.02


def test_joined_tasks_that_share_their_records_flow_by_chance() -> None:
    """Where all dialogues of a domain are about customer 17, a stranger's task seems to follow as well as the own one."""
    tally = DependencyTally()
    for _ in range(20):
        tally.add(dialogue_of(FIRST, [*said("Her orders."), *called([], customer_id=17)]))
    assert tally.result().random.mean == 1.0
    tally.add(dialogue_of(FIRST, [*said("Her orders."), *called([], customer_id=17)], domain="elsewhere"))
    assert tally.result().random.pairs == 19, "no stranger of another domain"


def test_a_stranger_lends_as_many_tasks_as_were_done() -> None:
    """The second of three tasks is joined to one task of the stranger, not to what the stranger did later."""
    late = [*said("Later."), *called({"customer_id": 500})]
    asking = [*said("Go on."), *called([], customer_id=500)]
    tally = DependencyTally()
    tally.add(dialogue_of([*said("Hi.")], late))
    tally.add(dialogue_of([*said("Hi.")], asking))
    assert tally.result().random == tally.result().random.model_copy(update={"pairs": 1, "mean": 0.0})
    tally.add(dialogue_of([*said("Hi.")], [*said("Hm.")], asking))
    assert tally.result().random.pairs == 3
    tally.add(dialogue_of(*[[*said(f"Hi {number}.")] for number in range(5)]))
    assert tally.result().random.pairs == 6, "nobody did four tasks before"


def test_equal_streams_give_equal_figures_and_memory_is_bounded() -> None:
    def run() -> tuple[Dependency, int]:
        rng, tally = Random("x"), DependencyTally()
        for number in range(600):
            found = shop_dialogue(rng, number % 2 == 0)
            tally.add(found.model_copy(update={"domain": f"domain {number % 300}"}))
        return tally.result(), sum(map(len, tally._sample.values()))

    first, second = run(), run()
    assert first == second
    assert first[1] <= 256 * 4


def test_an_empty_stream_has_no_means() -> None:
    assert re.fullmatch(r"(\w+=Flow\(pairs=0, mean=None, positive=None\) ?){4}", str(DependencyTally().result()))


def test_broken_arguments_and_huge_numbers_do_no_harm() -> None:
    dialogue = dialogue_of(FIRST, [*said("Hm."), *called("{broken", big=10**400, inf=1e308), *called("NaN", x=17)])
    broken = AssistantMessage(
        tool_calls=(ToolCall.model_validate({"id": "b", "function": {"name": "act", "arguments": "{nope 17"}}),)
    )
    messages = (*dialogue.messages, broken, ToolMessage(tool_call_id="b", content='{"error": "no JSON"}'))
    assert 0 < dependency_scores(dialogue.model_copy(update={"messages": messages}))[0] < 1
