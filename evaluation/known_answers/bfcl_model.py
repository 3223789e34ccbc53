"""Answer policies from BFCL's own ground truth: a perfect model, and one whose every second answer is wrong."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from evaluation.known_answers.literals import as_java, as_javascript
from evaluation.known_answers.server import AnswerPolicy, Reply, call, say

PYTHON = Path(".venv-bfcl/bin/python")
DOCS = {
    "GorillaFileSystem": "gorilla_file_system",
    "MathAPI": "math_api",
    "MessageAPI": "message_api",
    "TwitterAPI": "posting_api",
    "TicketAPI": "ticket_api",
    "TradingBot": "trading_bot",
    "TravelAPI": "travel_booking",
    "VehicleControlAPI": "vehicle_control",
}
"""Files with the tool descriptions of each simulated API."""
MARK = "#"
"""Separates a task's name, which the policy leaves in its own replies, from the rest of the text."""
SCENARIOS = ("student", "customer", "finance", "healthcare", "notetaker")


@dataclass(frozen=True)
class GroundTruthTask:
    """A task with its ground truth: tool calls by turn, accepted arguments, or (memory) accepted texts.

    `openings` are the user messages of the first turn; `tools` the names of the tools offered in it (not for memory);
    `types` the declared types of the parameters, if there is a single tool.
    """

    name: str
    openings: tuple[str, ...]
    tools: frozenset[str]
    truth: Any
    types: dict[str, Any]

    @property
    def category(self) -> str:
        return self.name.rsplit("_", 1)[0]

    @property
    def number(self) -> int:
        return task_number(self.name)


def task_number(name: str) -> int:
    """A task's number in its category: 19 for live_simple_19-3-15."""
    return int(name.rsplit("_", 1)[1].split("-", maxsplit=1)[0])


class GroundTruth:
    """Answers every task with its ground truth.

    It identifies a task by the request id that our harness sends. Without an id, or with `by_opening`, it uses the user
    messages and tools of the first turn (the first task with them), and in later turns the mark in its own replies.
    `python` is the interpreter of the environment with the official package.
    """

    def __init__(self, python: Path = PYTHON, by_opening: bool = False) -> None:
        (data,) = python.absolute().parent.parent.glob("lib/python3*/site-packages/bfcl_eval/data")
        self.tasks = {task.name: task for task in _all_tasks(data)}
        self._by_id = not by_opening
        self._openings: dict[tuple[tuple[str, ...], frozenset[str]], GroundTruthTask] = {}
        for task in self.tasks.values():
            self._openings.setdefault((task.openings, task.tools), task)

    def task(self, body: dict[str, Any]) -> GroundTruthTask:
        """The task that a request belongs to. Raises KeyError if no task matches."""
        if self._by_id and body.get("request_id"):
            return self.tasks[body["request_id"].split("/")[1]]
        for message in body["messages"]:
            if message["role"] == "assistant":  # some prompts contain replies of other models
                marked = message["tool_calls"][0]["id"] if message.get("tool_calls") else message["content"]
                name, mark, _ = marked.partition(MARK)
                if mark and name in self.tasks:
                    return self.tasks[name]
        users = tuple(message["content"] for message in body["messages"] if message["role"] == "user")
        return self._openings[users, frozenset(tool["function"]["name"] for tool in body.get("tools", ()))]

    def __call__(self, body: dict[str, Any]) -> Reply:
        task = self.task(body)
        if task.category.startswith("multi_turn"):
            return _multi_turn(task, body)
        if task.category.startswith("memory"):
            return _memory(task, body)
        if task.category.endswith("irrelevance"):
            return say("None of my tools can do that.")
        if task.category == "live_relevance":
            return call((body["tools"][0]["function"]["name"], {}))
        schemas = {tool["function"]["name"]: tool["function"]["parameters"] for tool in body["tools"]}
        return call(*(_accepted_call(answer, task, schemas) for answer in task.truth))


def half_wrong(truth: GroundTruth) -> AnswerPolicy:
    """Like `truth`, but wrong on every task with an odd number in its category."""

    def policy(body: dict[str, Any]) -> Reply:
        task = truth.task(body)
        if task.number % 2 == 0 or "prereq" in task.category:
            return truth(body)
        if task.category.endswith("irrelevance"):
            return call(("a_tool_that_is_not_there", {}))
        return say("I do not know.")

    return policy


def _all_tasks(data: Path) -> Iterator[GroundTruthTask]:
    for path in sorted(data.glob("BFCL_v4_*.json")):
        category = path.stem.removeprefix("BFCL_v4_")
        if category not in ("format_sensitivity", "web_search", "memory"):
            yield from _read_tasks(path, category)
    for backend in ("kv", "rec_sum", "vector"):
        yield from _read_tasks(data / "BFCL_v4_memory.json", f"memory_{backend}")
        for scenario in SCENARIOS:
            yield from _read_tasks(data / f"memory_prereq_conversation/memory_{scenario}.json", f"memory_{backend}")


def _read_tasks(path: Path, category: str) -> Iterator[GroundTruthTask]:
    answers = path.parent / "possible_answer" / path.name
    truths = [line["ground_truth"] for line in read_lines(answers)] if answers.is_file() else None
    for position, entry in enumerate(read_lines(path)):
        name = entry["id"]
        if category.startswith("memory"):
            name = category + name.removeprefix("memory")
        openings = tuple(message["content"] for message in entry["question"][0] if message["role"] == "user")
        tools = entry.get("function", ())
        types = tools[0]["parameters"]["properties"] if len(tools) == 1 else {}
        offered = [tool["name"].replace(".", "_") for tool in tools] or _offered(entry, path.parent)
        # Some answers have ids of another form; they are in the order of the tasks.
        yield GroundTruthTask(name, openings, frozenset(offered), truths[position] if truths else None, types)


def _offered(entry: dict[str, Any], data: Path) -> list[str]:
    """The tools of a multi-turn task's APIs, without those that it withholds at first."""
    withheld = {name for names in entry.get("missed_function", {}).values() for name in names}
    docs = [DOCS[api] for api in entry.get("involved_classes", ()) if api in DOCS]
    names = [tool["name"] for doc in docs for tool in read_lines(data / "multi_turn_func_doc" / f"{doc}.json")]
    return [name for name in names if name not in withheld]


@cache
def read_lines(path: Path) -> list[dict[str, Any]]:
    """The JSON lines of an official data file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _multi_turn(task: GroundTruthTask, body: dict[str, Any]) -> Reply:
    if body["messages"][-1]["role"] != "user":
        return say(f"{task.name}{MARK} is done.")
    turn = sum(message["role"] == "user" for message in body["messages"]) - 1
    # A task identified by its opening may really be one with more turns.
    if turn >= len(task.truth) or not task.truth[turn]:
        return say(f"{task.name}{MARK} cannot be done.")
    reply = call(*(_parsed_call(text, body["tools"]) for text in task.truth[turn]), reasoning=f"turn {turn}")
    for tool_call in reply["tool_calls"]:
        tool_call["id"] = f"{task.name}{MARK}{tool_call['id']}"
    return reply


def _memory(task: GroundTruthTask, body: dict[str, Any]) -> Reply:
    """Stores a prerequisite conversation's name in the memory; answers a question with all accepted texts."""
    if "prereq" not in task.category:
        return say("; ".join(task.truth))
    roles = [message["role"] for message in body["messages"]]
    if roles.count("user") > 1 or roles[-1] != "user":
        return say("I see.")
    declared = {tool["function"]["name"] for tool in body["tools"]}
    note = f"[{task.name}]"
    if "memory_append" in declared:
        return call(("memory_append", {"text": note}))
    entry = {"key": f"entry_{task.number}", "value": note}
    return call(("archival_memory_add", entry if "archival_memory_key_search" in declared else {"text": note}))


def _accepted_call(
    answer: dict[str, dict[str, list[Any]]], task: GroundTruthTask, schemas: dict[str, Any]
) -> tuple[str, dict[str, Any]]:
    """A call with the first accepted value of each declared parameter; "" allows omitting an optional parameter."""
    ((dotted, parameters),) = answer.items()
    name = dotted.replace(".", "_")
    required = schemas[name].get("required", ())
    values = {}
    for key, accepted in parameters.items():
        if key in schemas[name]["properties"] and (accepted[:1] != [""] or key in required):
            values[key] = _plain(next((value for value in accepted if value != ""), "" if accepted else []))
    literal = {"simple_java": as_java, "simple_javascript": as_javascript}.get(task.category)
    if literal:
        values = {key: literal(value, task.types[key]) for key, value in values.items()}
    return name, values


def _plain(value: Any) -> Any:
    """An accepted value without alternatives, which nested dictionaries list for each key: the first one counts."""
    if isinstance(value, dict):
        first = {key: inner[0] if isinstance(inner, list) and inner else inner for key, inner in value.items()}
        return {key: _plain(inner) for key, inner in first.items() if inner != ""}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def _parsed_call(text: str, tools: list[dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    """A call of one of the tools with its arguments by name."""
    name, positional, named = parse_python_call(text)
    # One task calls a tool before it is offered, but with named arguments only.
    schemas = {tool["function"]["name"]: tool["function"]["parameters"] for tool in tools}
    order = schemas[name]["properties"] if positional else ()
    return name, dict(zip(order, positional, strict=False)) | named


def parse_python_call(text: str) -> tuple[str, list[Any], dict[str, Any]]:
    """The name, the positional and the named arguments of a call that is written in Python with literal arguments.
    Raises ValueError for anything else."""
    expression = ast.parse(text, mode="eval").body
    if not isinstance(expression, ast.Call) or not isinstance(expression.func, ast.Name):
        raise ValueError(f"the ground truth is not a tool call: {text}")
    named = {keyword.arg: ast.literal_eval(keyword.value) for keyword in expression.keywords if keyword.arg}
    return expression.func.id, [ast.literal_eval(value) for value in expression.args], named
