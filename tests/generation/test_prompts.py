"""Every prompt, in every variant, with nothing left blank."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import pytest
from jinja2 import UndefinedError
from rollouts import TASK, Played

import generation.prompts
from core.messages import AssistantMessage, ToolCall, ToolMessage, ToolSpec, UserMessage
from generation.prompts import prompt_ids, render

FILES = {path.stem: path for path in Path(generation.prompts.__file__).parent.glob("*.j2")}
TOOL = ToolSpec(name="get_hall", description="A hall.", parameters={"type": "object"}, returns={"type": "array"})
WRITER: dict[str, Any] = {
    "domain": "halls",
    "tools": (TOOL,),
    "schema": None,
    "style": "descriptive",
    "view": {},
    "previous": (),
    "facts": {},
    "want_follow_up": False,
    "difficulty": "hard",
    "complaint": "",
}
CALLED = AssistantMessage(tool_calls=(ToolCall.make("c", "get_hall", {"name": "Größe"}),))
VALUES: dict[str, dict[str, Any]] = {
    "agent": {"domain": "event tickets"},
    "judge": {
        "task": TASK,
        "transcript": (UserMessage(content="Hi"), CALLED, ToolMessage(tool_call_id="c", content="[]")),
    },
    "sql_tools": {"schema": {"name": "halls", "ddl": "CREATE TABLE halls (x)"}, "max_tools": 7},
    "task_writer": WRITER,
    "tool_simulator": {"domain": "halls", "tool": TOOL, "ledger": [], "arguments": {"a": 1}, "now": "2025-01-01"},
    "user": {"persona": "terse: short", "max_subtasks_per_turn": 2},
    "user_goal": {"goal": "The user wants a hall.", "first_task": True},
}


def test_every_prompt_is_tested_and_known_by_its_hash() -> None:
    assert VALUES.keys() == FILES.keys() == prompt_ids().keys()
    for name, path in FILES.items():
        assert prompt_ids()[name] == hashlib.sha256(path.read_bytes()).hexdigest()[:12]


@pytest.mark.parametrize("name", sorted(VALUES))
def test_a_prompt_renders_fully_and_misses_no_value(name: str) -> None:
    text = render(name, **VALUES[name])
    assert text == text.strip()
    assert text
    assert not re.search(r"\{[{%#]|[%#]\}|Undefined|\bNone\b", text)
    for missing in VALUES[name]:
        with pytest.raises((UndefinedError, TypeError), match=f"{missing}|StrictUndefined"):
            render(name, **{key: value for key, value in VALUES[name].items() if key != missing})


@pytest.mark.parametrize(
    ("changes", "there", "absent"),
    [
        (
            {},
            ["declarative", "Write one hard task."],
            ["Database", "limited look", "already done", "learnt", "refused"],
        ),
        ({"style": "question"}, ["the request as the user would put it"], ["declarative"]),
        ({"schema": {"ddl": "CREATE TABLE halls"}}, ["CREATE TABLE halls"], []),
        (
            {"view": {"halls": [{"name": "Größe & Söhne's", "id": 3}]}},
            ['halls:\n  {"name": "Größe & Söhne\'s", "id": 3}'],
            [],
        ),
        ({"previous": (TASK,)}, [TASK.goal, "independent of the earlier ones"], ["naturally extends"]),
        (
            {"previous": (TASK,), "facts": {"hall_id": 3}, "want_follow_up": True},
            ['{"hall_id": 3}', "naturally extends"],
            ["independent"],
        ),
        ({"complaint": "it was dull"}, ["Your last draft was refused: it was dull."], []),
    ],
)
def test_the_task_writers_variants(changes: dict[str, Any], there: list[str], absent: list[str]) -> None:
    text = render("task_writer", **WRITER | changes)
    assert [part for part in there if part not in text] == []
    assert [part for part in absent if part in text] == []


def test_the_judge_sees_calls_and_results() -> None:
    text = render("judge", **VALUES["judge"])
    assert '[call] get_hall({"name": "Größe"})' in text
    assert "[tool] []" in text
    assert text.endswith('{"judgment": "valid" | "invalid", "reasoning": str}')


def test_the_users_goal_is_announced_once(executed: Played) -> None:
    assert render("user_goal", goal="G", first_task=False) == "You now have a further goal in the same conversation: G"
    for request, _ in executed.log:
        if request.role == "user":
            begun = [message for message in request.messages if "The conversation has not begun" in message.content]
            assert len(begun) == 1
