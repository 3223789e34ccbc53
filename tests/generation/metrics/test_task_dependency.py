"""Value flow between tasks, against a slow implementation of the definition and hand-written dialogues."""

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


def user_says(text: str) -> list[Message]:
    return [UserMessage(content=text)]


def agent_says(text: str) -> list[Message]:
    return [AssistantMessage(content=text)]


def call_and_result(result: Any, /, **arguments: Any) -> list[Message]:
    """A call and its result; `dialogue_of` assigns the ids."""
    content = result if isinstance(result, str) else json.dumps(result)
    call = ToolCall.make("?", "act", arguments)
    return [AssistantMessage(tool_calls=(call,)), ToolMessage(tool_call_id="?", content=content)]


def dialogue_of(*tasks: list[Message], follows: tuple[bool, ...] = (), domain: str = "halls") -> Dialogue:
    """A dialogue of these tasks; `follows[i]`: whether task i was meant to follow from the previous one."""
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


FIRST = [
    *user_says("Find Ada."),
    *call_and_result({"customer_id": 17, "city": "Graz"}, name="Ada"),
    *agent_says("Ada is number 17."),
]


@pytest.mark.parametrize(
    ("second", "score"),
    [
        ([*user_says("What did she buy?"), *call_and_result([], customer_id=17)], 1.0),
        ([*user_says("And in her city?"), *call_and_result([], customer_id=17, year=2024)], 0.5),
        ([*user_says("Number 17, please."), *call_and_result([], customer_id="17", city="GRAZ")], 1.0),
        ([*user_says("Number 170, please."), *call_and_result([], customer_id=170)], 0.0),
        ([*user_says("And Ada?"), *call_and_result([], name="Ada")], 0.0),
        ([*user_says("Hm."), *call_and_result({"order_id": 55}, page=2), *call_and_result([], order_id=55)], 0.0),
        ([*user_says("Hm."), *call_and_result([], limit=17, again={"deep": [{"city": "Graz"}, 17]}, page=3)], 1.0),
        (
            [*user_says("Hm."), *call_and_result([], unit="metric", flag=True, nothing=None, empty="", x="G", one=1)],
            0.0,
        ),
        ([*user_says("Thanks."), *agent_says("Welcome.")], 0.0),
        (
            [
                *user_says("Hm."),
                *call_and_result([], customer_id=17),
                *call_and_result([], customer_id=17),
                *call_and_result([], year=2024),
            ],
            0.5,
        ),
    ],
)
def test_scores_computed_by_hand(second: list[Message], score: float) -> None:
    assert dependency_scores(dialogue_of(FIRST, second)) == (score,)


def test_values_the_user_knew_before_do_not_flow() -> None:
    knew = [*user_says("Find the customer of Graz, with number 17."), *FIRST[1:]]
    assert dependency_scores(
        dialogue_of(knew, [*user_says("Go on."), *call_and_result([], customer_id=17, city="Graz")])
    ) == (0.0,)
    tried = [*user_says("Hi."), *call_and_result("not found", customer_id=17), *FIRST]
    assert dependency_scores(dialogue_of(tried, [*user_says("Go on."), *call_and_result([], customer_id=17)])) == (0.0,)


def test_small_numbers_flow_only_as_identifiers() -> None:
    first = [*user_says("Which club?"), *call_and_result([{"Club_ID": 4, "players": 6}])]
    assert dependency_scores(dialogue_of(first, [*user_says("It."), *call_and_result([], Club_ID=4)])) == (1.0,)
    assert dependency_scores(dialogue_of(first, [*user_says("It."), *call_and_result([], clubId=4)])) == (1.0,)
    assert dependency_scores(dialogue_of(first, [*user_says("It."), *call_and_result([], quantity=6)])) == (0.0,)


def test_identifiers_flow_only_from_identifiers() -> None:
    """Doctor 38 does not come from an age of 38, but a fee of 38 may come from any number."""
    first = [*user_says("Who?"), *call_and_result([{"age": 38, "rooms": [{"doctorId": 61}]}])]
    assert dependency_scores(dialogue_of(first, [*user_says("It."), *call_and_result([], doctor_id=38)])) == (0.0,)
    assert dependency_scores(dialogue_of(first, [*user_says("It."), *call_and_result([], fee=38)])) == (1.0,)
    assert dependency_scores(dialogue_of(first, [*user_says("It."), *call_and_result([], doctor_id=61)])) == (1.0,)
    stated = [*user_says("Who?"), *call_and_result([{"age": 38}]), *agent_says("The doctor is 38.")]
    late = [*user_says("It."), *call_and_result([], doctor_id=38)]
    assert dependency_scores(dialogue_of(stated, late)) == (0.0,), "it first appears as an identifier in a message"


def test_closed_sets_never_flow_and_plain_text_results_do() -> None:
    first = [*user_says("Hi."), *call_and_result("Booked under ref QX7T4, unit metric, for 1,200.50 euro.")]
    second = [*user_says("It."), *call_and_result([], unit="metric", booking="qx7t4", amount=1200.5, zone="south")]
    assert dependency_scores(dialogue_of(first, second))[0] == pytest.approx(2 / 3)


def test_each_later_task_is_scored_against_all_earlier_ones() -> None:
    third = [*user_says("More."), *call_and_result([], customer_id=17)]
    assert dependency_scores(dialogue_of(FIRST, [*user_says("Hm.")], third)) == (0.0, 1.0)
    assert dependency_scores(dialogue_of(FIRST)) == ()


def test_tasks_that_were_not_played_have_no_score() -> None:
    dialogue = dialogue_of(FIRST, [*user_says("It."), *call_and_result([], customer_id=17)])
    waiting = dialogue.model_copy(update={"tasks": (*dialogue.tasks, dialogue.tasks[0])})
    assert dependency_scores(waiting) == (1.0,)


VALUES = st.sampled_from(["Ada", "Graz", "W77", "Paul Street", 17, 170, 25.5, 44])
TURN = st.one_of(
    st.lists(VALUES, min_size=1, max_size=2).map(lambda v: user_says(" and ".join(map(str, v)))),
    st.tuples(st.lists(VALUES, max_size=2), st.lists(VALUES, min_size=1, max_size=2)).map(
        lambda v: call_and_result({"rows": v[0]}, **{f"x{i}": value for i, value in enumerate(v[1])})
    ),
)


def scores_by_definition(dialogue: Dialogue) -> tuple[float, ...]:
    """The definition implemented literally, for dialogues whose texts and results consist of VALUES."""
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
def test_scores_match_the_definition(parts: list[list[list[Message]]]) -> None:
    dialogue = dialogue_of(*[[message for turn in part for message in turn] for part in parts])
    assert dependency_scores(dialogue) == pytest.approx(scores_by_definition(dialogue))


def shop_dialogue(rng: Random, follow: bool) -> Dialogue:
    """Two tasks about random customers; if `follow`, the second is about the first's customer."""
    one, other = rng.sample(range(100, 999), 2)
    first = [*user_says("Who is new?"), *call_and_result({"customer_id": one})]
    chosen = one if follow else other
    second = [*user_says("Her orders." if follow else f"Orders of {other}."), *call_and_result([], customer_id=chosen)]
    return dialogue_of(first, second, follows=(False, follow))


def test_the_tally_separates_intended_flow_from_chance() -> None:
    rng, tally = Random("shop"), DependencyTally()
    for number in range(200):
        tally.add(shop_dialogue(rng, number % 4 > 0))
    dependency = tally.result()
    assert (dependency.all.pairs, dependency.all.mean, dependency.all.positive) == (200, 0.75, 0.75)
    assert (dependency.follow_ups.pairs, dependency.follow_ups.mean) == (150, 1.0)
    assert (dependency.independent.pairs, dependency.independent.mean) == (50, 0.0)
    assert dependency.random.pairs == 199
    assert dependency.random.mean is not None
    assert dependency.random.mean < 0.02


def test_joined_tasks_that_share_their_records_flow_by_chance() -> None:
    """If all dialogues of a domain are about customer 17, another dialogue's task seems to follow as well as its
    own."""
    tally = DependencyTally()
    for _ in range(20):
        tally.add(dialogue_of(FIRST, [*user_says("Her orders."), *call_and_result([], customer_id=17)]))
    assert tally.result().random.mean == 1.0
    tally.add(dialogue_of(FIRST, [*user_says("Her orders."), *call_and_result([], customer_id=17)], domain="elsewhere"))
    assert tally.result().random.pairs == 19, "dialogues of other domains are not joined"


def test_a_joined_dialogue_contributes_as_many_tasks_as_it_replaces() -> None:
    """The second of three tasks is joined to the first task of the other dialogue, not to its later ones."""
    late = [*user_says("Later."), *call_and_result({"customer_id": 500})]
    asking = [*user_says("Go on."), *call_and_result([], customer_id=500)]
    tally = DependencyTally()
    tally.add(dialogue_of([*user_says("Hi.")], late))
    tally.add(dialogue_of([*user_says("Hi.")], asking))
    assert tally.result().random == tally.result().random.model_copy(update={"pairs": 1, "mean": 0.0})
    tally.add(dialogue_of([*user_says("Hi.")], [*user_says("Hm.")], asking))
    assert tally.result().random.pairs == 3
    tally.add(dialogue_of(*[[*user_says(f"Hi {number}.")] for number in range(5)]))
    assert tally.result().random.pairs == 6, "no earlier dialogue has four tasks"


def test_equal_streams_give_equal_metrics_and_memory_is_bounded() -> None:
    def run() -> tuple[Dependency, int]:
        rng, tally = Random("x"), DependencyTally()
        for number in range(600):
            dialogue = shop_dialogue(rng, number % 2 == 0)
            tally.add(dialogue.model_copy(update={"domain": f"domain {number % 300}"}))
        return tally.result(), sum(map(len, tally._sample.values()))

    first, second = run(), run()
    assert first == second
    assert first[1] <= 256 * 4


def test_an_empty_stream_has_no_means() -> None:
    assert re.fullmatch(r"(\w+=Flow\(pairs=0, mean=None, positive=None\) ?){4}", str(DependencyTally().result()))


def test_broken_arguments_and_huge_numbers_do_no_harm() -> None:
    dialogue = dialogue_of(
        FIRST, [*user_says("Hm."), *call_and_result("{broken", big=10**400, inf=1e308), *call_and_result("NaN", x=17)]
    )
    broken = AssistantMessage(
        tool_calls=(ToolCall.model_validate({"id": "b", "function": {"name": "act", "arguments": "{nope 17"}}),)
    )
    messages = (*dialogue.messages, broken, ToolMessage(tool_call_id="b", content='{"error": "no JSON"}'))
    assert 0 < dependency_scores(dialogue.model_copy(update={"messages": messages}))[0] < 1
