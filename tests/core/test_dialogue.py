from __future__ import annotations

import itertools
import json
from pathlib import Path

import datasets
import pytest

from core.dialogue import Check, Dialogue, PlannedCall, StateProof, Verdict, calls
from core.journal import read_jsonl, write_jsonl
from core.messages import AssistantMessage, ContractError, FunctionCall, ToolCall, ToolMessage, ToolSpec, UserMessage
from core.provenance import Provenance
from core.usage import RoleUsage, Usage
from tests.core.helpers.transcripts import DIALOGUE, MESSAGES


def test_a_dialogue_survives_a_round_trip_through_disk(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "d.jsonl", [DIALOGUE])
    assert list(read_jsonl(tmp_path / "d.jsonl", Dialogue)) == [DIALOGUE]


def test_without_further_fields_nothing_is_imported_and_nothing_was_spent() -> None:
    dialogue = Dialogue(dialogue_id="d", pipeline="p", domain="shop", messages=DIALOGUE.messages, tools=DIALOGUE.tools)
    assert (dialogue.given, dialogue.task_starts, dialogue.late_tools, dialogue.policy) == (0, (), {}, None)
    assert (dialogue.usage.prompt_tokens, dialogue.usage.completion_tokens, dialogue.usage.roles) == (0, 0, {})


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("plain", "abc"), ("forbidden", "ab"), ("not_found", "a"), ("withdrawn", ""), ("no_tool", ""), ("irrelevant", "")],
)
def test_a_correct_assistant_makes_the_part_of_the_plan_that_the_kind_allows(kind: str, expected: str) -> None:
    plan = tuple(PlannedCall(tool=tool, arguments={}) for tool in "abc")
    task = DIALOGUE.tasks[0].model_copy(update={"kind": kind, "plan": plan})
    assert "".join(call.tool for call in task.expected_plan) == expected
    assert task.model_copy(update={"gold_calls": plan}).is_proved
    assert task.model_copy(update={"gold_calls": ()}).is_proved == (kind != "plain")


def test_datasets_reads_lines_of_different_tools_without_merging_them(tmp_path: Path) -> None:
    other_tool = ToolSpec(
        name="add_book",
        description="",
        parameters={"type": "object", "properties": {"title": {"type": "string"}, "tags": {"type": "array"}}},
    )
    other = DIALOGUE.model_copy(
        update={
            "dialogue_id": "d2",
            "tools": (other_tool,),
            "provenance": Provenance(llm="m", foreign={"deep": {"a": [1]}}),
        }
    )
    path = tmp_path / "d.jsonl"
    write_jsonl(path, [DIALOGUE, other])
    rows = datasets.load_dataset("json", data_files=str(path), split="train", cache_dir=str(tmp_path / "cache"))
    assert [json.loads(row["provenance"]) for row in rows] == [{"seed": 3}, {"llm": "m", "deep": {"a": [1]}}]
    assert [tool["name"] for tool in json.loads(rows[1]["tools"])] == ["add_book"]
    assert json.loads(rows[0]["tools"])[0]["parameters"] == DIALOGUE.tools[0].parameters
    calls = rows[0]["messages"][2]["tool_calls"]
    assert [json.loads(call["function"]["arguments"]) for call in calls] == [{"member_id": 3}, {"member_id": 4}]


PLAIN = DIALOGUE.model_copy(
    update={
        "dialogue_id": "plain",
        "messages": (UserMessage(content="Hi."), AssistantMessage(content="Hello.")),
        "tasks": tuple(task.model_copy(update={"plan": (), "gold_calls": ()}) for task in DIALOGUE.tasks),
        "task_starts": (0,),
        "verdict": None,
        "state": None,
        "usage": Usage(),
    }
)
PROVEN = DIALOGUE.model_copy(
    update={
        "dialogue_id": "proven",
        "verdict": Verdict(accepted=True, checks=(Check(name="state", passed=True),)),
        "state": StateProof(initial_hash="a", final_hash="b", diff=("one",)),
        "usage": Usage(requests=1, prompt_tokens=2, completion_tokens=3, flaws={"agent/empty": 1}),
    }
)


@pytest.mark.parametrize("order", list(itertools.permutations([PLAIN, DIALOGUE, PROVEN])))
def test_datasets_reads_any_files_together_in_any_order(order: tuple[Dialogue, ...], tmp_path: Path) -> None:
    files = [str(tmp_path / f"{number}.jsonl") for number in range(len(order))]
    for file, dialogue in zip(files, order, strict=True):
        write_jsonl(Path(file), [dialogue])
    rows = datasets.load_dataset("json", data_files=files, split="train", cache_dir=str(tmp_path / "cache"))
    assert tuple(Dialogue.model_validate(row) for row in rows) == order


def test_a_line_of_objects_as_earlier_versions_wrote_it_is_read() -> None:
    line = json.loads(PROVEN.model_dump_json(exclude_none=True))
    objects = {key: json.loads(line[key]) for key in ("tasks", "verdict", "state", "usage")}
    assert Dialogue.model_validate_json(json.dumps(line | objects)) == PROVEN


def test_appendix_b_counts() -> None:
    assert DIALOGUE.turns == 8, "everything but the system message"
    assert DIALOGUE.user_turns == 2
    assert DIALOGUE.steps() == (2, 0), "rounds of tool use, not calls"


def test_calls_have_their_own_results_in_any_order_of_answers() -> None:
    assert calls(DIALOGUE.messages) == [
        ("get_member", {"member_id": 3}, '{"name": "Ann"}'),
        ("get_member", {"member_id": 4}, '{"name": "Noé"}'),
        ("rename_member", {"member_id": 3, "name": "Zoë"}, '{"rows_affected": 1}'),
    ]


@pytest.mark.parametrize("starts", [(), (1, 2), (1, 1)])
def test_the_task_index_must_fit(starts: tuple[int, ...]) -> None:
    tasks = DIALOGUE.tasks * (2 if starts == (1, 1) else 1)
    with pytest.raises(ContractError, match="task_starts"):
        DIALOGUE.model_copy(update={"task_starts": starts, "tasks": tasks}).check()


def test_check_covers_the_transcript() -> None:
    DIALOGUE.check()
    with pytest.raises(ContractError, match="after 'user'"):
        DIALOGUE.model_copy(update={"messages": (*MESSAGES, UserMessage(content="?"))}).check()
    undeclared = DIALOGUE.model_copy(update={"tools": DIALOGUE.tools[:1]})
    with pytest.raises(ContractError, match="undeclared tool 'rename_member'"):
        undeclared.check()


def test_a_task_has_the_messages_up_to_the_next_ones_start() -> None:
    last = len(MESSAGES) - 2
    three = DIALOGUE.model_copy(update={"tasks": DIALOGUE.tasks * 3, "task_starts": (1, 3, last)})
    assert [three.part(number) for number in range(3)] == [MESSAGES[1:3], MESSAGES[3:last], MESSAGES[last:]]


def test_no_user_no_steps() -> None:
    silent = DIALOGUE.model_copy(update={"messages": MESSAGES[:1]})
    assert (silent.steps(), silent.turns, calls(silent.messages)) == ((), 0, [])
    assert AssistantMessage(content="x").tool_calls is None


def test_calls_that_reached_no_tool_are_left_out() -> None:
    """An evaluated model may write anything; the answer to invalid arguments is not a tool's result."""
    texts = ("[3]", "{", "3")
    broken = [ToolCall(id=str(n), function=FunctionCall(name="get", arguments=text)) for n, text in enumerate(texts)]
    good = ToolCall.make("c", "get_member", {"member_id": 3})
    messages = [AssistantMessage(tool_calls=(*broken, good)), ToolMessage(tool_call_id="c", content="Ann")]
    assert calls(messages) == [("get_member", {"member_id": 3}, "Ann")]


def test_usage_starts_at_zero_and_adds_up() -> None:
    one = RoleUsage(requests=1, prompt_tokens=5, cached_tokens=4, completion_tokens=2)
    assert RoleUsage() + one == one
    assert one + one == RoleUsage(requests=2, prompt_tokens=10, cached_tokens=8, completion_tokens=4)
    assert set(RoleUsage().model_dump().values()) == {0}


def test_unknown_tokens_stay_unknown_on_disk(tmp_path: Path) -> None:
    usage = Usage(
        requests=1, prompt_tokens=3, completion_tokens=None, roles={"agent": RoleUsage(completion_tokens=None)}
    )
    write_jsonl(tmp_path / "usage.jsonl", [usage])
    assert list(read_jsonl(tmp_path / "usage.jsonl", Usage)) == [usage]


REPEATED = tuple(
    message.model_copy(update={"tool_calls": (ToolCall.make("c4", "rename_member", {"member_id": 3, "name": "Zoë"}),)})
    if isinstance(message, AssistantMessage) and message.tool_calls
    else message.model_copy(update={"tool_call_id": "c4"})
    if isinstance(message, ToolMessage)
    else message
    for message in MESSAGES[5:8]
)
LATE = DIALOGUE.model_copy(
    update={"messages": (*MESSAGES, *REPEATED), "late_tools": {"rename_member": 8}, "task_starts": (1,)}
)
"""The first call of rename_member, in message 5, comes before the tool is offered, the second, in message 9, after."""


@pytest.mark.parametrize(("position", "names"), [(0, "get"), (7, "get"), (8, "get rename"), (11, "get rename")])
def test_a_late_tool_is_offered_from_its_user_message_on(position: int, names: str) -> None:
    assert [tool.name for tool in LATE.tools_at(position)] == [f"{name}_member" for name in names.split()]
    assert DIALOGUE.tools_at(position) == DIALOGUE.tools


def test_calls_of_a_tool_that_is_not_offered_break_the_contract_and_were_not_executed() -> None:
    with pytest.raises(ContractError, match=r"message 5 .*offered from message 8 on"):
        LATE.check()
    assert [(at, call.name) for at, call, _, _ in LATE.executed(0)] == [
        (2, "get_member"),
        (2, "get_member"),
        (9, "rename_member"),
    ]
    for dialogue in (DIALOGUE, LATE.model_copy(update={"late_tools": {}})):
        executed = [(call.name, arguments, result) for _, call, arguments, result in dialogue.executed(0)]
        assert executed == calls(dialogue.messages)
