"""APIGen-MT's and Nemotron's rows, in their own formats, become dialogues to train on; faults are counted by kind."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pytest

from core.dialogue import Dialogue
from core.messages import AssistantMessage, SystemMessage, ToolMessage, UserMessage
from core.settings import UserError
from generation.convert.apigen import ApigenDialogues
from generation.convert.base import Conversion, Source
from generation.convert.nemotron import NemotronDialogues

Raw = dict[str, Any]

ORDER = {"type": "object", "properties": {"order_id": {"type": "string"}}, "required": ["order_id"]}
TOOLS = [
    {"name": "get_order_details", "description": "An order.", "parameters": ORDER},
    {"name": "cancel_order", "description": "Cancel an order.", "parameters": ORDER},
    {"name": "think", "description": "Think.", "parameters": {"type": "object", "properties": {}}},
]
POLICY = "# Retail agent policy\n\nAs a retail agent, you can help users cancel orders."


def sharegpt_turns(*turns: tuple[str, Any]) -> list[Raw]:
    """ShareGPT's turns; objects, such as calls, become JSON."""
    return [{"from": role, "value": text if isinstance(text, str) else json.dumps(text)} for role, text in turns]


def calling(name: str, **arguments: Any) -> Raw:
    return {"name": name, "arguments": arguments}


ASK, DONE = ("human", "Cancel #W1, please."), ("gpt", "It is cancelled.")
LOOK = (("function_call", calling("get_order_details", order_id="#W1")), ("observation", '{"status": "pending"}'))
CANCEL = (("function_call", calling("cancel_order", order_id="#W1")), ("observation", '{"status": "cancelled"}'))


def apigen_row(*turns: tuple[str, Any], **more: Any) -> Raw:
    return {"conversations": sharegpt_turns(*turns), "tools": json.dumps(TOOLS), "system": POLICY} | more


def nemotron_row(number: int, *messages: Raw, **more: Any) -> Raw:
    specs = [{"type": "function", "function": tool} for tool in TOOLS]
    return {
        "uuid": str(uuid.UUID(int=number)),
        "license": "cc-by-4.0",
        "generator": "Qwen3-235B-A22B",
        "version": "v1",
        "category": "tool_calling",
        "reasoning": "on",
        "messages": [{"content": "", "tool_calls": [], **message} for message in messages],
        "metadata": json.dumps({"tools": specs}),
    } | more


def answer(content: str, *calls: tuple[str, str]) -> Raw:
    """`calls` are (name, arguments as a JSON string), as in the dataset."""
    tool_calls = [
        {"id": f"chatcmpl-tool-{number}", "type": "function", "function": {"name": name, "arguments": arguments}}
        for number, (name, arguments) in enumerate(calls)
    ]
    return {"role": "assistant", "content": content, "tool_calls": tool_calls}


SYSTEM, USER = {"role": "system"}, {"role": "user", "content": "Where is #W1?"}
LOOKING = answer("<think>\nI look it up.\n</think>\n\n", ("get_order_details", '{"order_id": "#W1"}'))
FOUND = {"role": "tool", "content": '{"status": "pending"}'}
ANSWERED = answer("<think>\nIt is pending.\n</think>\n\nIt is pending.")


def written(path: Path, rows: list[Raw]) -> Path:
    if path.suffix == ".parquet":
        datasets.Dataset.from_list(rows).to_parquet(path)
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows))
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def converted(source: Source, limit: int | None = None) -> tuple[Conversion, list[Dialogue]]:
    conversion = Conversion(source)
    dialogues = [Dialogue.model_validate_json(line) for line in conversion.lines(limit)]
    for dialogue in dialogues:
        dialogue.check()
    assert conversion.kept == len(dialogues)
    assert conversion.read == conversion.kept + conversion.refused.total()
    return conversion, dialogues


@pytest.mark.parametrize("name", ["apigen-mt_5k.json", "rows.parquet"])
def test_apigen(tmp_path: Path, name: str) -> None:
    rows = [
        apigen_row(ASK, ("gpt", "One moment."), *LOOK, *CANCEL, DONE, ("human", "Thanks. ###STOP###")),
        apigen_row(ASK, ("function_call", calling("think")), ("observation", ""), DONE, system="You help."),
    ]
    conversion, (dialogue, thinking) = converted(ApigenDialogues(written(tmp_path / name, rows)))
    system, ask, look, order, cancel, cancelled, done = dialogue.messages
    assert system == SystemMessage(content=POLICY)
    assert ask == UserMessage(content="Cancel #W1, please.")
    assert isinstance(look, AssistantMessage)
    assert look.content == "One moment."
    assert look.tool_calls
    assert (look.tool_calls[0].name, look.tool_calls[0].parsed()) == ("get_order_details", {"order_id": "#W1"})
    assert order == ToolMessage(tool_call_id=look.tool_calls[0].id, content='{"status": "pending"}')
    assert [m.role for m in (cancel, cancelled)] == ["assistant", "tool"]
    assert done == AssistantMessage(content="It is cancelled.")
    assert [tool.name for tool in dialogue.tools] == ["get_order_details", "cancel_order", "think"]
    assert dialogue.tools[0].parameters == ORDER
    assert (dialogue.dialogue_id, dialogue.pipeline, dialogue.domain) == ("apigen-0000", "apigen", "apigen-retail")
    assert dialogue.task_starts == (1,)
    # Two calls, one of which writes.
    assert (dialogue.tasks[0].goal, dialogue.tasks[0].difficulty) == ("Cancel #W1, please.", "medium")
    assert (dialogue.provenance.licence, thinking.provenance.licence) == ("cc-by-nc-4.0", "not stated")
    assert thinking.domain.startswith("apigen-")
    assert thinking.domain != "apigen-retail"
    assert not conversion.refused
    assert conversion.repaired == {"closing user message": 1, "neighbours joined": 1}


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.parquet"])
def test_nemotron(tmp_path: Path, name: str) -> None:
    both = answer("<think>\nBoth.\n</think>", *[("get_order_details", f'{{"order_id": "#W{n}"}}') for n in (1, 2)])
    rows = [
        nemotron_row(1, SYSTEM, USER, both, FOUND, {**FOUND, "content": '{"status": "lost"}'}, ANSWERED),
        nemotron_row(2, USER, ANSWERED, USER, LOOKING),
    ]
    conversion, (dialogue, short) = converted(NemotronDialogues(written(tmp_path / name, rows)))
    user, look, first, second, answered = dialogue.messages
    assert user == UserMessage(content="Where is #W1?")
    assert isinstance(look, AssistantMessage)
    assert (look.reasoning_content, look.content) == ("Both.", "")
    assert look.tool_calls
    assert [call.parsed()["order_id"] for call in look.tool_calls] == ["#W1", "#W2"]
    # Results have no ids in this dataset: they answer the calls in order.
    assert [getattr(m, "tool_call_id", "") for m in (first, second)] == [call.id for call in look.tool_calls]
    assert answered == AssistantMessage(content="It is pending.", reasoning_content="It is pending.")
    assert dialogue.dialogue_id == f"nemotron-{uuid.UUID(int=1)}"
    assert dialogue.provenance.licence == "cc-by-4.0"
    assert dialogue.task_starts == (0,)
    assert dialogue.domain == short.domain
    assert [m.role for m in short.messages] == ["user", "assistant"]
    assert conversion.repaired == {"closing user message": 1, "open calls at the end": 1}


FAULTS: dict[str, Raw] = {
    "unanswered call": nemotron_row(1, USER, LOOKING, ANSWERED),
    "undeclared tool": nemotron_row(1, USER, answer("", ("guess", "{}")), FOUND, ANSWERED),
    "arguments no JSON": nemotron_row(1, USER, answer("", ("think", "{'x': 1}")), FOUND, ANSWERED),
    "arguments do not fit": nemotron_row(1, USER, answer("", ("cancel_order", '{"order_id": 1}')), FOUND, ANSWERED),
    "roles out of order": nemotron_row(1, USER, SYSTEM, ANSWERED),
    "stray result": nemotron_row(1, USER, FOUND, ANSWERED),
    "empty answer": nemotron_row(1, USER, answer("<think>\nHm.\n</think>"), USER, ANSWERED),
    "unclosed reasoning": nemotron_row(1, USER, answer("<think>\nI am cut off"), USER, ANSWERED),
    "empty": nemotron_row(1, SYSTEM),
    "repeated id": nemotron_row(0, USER, ANSWERED),
    "unreadable": nemotron_row(1, USER, answer("", ("", "{}")), FOUND, ANSWERED),
    "unknown content": nemotron_row(1, USER, ANSWERED | {"content": [{"type": "chart", "data": "x"}]}),
    "ambiguous tools": nemotron_row(
        1, USER, ANSWERED, metadata=json.dumps({"tools": [TOOLS[0], TOOLS[1] | {"name": "get-order-details"}]})
    ),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_each_fault_is_counted_by_its_kind(tmp_path: Path, kind: str) -> None:
    good = nemotron_row(0, USER, ANSWERED)
    conversion, dialogues = converted(NemotronDialogues(written(tmp_path / "rows.jsonl", [good, FAULTS[kind]])))
    assert len(dialogues) == 1
    assert conversion.refused == {kind: 1}
    assert conversion.examples[kind].startswith(f"row 2 ({FAULTS[kind]['uuid']}): ")


def test_a_final_call_is_unanswered(tmp_path: Path) -> None:
    conversion, dialogues = converted(
        NemotronDialogues(written(tmp_path / "rows.jsonl", [nemotron_row(1, SYSTEM, USER, LOOKING)]))
    )
    assert not dialogues
    assert conversion.refused == {"unanswered call": 1}


@pytest.mark.parametrize(
    ("metadata", "refused", "repaired"),
    [
        (json.dumps({"tools": [TOOLS[0], {"name": "bad", "parameters": 3}]}), {}, {"unusable tool left out": 1}),
        (json.dumps({"tools": [TOOLS[0], TOOLS[0]]}), {}, {"repeated tool left out": 1}),
        ("no JSON", {"undeclared tool": 1}, {}),
    ],
)
def test_tools_that_cannot_be_used(tmp_path: Path, metadata: str, refused: Raw, repaired: Raw) -> None:
    row = nemotron_row(1, USER, LOOKING, FOUND, ANSWERED, metadata=metadata)
    conversion, _ = converted(NemotronDialogues(written(tmp_path / "rows.jsonl", [row])))
    assert conversion.refused == refused
    assert conversion.repaired == repaired


def test_apigen_tools_that_are_not_json(tmp_path: Path) -> None:
    rows = [apigen_row(ASK, DONE, tools="[{"), apigen_row(ASK, ("function_call", "cancel it"), DONE)]
    conversion, _ = converted(ApigenDialogues(written(tmp_path / "rows.json", rows)))
    assert conversion.refused == {"unusable tools": 1, "arguments no JSON": 1}


def test_a_limit_counts_rows(tmp_path: Path) -> None:
    rows = [nemotron_row(number, USER, ANSWERED) for number in range(5)]
    conversion, dialogues = converted(NemotronDialogues(written(tmp_path / "rows.jsonl", rows)), limit=3)
    assert len(dialogues) == conversion.read == 3


def test_blank_lines_are_no_rows(tmp_path: Path) -> None:
    file = written(tmp_path / "rows.jsonl", [nemotron_row(1, USER, ANSWERED), nemotron_row(2, USER, ANSWERED)])
    file.write_text(file.read_text().replace("\n", "\n\n") + " \n")
    conversion, _ = converted(NemotronDialogues(file))
    assert (conversion.read, conversion.kept) == (2, 2)


@pytest.mark.parametrize("make", [ApigenDialogues, NemotronDialogues])
def test_a_file_of_another_format_is_refused(tmp_path: Path, make: Callable[[Path], Source]) -> None:
    with pytest.raises(UserError, match=r"expected: .* with the columns .*"):
        next(iter(make(tmp_path / "nothing.json").rows()))
    with pytest.raises(UserError, match=r"expected: .* with the columns .*(system|metadata)$"):
        next(iter(make(written(tmp_path / "other.jsonl", [{"text": "Hello."}])).rows()))
