"""The stand-in's agent with all kinds of users and results, in handwritten conversations."""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from core.dialogue import PlannedCall, Rubric, Task
from core.dialogue import calls as dialogue_calls
from core.messages import AssistantMessage, Message, SystemMessage, ToolMessage, UserMessage
from generation.llm.contexts import AgentContext
from generation.scripted.agent import Agent
from generation.scripted.agent_hears import UserIntent
from generation.scripted.agent_reports import report
from generation.scripted.results import dig, status

LOOK = PlannedCall(tool="get_order", arguments={"order_id": "W1"}, subgoal=0, tell=("status",))
CANCEL = PlannedCall(tool="cancel_order", arguments={"order_id": "W1"}, subgoal=1)
MOVE = PlannedCall(tool="update_city", arguments={"user_id": "${0.user_id}", "city": "Graz"}, subgoal=2)
GOALS = ("find out the status of order W1", "cancel order W1", "change the city of its owner to Graz")
ORDER = {"order": {"user_id": 9}, "status": "pending"}
Tools = Callable[[str, dict[str, Any]], Any]


def task(*plan: PlannedCall, goals: tuple[str, ...] = GOALS) -> Task:
    return Task(
        task_id="t", goal="g", subgoals=goals, difficulty="easy", rubric=Rubric(criteria=()), plan=plan or (LOOK,)
    )


def answers(name: str, arguments: dict[str, Any]) -> Any:
    return ORDER if name == "get_order" else {"ok": True}


class Talk:
    """A conversation with a task's agent, after the messages `before`."""

    def __init__(self, task: Task, tools: Tools = answers, before: tuple[Message, ...] = (), slips: float = 0) -> None:
        self.messages: list[Message] = [SystemMessage(content="You help."), *before]
        self.context = AgentContext(task=task, task_start=len(self.messages))
        self.tools = tools
        self.slips = slips

    def say(self, text: str) -> str:
        """The agent's answer, after its calls."""
        self.messages.append(UserMessage(content=text))
        for _ in range(9):
            rng = Random(str(len(self.messages)))
            message = Agent(self.context, tuple(self.messages), rng, self.slips).speak()
            calls = message.tool_calls or ()
            numbered = tuple(c.model_copy(update={"id": f"{len(self.messages)}_{i}"}) for i, c in enumerate(calls))
            self.messages.append(message.model_copy(update={"tool_calls": numbered or None}))
            if not numbered:
                return message.content
            for call in numbered:
                result = self.tools(call.name, call.parsed())
                content = result if isinstance(result, str) else json.dumps(result)
                self.messages.append(ToolMessage(tool_call_id=call.id, content=content))
        raise AssertionError("the agent never answers")

    @property
    def calls(self) -> list[tuple[str, dict[str, Any]]]:
        return [(name, arguments) for name, arguments, _ in dialogue_calls(self.messages)]


def test_one_request_after_the_other() -> None:
    talk = Talk(task(LOOK, CANCEL, MOVE))
    assert talk.say(f"Hi, please {GOALS[0]}.") == "Here is what I found: status pending."
    assert talk.say(f"Now {GOALS[1]}.") == f"This will {GOALS[1]}. Do you confirm?"
    assert talk.calls == [("get_order", {"order_id": "W1"})]
    assert talk.say("Yes, please.") == f"Done: {GOALS[1]}."
    assert talk.say(f"And {GOALS[2]}.") == f"Done: {GOALS[2]}."
    assert talk.calls[2] == ("update_city", {"user_id": 9, "city": "Graz"})


def test_all_requests_at_once() -> None:
    talk = Talk(task(LOOK, CANCEL, MOVE))
    assert talk.say(f"Please {GOALS[0]}, {GOALS[2]} and {GOALS[1]}.").endswith("Do you confirm?")
    final = talk.say("Yes.")
    assert "status pending" in final
    assert all(f"Done: {goal}." in final for goal in GOALS[1:])
    assert len(talk.calls) == 3


def test_prerequisites_of_a_request_are_looked_up_first() -> None:
    """The user requests the last subgoal only: the call before it is made, but its status is not reported."""
    talk = Talk(task(LOOK, CANCEL, MOVE))
    assert f"Done: {GOALS[2]}." in talk.say(f"Please {GOALS[2]}.")
    assert [name for name, _ in talk.calls] == ["get_order", "update_city"]


def test_a_chain_of_prerequisites_is_followed_to_its_start() -> None:
    last = MOVE.model_copy(update={"arguments": {"user_id": "${1.user_id}"}})
    middle = PlannedCall(tool="get_user", arguments={"user_id": "${0.user_id}"}, subgoal=1)
    talk = Talk(task(LOOK, middle, last), lambda name, arguments: {"user_id": 9, "status": "x"})
    talk.say(f"Please {GOALS[2]}.")
    assert [name for name, _ in talk.calls] == ["get_order", "get_user", "update_city"]


def test_an_entire_result_can_be_an_argument() -> None:
    find = PlannedCall(tool="find_user_id", arguments={"email": "a@x.org"}, subgoal=0)
    move = MOVE.model_copy(update={"arguments": {"user_id": "${0}", "city": "Graz"}})
    talk = Talk(task(find, move), lambda name, arguments: "u9" if name == "find_user_id" else {"ok": True})
    talk.say(f"Please {GOALS[2]}.")
    assert talk.calls[1] == ("update_city", {"user_id": "u9", "city": "Graz"})


@pytest.mark.parametrize(
    "text",
    [
        "Forget about that: {0}. Just tell me a joke.",
        "Please do not {0}.",
        "I don't want you to {0}!",
        "Never mind the wish to {0}.",
        "I no longer want to {0}.",
    ],
)
def test_a_withdrawn_request_is_not_carried_out_until_it_is_repeated(text: str) -> None:
    talk = Talk(task(LOOK, CANCEL))
    assert talk.say(text.format(GOALS[0])) == "I am here to help. What can I do for you?"
    assert talk.calls == []
    assert "status pending" in talk.say(f"Sorry, yes, I do want to {GOALS[0]}.")


@pytest.mark.parametrize(
    "text",
    [
        "Never mind, I will leave it. No, on second thoughts: {0}.",
        "I don't have much time. I need to {0}.",
        "Please find out the status of — wait, let me put that right: I want to {0}.",
        "Cancel the one I do not want, and {0}",
    ],
)
def test_messages_that_only_look_like_a_withdrawal(text: str) -> None:
    talk = Talk(task(LOOK))
    assert "status pending" in talk.say(text.format(GOALS[0]))


def test_it_asks_for_a_missing_value_along_with_its_report() -> None:
    talk = Talk(task(LOOK, CANCEL, MOVE))
    question = talk.say(f"Please {GOALS[0]} and change the city of its owner.")
    assert question == (
        "Here is what I found: status pending. Happy to change the city of its owner. What should the new value be?"
    )
    assert talk.say(f"{GOALS[2]}.") == f"Done: {GOALS[2]}."


def test_only_a_yes_to_the_last_question_counts() -> None:
    talk = Talk(task(LOOK, CANCEL))
    talk.say("Hello.")
    assert talk.say(f"Yes, hello. Please {GOALS[1]}.").endswith("Do you confirm?")
    assert talk.say("Hm, is that safe?").endswith("Do you confirm?")
    assert talk.calls == []
    assert talk.say("Yes.") == f"Done: {GOALS[1]}."


def test_a_user_who_waives_confirmation_is_not_asked() -> None:
    talk = Talk(task(LOOK, CANCEL))
    assert talk.say(f"Please {GOALS[1]}. There is no need to ask me.") == f"Done: {GOALS[1]}."


def test_digressions_and_pressing_get_different_answers() -> None:
    """An answer that only repeats the previous one would count as unhelpful."""
    talk = Talk(task(LOOK))
    answers = [
        talk.say(text) for text in ("Nice weather.", "Is it?", f"Now {GOALS[0]}.", f"I said: {GOALS[0]}!", "Well.")
    ]
    assert len(set(answers)) == len(answers)
    assert answers[3] == "As I said: Here is what I found: status pending."
    assert len(talk.calls) == 1


def test_a_failure_is_reported_once_retried_on_demand_and_does_not_block_the_rest() -> None:
    def broken(name: str, arguments: dict[str, Any]) -> Any:
        return {"error": "no such order W1"} if name == "get_order" else {"ok": True}

    talk = Talk(task(LOOK, CANCEL, MOVE), broken)
    sorry = talk.say(f"Please {GOALS[0]} and {GOALS[2]}.")
    assert sorry == (
        f"I am sorry, I could not {GOALS[0]}: no such order W1. I am sorry, I could not {GOALS[2]}: no such order W1."
    )
    assert "could not" in talk.say("Could you try again?")
    assert [name for name, _ in talk.calls] == ["get_order", "get_order"]
    assert talk.say(f"Then {GOALS[1]}.").endswith("Do you confirm?")
    assert talk.say("Yes.") == f"Done: {GOALS[1]}."
    assert "could not" in talk.say(f"Once more: {GOALS[0]}.")
    assert len(talk.calls) == 3, "twice is enough"


def test_a_retry_can_succeed() -> None:
    results = iter([{"error": "busy"}, ORDER])
    talk = Talk(task(LOOK), lambda name, arguments: next(results))
    assert "busy" in talk.say(f"Please {GOALS[0]}.")
    assert talk.say("Have another look, please.") == "Here is what I found: status pending."


def test_a_mistake_is_noticed_and_corrected() -> None:
    def strict(name: str, arguments: dict[str, Any]) -> Any:
        return ORDER if arguments == {"order_id": "W12345"} else []

    plan = LOOK.model_copy(update={"arguments": {"order_id": "W12345"}})
    talk = Talk(task(plan), strict, slips=1.0)
    talk.say(f"Please {GOALS[0]}.")
    assert [arguments["order_id"] for _, arguments in talk.calls] == ["W1234", "W12345"]


@pytest.mark.parametrize(
    ("result", "answer"),
    [
        ({"status": "new", "items": [1]}, "Here is what I found: status new."),
        ([{"status": "new"}, {"status": "old"}], "Here is what I found: status new; status old."),
        ({"orders": [{"status": "new"}, {"status": "old"}], "n": 2}, "Here is what I found: status new; status old."),
        ({"data": {"order": {"status": 0}}}, "Here is what I found: status 0."),
        ("The order is on its way.", "Here is what I found: The order is on its way."),
        ({"state": "new", "rows": [], "count": 3}, "Here is what I found: state new, count 3."),
        ("Error: order not found.", f"I am sorry, I could not {GOALS[0]}: Error: order not found."),
        ([], f"I am sorry, I could not {GOALS[0]}, nothing was found."),
    ],
)
def test_results_of_every_form(result: Any, answer: str) -> None:
    assert Talk(task(LOOK), lambda name, arguments: result).say(f"Please {GOALS[0]}.") == answer


def test_it_continues_after_a_fork_and_ignores_earlier_messages() -> None:
    """Cut off after any message, the conversation continues as before; messages before the task change nothing."""
    earlier = (
        UserMessage(content=f"Please {GOALS[0]}, {GOALS[1]}. Yes."),
        AssistantMessage(content="No."),
    )
    complete = Talk(task(LOOK, CANCEL), before=earlier)
    complete.say(f"Please {GOALS[0]} and {GOALS[1]}.")
    complete.say("Yes.")
    for end in range(complete.context.task_start + 1, len(complete.messages)):
        following = complete.messages[end]
        if isinstance(following, AssistantMessage):
            again = Agent(complete.context, tuple(complete.messages[:end]), Random(str(end)), 0).speak()
            assert again.content == following.content
            assert [c.function for c in again.tool_calls or ()] == [c.function for c in following.tool_calls or ()]
    assert [name for name, _ in complete.calls] == ["get_order", "cancel_order"]


def test_a_goal_without_a_plan_is_declined() -> None:
    goal = "water the plants"
    bare = Task(task_id="t", goal=goal, subgoals=(goal,), difficulty="easy", rubric=Rubric(criteria=()))
    assert Talk(bare).say(f"Please {goal}.") == f"I am sorry, I have no means to {goal}."


def test_intent_of_user_messages() -> None:
    messages = [
        UserMessage(content=f"{GOALS[0].upper()} and change the city of its owner."),
        UserMessage(content="Yes"),
    ]
    intent = UserIntent(GOALS, messages)
    assert (intent.requested, intent.missing) == ({0}, {2})
    assert not intent.confirmed(GOALS[1])


def test_results_and_reports() -> None:
    assert dig({"a": {"b": 1}, "c": [{"b": 2}]}, "b") == 1
    assert dig([{"a": None}, {"a": 0}], "a") == 0
    assert dig({"a": {"b": {}}}, "b") is None
    assert [status(value) for value in ([], None, "", {"rows_affected": 0})] == ["empty"] * 4
    assert [status(value) for value in ({"success": False}, {"error": "x"}, "Error: x")] == ["error"] * 3
    done = (0, False, {"error": None}, {"error": ""}, [0], "fine", {"rows_affected": 1})
    assert {status(value) for value in done} == {"done"}
    assert report("w", {"id": 3}, ("id",), (), changed=True, last=True) == "Done: w (id 3)."
    assert report("w", {"rows_affected": 1}, (), (), changed=True, last=True) == "Done: w."
    assert report("w", [{"id": 3}], (), (), changed=False, last=False) == ""
