"""Every prompt, in every variant, without blanks."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import Any

import pytest
from jinja2 import UndefinedError

import generation.prompts
from core.messages import AssistantMessage, ToolCall, ToolMessage, ToolSpec, UserMessage
from generation.prompts import prompt_ids, render
from tests.generation.helpers.pipeline_runs import TASK, FinishedRun, user_settings
from tests.helpers.paths import GOLDEN

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
    "output_schema": {"tool": TOOL, "refused": "", "problems": ()},
    "output_schema_rules": {"domain": "halls", "tools": (TOOL,), "entities": {"hall_id": "integer"}},
    "questions": {"domain": "halls", "description": "Halls.", "tools": (TOOL,), "count": 20, "complaint": ""},
    "sql_tools": {"schema": {"name": "halls", "ddl": "CREATE TABLE halls (x)"}, "max_tools": 7, "complaint": ""},
    "task_writer": WRITER,
    "tool_expansion": {"domain": "halls", "tools": (TOOL,), "limit": 10, "complaint": ""},
    "tool_simulator": {
        "domain": "halls",
        "tool": TOOL,
        "calls": [("get_hall", {"a": 1}, "[]")],
        "transcript": (UserMessage(content="Hi"),),
        "stated": "",
        "now": "Tuesday 2025-03-04 10:15",
        "known": {"hall_id=1": {"name": "Größe"}},
        "complaint": "no JSON",
        "arguments": {"a": 1},
    },
    "tool_specs": {"domain": "halls", "question": "Is one free?", "tools": (TOOL,), "complaint": ""},
    "user": {"persona": "terse: short", "expertise": "novice", "rules": user_settings().rules},
    "user_turn": {
        "earlier": (),
        "heard": "Which one?",
        "goal": "The user wants a hall.",
        "first_task": True,
        "complaint": "no JSON",
    },
}


def test_every_prompt_is_tested_and_identified_by_its_hash() -> None:
    assert VALUES.keys() == FILES.keys() == prompt_ids().keys()
    for name, path in FILES.items():
        assert prompt_ids()[name] == hashlib.sha256(path.read_bytes()).hexdigest()[:12]


@pytest.mark.parametrize("name", sorted(VALUES))
def test_a_prompt_renders_fully_and_requires_every_value(name: str) -> None:
    text = render(name, **VALUES[name])
    assert text == text.strip()
    assert text
    assert not re.search(r"\{[{%#]|[%#]\}|Undefined|\bNone\b", text)
    for missing in VALUES[name]:
        with pytest.raises((UndefinedError, TypeError), match=f"{missing}|StrictUndefined"):
            render(name, **{key: value for key, value in VALUES[name].items() if key != missing})


@pytest.mark.parametrize(
    ("changes", "present", "absent"),
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
def test_the_task_writers_variants(changes: dict[str, Any], present: list[str], absent: list[str]) -> None:
    text = render("task_writer", **WRITER | changes)
    assert [part for part in present if part not in text] == []
    assert [part for part in absent if part in text] == []


PROMPTS = GOLDEN / "prompts"
ROW = {"name": "Größe & Söhne's", "id": 3}
VARIANTS: dict[str, dict[str, Any]] = {name: {} for name in VALUES} | {
    "task_writer.question": {
        "style": "question",
        "schema": {"ddl": "CREATE TABLE halls (x)"},
        "view": {"halls": [ROW]},
    },
    "task_writer.follow_up": {
        "previous": (TASK,),
        "facts": {"hall_id": 3},
        "want_follow_up": True,
        "complaint": "it was dull",
    },
    **{f"user.{preset}": {"rules": user_settings(preset).rules} for preset in ("upfront", "terse", "adversarial")},
    "user_turn.extended": {"earlier": (UserMessage(content="Hi"), AssistantMessage(content="Hello")), "heard": ""},
    "output_schema.repair": {"refused": "{}", "problems": ("hall_id is integer in get_hall, not string",)},
    "tool_simulator.stated": {"stated": "today is 3 May 2025", "calls": [], "known": {}, "complaint": ""},
}


@pytest.mark.parametrize("variant", sorted(VARIANTS))
def test_a_prompt_matches_its_golden_file(variant: str) -> None:
    """The exact text sent to a model. UPDATE_GOLDEN=1 rewrites the files; read them before committing."""
    name = variant.partition(".")[0]
    text = render(name, **VALUES[name] | VARIANTS[variant])
    path = PROMPTS / f"{variant}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    assert path.read_text() == text + "\n"


def test_no_golden_file_is_left_over() -> None:
    assert {path.stem for path in PROMPTS.iterdir()} == VARIANTS.keys()


def test_the_judge_sees_calls_and_results() -> None:
    text = render("judge", **VALUES["judge"])
    assert '[call] get_hall({"name": "Größe"})' in text
    assert "[tool] []" in text
    assert text.endswith("Now answer with the JSON object.")


def test_the_users_goal_is_announced_once(executed: FinishedRun) -> None:
    later = VALUES["user_turn"] | {"goal": "G", "first_task": False, "heard": "", "complaint": ""}
    assert render("user_turn", **later) == "You now have a further goal in the same conversation: G"
    for request, _ in executed.log:
        if request.role == "user":
            notices = [message for message in request.messages if "The conversation has not begun" in message.content]
            assert len(notices) == 1
