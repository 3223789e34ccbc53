"""The stand-in's judge: what it catches, what it accepts, and how often it errs."""

from __future__ import annotations

import json
from random import Random

import pytest
from jsonschema import validate

from core.dialogue import Judgment, PlannedCall, Rubric, Task
from core.messages import AssistantMessage, Message, ToolCall, ToolMessage, UserMessage
from generation.llm.contexts import JudgeContext
from generation.llm.meter import Meter
from generation.scripted.judge import answer
from generation.scripted.judge_reads import mentions, same
from generation.scripted.llm import ScriptedLLM
from generation.validation.judge import JudgeAnswer, judge_task, read_judgment
from tests.generation.helpers.judgments import TASK, call, pieces, transcript, words
from tests.generation.helpers.pipeline_runs import FinishedRun


def opinion(messages: tuple[Message, ...], task: Task = TASK) -> Judgment:
    """Its judgment when it does not err."""
    text = answer(JudgeContext(task, messages), Random(0), error_rate=0.0)
    validate(json.loads(text), JudgeAnswer.model_json_schema())
    return read_judgment(text)


def test_a_faultless_conversation_and_the_class_of_each_bullet() -> None:
    judgment = opinion(transcript())
    assert (judgment.judgment, judgment.blame) == ("valid", None)
    assert [(b.rubric_class, b.passed) for b in judgment.bullets] == [
        ("Critical", True),
        ("Critical", True),
        ("Critical", True),
        ("NonCritical", True),
        ("InvalidRubric", True),
        ("Structural", True),
        ("Critical", True),
        ("Critical", True),
        ("Structural", True),
        ("InvalidRubric", True),
    ]
    rubric = TASK.rubric
    assert [b.bullet for b in judgment.bullets] == [*rubric.criteria, *rubric.tool_pattern, *rubric.checkpoints]


ERROR = {"error": "permission denied"}


@pytest.mark.parametrize(
    ("changes", "reason", "blame"),
    [
        ({"update": []}, "Not done: update_city", "agent"),
        (
            {"update": call("b", "update_city", {"rows_affected": 1}, customer_id=17, city="Pisa")},
            "Not done: update_city",
            "agent",
        ),
        (
            {"update": call("b", "update_city", {"rows_affected": 1}, customer_id=71, city="Paris")},
            "Not done: update_city",
            "agent",
        ),
        (
            {"update": call("b", "update_city", {"rows_affected": 0}, customer_id=17, city="Paris")},
            "Not done: update_city",
            "tool",
        ),
        ({"update": call("b", "update_city", ERROR, customer_id=17, city="Paris")}, "Not done: update_city", "tool"),
        ({"tell": words("I have looked it up.")}, "Never told: price 1200.5", "agent"),
        (
            {"tell": words("It costs 1,300.50.")},
            "Never told: price 1200.5. Stated without any source: 1300.5.",
            "agent",
        ),
        ({"tell": words("It costs 1,200.50. Your order is B77.")}, "Stated without any source: 77, B77.", "agent"),
        ({"tell": words("It costs 1,200.50, says bo@x.org.")}, "Stated without any source: bo@x.org.", "agent"),
        ({"get": call("c", "get_product", {"price": 1200.5}, sku="pencil")}, "Not done: get_product", "agent"),
        ({"get": [], "also": [], "tell": []}, "Not done: get_product", "user"),
        (
            {
                "search": call("a", "search_customers", ERROR, name="Ada Moreno"),
                "update": [],
                "also": [],
                "get": [],
                "tell": [],
            },
            "Not done: update_city, get_product.",
            "tool",
        ),
        ({"tell": [], "bye": []}, "The user was never answered.", "agent"),
        (
            {"update": pieces()["update"] + call("d", "delete_customer", {"rows_affected": 1}, customer_id=17)},
            "Made a change that was not requested: delete_customer.",
            "agent",
        ),
        (
            {
                "update": pieces()["update"]
                + call("d", "update_city", {"rows_affected": 1}, customer_id=17, city="Paris")
            },
            "Made a change that was not requested: update_city.",
            "agent",
        ),
        (
            {"update": call("b", "update_city", {"rows_affected": 1}, customer_id=17, city="Paris", email="a@b.c")},
            "Made a change that was not requested: update_city.",
            "agent",
        ),
    ],
)
def test_planted_faults_are_caught(changes: dict[str, list[Message]], reason: str, blame: str) -> None:
    judgment = opinion(transcript(**changes))
    assert judgment.judgment == "invalid"
    assert reason in judgment.reasoning
    assert judgment.blame == blame


@pytest.mark.parametrize(
    ("changes", "structural"),
    [
        ({"search": call("a", "list_customers", [{"customer_id": 17}])}, ["search_customers"]),
        ({"search": []}, ["search_customers"]),
        ({"search": call("z", "search_customers", [], name="Ada Morino") + pieces()["search"]}, []),
        ({"update": call("b", "update_city", {"rows_affected": 1}, customer_id="17", city=" PARIS")}, []),
        ({"report": words("1. Found them\n2. Customer 17 now lives in Paris")}, []),
        (
            {
                "search": call("a", "search_customers", [{"customer_id": 8}, {"customer_id": 17}], name="Ada Moreno"),
                "report": words("There are 2 of that name; number 17 now lives in Paris."),
            },
            [],
        ),
        ({"get": call("c", "get_product", {"product": {"prices": [{"price": 1200.5}]}}, sku="Pen")}, []),
        ({"tell": words("The 17th customer? That pen is 1200.5 on the dot.")}, []),
        (
            {
                "update": call("b", "update_city", ERROR, customer_id=17, city="Paris"),
                "report": words("I am sorry, the change was refused. Shall I try again later?"),
            },
            [],
        ),
        ({"update": call("d", "update_city", ERROR, customer_id=17, city="Paris") + pieces()["update"]}, []),
    ],
)
def test_harmless_deviations_are_accepted(changes: dict[str, list[Message]], structural: list[str]) -> None:
    judgment = opinion(transcript(**changes))
    assert (judgment.judgment, judgment.blame) == ("valid", None), judgment.reasoning
    failed = [bullet.bullet for bullet in judgment.bullets if not bullet.passed]
    assert {text.split("(")[0].split()[0] for text in failed} == set(structural)


UNCHANGED = (TASK.rubric.criteria[0], TASK.rubric.tool_pattern[1])
UNKNOWN = (TASK.rubric.criteria[1], TASK.rubric.criteria[2], TASK.rubric.tool_pattern[2])


@pytest.mark.parametrize(
    ("changes", "failed"),
    [
        ({"update": []}, UNCHANGED),
        ({"tell": words("I have looked it up.")}, TASK.rubric.criteria[2:3]),
        ({"get": call("c", "get_product", [], sku="pen"), "tell": words("There is none.")}, UNKNOWN),
        ({"search": call("a", "search_customers", [], name="Ada Moreno")}, ()),
    ],
)
def test_the_critical_bullets_that_fail(changes: dict[str, list[Message]], failed: tuple[str, ...]) -> None:
    bullets = opinion(transcript(**changes)).bullets
    assert tuple(b.bullet for b in bullets if b.rubric_class == "Critical" and not b.passed) == failed


def test_each_expected_call_needs_a_separate_call() -> None:
    twice = TASK.model_copy(update={"plan": (*TASK.plan, TASK.plan[1]), "rubric": Rubric(criteria=())})
    again = call("d", "update_city", {"rows_affected": 1}, customer_id=17, city="Paris")
    assert opinion(transcript(), twice).judgment == "invalid"
    assert opinion(transcript(update=pieces()["update"] + again), twice).judgment == "valid"


ENTIRE_RESULT = TASK.model_copy(
    update={
        "rubric": Rubric(criteria=()),
        "plan": (
            PlannedCall(tool="find_customer_id", arguments={"name": "Ada Moreno"}),
            PlannedCall(tool="update_city", arguments={"customer_id": "${0}", "city": "Paris"}),
            TASK.plan[2],
        ),
    }
)
TOLD_PEN = {"sku": "pen", "price": 1200.5, "parts": [{"sku": "cap", "price": 3.5}, {"sku": "ink", "price": 7.25}]}


@pytest.mark.parametrize(
    ("result", "judgment"), [("17", "valid"), ('"17"', "valid"), ("no_17", "invalid"), ("71", "invalid")]
)
def test_a_placeholder_may_stand_for_an_entire_result(result: str, judgment: str) -> None:
    search = call("a", "find_customer_id", result, name="Ada Moreno")
    assert opinion(transcript(search=search), ENTIRE_RESULT).judgment == judgment


@pytest.mark.parametrize(
    ("result", "judgment"),
    [
        (TOLD_PEN, "valid"),  # the prices of its parts were not requested
        ([TOLD_PEN], "valid"),
        ({"parts": TOLD_PEN["parts"]}, "invalid"),
        ({"found": [TOLD_PEN, TOLD_PEN | {"price": 8}]}, "invalid"),
        ([TOLD_PEN] * 3 + [{"price": 8}], "valid"),  # more rows than the user is told about
    ],
)
def test_the_value_to_tell_is_the_rows_own_field(result: object, judgment: str) -> None:
    assert opinion(transcript(get=call("c", "get_product", result, sku="pen"))).judgment == judgment


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        (5, 5.0, True),
        ("1,200", 1200, True),
        ("Ada  Moreno", "ada moreno", True),
        ({"a": [1, "x"]}, {"a": [1.0, "X"]}, True),
        ([1, 2], [2, 1], False),
        ([1], [1, 1], False),
        ({"a": 1}, {"b": 1}, False),
        (True, "true", False),
        (True, True, True),
        ("12", "1 2", False),
        (None, None, True),
        ("", 0, False),
    ],
)
def test_equal_arguments(one: object, other: object, equal: bool) -> None:
    assert same(one, other) is same(other, one) is equal


@pytest.mark.parametrize(
    ("text", "value", "mentioned"),
    [
        ("It is $1,200.50.", 1200.5, True),
        ("It is 1200.", 1200.5, False),
        ("order 12 of 120", 1, False),
        ("on 2025-03-14", "2025-03-14", True),
        ("on 2025-03-14", 3, False),
        ("by Ada\nMoreno!", "ada moreno", True),
        ("by Adam", "Ada", False),
        ("nothing", True, True),
    ],
)
def test_mentioned_values(text: str, value: object, mentioned: bool) -> None:
    assert mentions(text, value) is mentioned


@pytest.mark.parametrize(
    "report",
    ["Done: the customer lives in Paris now.", "I am sorry, the change was refused.", "Shall I do something else?"],
)
def test_an_error_is_a_fault_unless_it_is_admitted_with_a_next_step(report: str) -> None:
    refused = call("b", "update_city", ERROR, customer_id=17, city="Paris")
    assert opinion(transcript(update=refused, report=words(report))).judgment == "invalid"


def test_a_task_without_a_plan_is_judged_by_the_conversation_alone() -> None:
    bare = TASK.model_copy(update={"plan": (), "rubric": Rubric(criteria=("It is friendly.",), tool_pattern=("x()",))})
    greeting = (UserMessage(content="Hi"), AssistantMessage(content="Hello, how can I help?"))
    assert opinion(greeting, bare).judgment == "valid"
    assert opinion((*greeting[:1], AssistantMessage(content="Your number is 9.")), bare).judgment == "invalid"
    assert {b.rubric_class for b in opinion(greeting, bare).bullets} == {"NonCritical", "InvalidRubric"}


def test_broken_calls_and_plain_text_results_are_handled() -> None:
    broken = ToolCall.make("b", "update_city", {})
    broken = broken.model_copy(update={"function": broken.function.model_copy(update={"arguments": "{city: Paris"})})
    refused: list[Message] = [
        AssistantMessage(tool_calls=(broken,)),
        ToolMessage(tool_call_id="b", content="Error: bad call"),
    ]
    assert opinion(transcript(update=refused)).judgment == "invalid"
    plain = call("b", "update_city", "Updated.", customer_id=17, city="Paris")
    assert opinion(transcript(update=plain)).judgment == "valid"
    assert opinion(()).judgment == "invalid"


@pytest.mark.parametrize("right", [True, False])
def test_it_errs_in_both_directions_at_its_rate_and_the_same_way_each_time(right: bool) -> None:
    context = JudgeContext(TASK, transcript() if right else transcript(update=[]))
    answers = [answer(context, Random(f"{i}")) for i in range(3000)]
    assert answers == [answer(context, Random(f"{i}")) for i in range(3000)]
    read = [read_judgment(text) for text in answers]
    wrong = sum(judgment.judgment != ("valid" if right else "invalid") for judgment in read)
    assert 90 <= wrong <= 150, "0.04 of 3000, within three standard deviations"
    for judgment in read:
        failed = any(b.rubric_class == "Critical" and not b.passed for b in judgment.bullets)
        assert failed is (judgment.judgment == "invalid"), "its bullets match its judgment"
    always = read_judgment(answer(context, Random(1), error_rate=1.0))
    assert (always.judgment == "invalid") is right


async def test_three_votes_of_the_stand_in_err_less_than_one() -> None:
    async def errors(votes: int) -> int:
        wrong = 0
        for number in range(400):
            task = TASK.model_copy(update={"task_id": f"d{number}/t0"})
            judgment = await judge_task(task, transcript(), "d", Meter(ScriptedLLM()), votes, 1)
            wrong += judgment.judgment == "invalid"
        return wrong

    assert 3 * await errors(3) < await errors(1)


def test_without_errors_it_agrees_with_execution(executed: FinishedRun) -> None:
    """The pipeline made the dialogues and replay accepted them: both are independent of the judge's rules."""
    judgments = [
        opinion(dialogue.part(number), task).judgment
        for dialogue in executed.accepted
        for number, task in enumerate(dialogue.tasks)
    ]
    assert len(judgments) >= 20
    assert judgments.count("valid") >= 0.95 * len(judgments)
