"""Every prompt, in every variant, without blanks."""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
from jinja2 import UndefinedError
from jsonschema import validate

import generation.prompts
from core.dialogue import Rubric
from core.messages import AssistantMessage, ToolCall, ToolMessage, ToolSpec, UserMessage
from core.policy import ArgumentRule, Comparison, Policy
from core.request_kinds import RequestKind
from generation.dialogue.personas import User
from generation.environments.simulated.tool_errors import EXAMPLE_ERROR, EXAMPLE_ID
from generation.prompts import prompt_ids, render
from generation.tasks.difficulty import effort
from generation.tasks.draft import TaskDraft, answer_schema, check_draft
from tests.generation.helpers.database_specs import boat_hire
from tests.generation.helpers.hives import HIVES
from tests.generation.helpers.pipeline_runs import SCENE, TASK, FinishedRun, user_settings
from tests.helpers.paths import GOLDEN

FILES = {path.stem: path for path in Path(generation.prompts.__file__).parent.glob("*.j2")}
TOOL = ToolSpec(name="get_hall", description="A hall.", parameters={"type": "object"}, returns={"type": "array"})
WRITER: dict[str, Any] = {
    "scene": SCENE,
    "tools": (TOOL,),
    "schema": None,
    "style": "descriptive",
    "view": {},
    "previous": (),
    "facts": {},
    "want_follow_up": False,
    "difficulty": "hard",
    "kind": "plain",
    "evidence_rows": 0,
    "policy": None,
    "rule_ids": (),
    "targets": (),
    "user": "",
    "fields": ("goal", "subgoals", "plan", "criteria", "checkpoints"),
}
POLICY = Policy(
    rules=(
        ArgumentRule(
            rule_id="max_seats",
            text="No hall is booked for more than 80 guests.",
            tools=("book_hall",),
            require=(Comparison(field="guests", op="at_most", value=80),),
        ),
    )
)
CALLED = AssistantMessage(tool_calls=(ToolCall.make("c", "get_hall", {"name": "Größe"}),))
RUBRIC = Rubric(
    criteria=("A hall is booked.",), tool_pattern=("get_hall(name=Größe)",), checkpoints=("get_hall has succeeded",)
)
SHORT = User("terse: short; expertise: novice", None, user_settings().rules, "en")
OPTIONAL = {"evidence_rows", "rule_ids", "schema", "rows"}
"""Values that only certain requests and services have."""
AGENTS = ("agent", "agent_brief", "agent_rules_first")
VALUES: dict[str, dict[str, Any]] = {
    **{name: {"scene": SCENE, "policy": "", "multilingual": False} for name in AGENTS},
    "database_outline": {
        "sentence": "A guild rents halls.",
        "tables": (3, 8),
        "rows": (5, 400),
        "refused": ("two tables are named 'halls'",),
    },
    "database_link": {
        "sentence": "A guild rents halls.",
        "outline": boat_hire(),
        "links": ("each hire refers to one boat",),
    },
    "database_table": {
        "sentence": "A guild rents halls.",
        "outline": boat_hire(),
        "table": boat_hire().tables[2],
        "parents": boat_hire().tables[:1],
        "columns": (2, 12),
    },
    "domain": {"hint": "hall rental", "tools": (TOOL,), "schema": None},
    "domain_sentence": {"area": "halls"},
    "judge": {
        "scene": SCENE,
        "task": TASK.model_copy(update={"rubric": RUBRIC}),
        "transcript": (UserMessage(content="Hi"), CALLED, ToolMessage(tool_call_id="c", content="[]")),
        "policy": None,
    },
    "output_schema": {"tool": TOOL},
    "output_schema_rules": {
        "domain": "halls",
        "description": "Halls.",
        "tools": (TOOL,),
        "entities": {"hall_id": "integer"},
    },
    "questions": {"domain": "halls", "description": "Halls.", "tools": (TOOL,), "count": 20},
    "repair": {"complaint": "it was dull"},
    "sql_tools": {
        "domain": "halls",
        "description": "Halls.",
        "schema": {"name": "halls", "ddl": "CREATE TABLE halls (x)"},
        "limit": 5,
        "tools": (TOOL,),
        "uncovered": ("No tool changes: halls.", "No tool uses: DELETE."),
        "refused": ("drop_hall: SELECT, INSERT, UPDATE or DELETE is expected, but DROP is given",),
    },
    "task_writer": WRITER,
    "tool_expansion": {"domain": "halls", "description": "Halls.", "tools": (TOOL,), "limit": 10},
    "tool_simulator": {
        "scene": SCENE,
        "tool": TOOL,
        "calls": [("get_hall", {"a": 1}, "[]")],
        "transcript": (UserMessage(content="Hi"),),
        "known": {"hall_id=1": {"name": "Größe"}},
        "arguments": {"a": 1},
        "example_id": EXAMPLE_ID,
        "example_error": EXAMPLE_ERROR,
    },
    "tool_specs": {"domain": "halls", "description": "Halls.", "question": "Is one free?", "tools": (TOOL,)},
    "policy": {
        "domain": "halls",
        "description": "Halls.",
        "tools": (TOOL,),
        "schema": {"name": "halls", "ddl": "CREATE TABLE halls (x)"},
        "rows": {"halls": [{"name": "Größe", "x": 3}]},
        "executable": True,
        "limit": 4,
        "rules": POLICY.rules,
        "refused": ("no_tool_rule: there is no tool fly",),
    },
    "user": {"scene": SCENE, "user": SHORT, "rules": SHORT.rules, "tools": ()},
    "user_turn": {
        "earlier": (),
        "heard": "Which one?",
        "seen": None,
        "goal": "The user wants a hall.",
        "first_task": True,
        "task": TASK,
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
    for missing in VALUES[name].keys() - OPTIONAL:
        with pytest.raises((UndefinedError, TypeError), match=f"{missing}|StrictUndefined"):
            render(name, **{key: value for key, value in VALUES[name].items() if key != missing})


@pytest.mark.parametrize(
    ("changes", "present", "absent"),
    [
        (
            {},
            ["The user wants to", "Write one task.\nIt is a hard one"],
            ["CREATE", "Some rows", "already done", "learnt", "medium", "easy"],
        ),
        ({"style": "question", "difficulty": "easy"}, ["the request as the user", "an easy one"], ["The user wants"]),
        ({"difficulty": "medium"}, ["a medium one"], ["hard", "easy"]),
        ({"schema": {"ddl": "CREATE TABLE halls"}}, ["CREATE TABLE halls"], []),
        (
            {"view": {"halls": [{"name": "Größe & Söhne's", "id": 3}]}},
            ['halls:\n  {"name": "Größe & Söhne\'s", "id": 3}'],
            [],
        ),
        ({"previous": (TASK,)}, [TASK.goal, "independent of the earlier ones"], ["naturally continues"]),
        (
            {"previous": (TASK,), "facts": {"hall_id": 3}, "want_follow_up": True},
            ['{"hall_id": 3}', "naturally continues"],
            ["independent"],
        ),
    ],
)
def test_the_task_writers_variants(changes: dict[str, Any], present: list[str], absent: list[str]) -> None:
    text = render("task_writer", **WRITER | changes)
    assert [part for part in present if part not in text] == []
    assert [part for part in absent if part in text] == []


@pytest.mark.parametrize("style", ["question", "descriptive"])
def test_the_task_writers_example_is_a_good_draft(style: str) -> None:
    text = render("task_writer", **WRITER | {"style": style})
    (example,) = (line for line in text.splitlines() if line.startswith('{"goal"'))
    draft = TaskDraft.model_validate_json(example)
    validate(json.loads(example), answer_schema(HIVES))
    check_draft(draft.task("t", "medium", None), HIVES, "")
    assert effort(draft.plan, [False, True]).score == 4, "it is a medium one"


def test_the_task_writers_rules_and_tools_are_a_common_prefix() -> None:
    """What changes from task to task comes last, so that servers find the rest in their cache."""
    more = {"previous": (TASK,), "facts": {"hall_id": 3}, "want_follow_up": True, "difficulty": "easy"}
    first, second = render("task_writer", **WRITER), render("task_writer", **WRITER | more)
    assert first.partition("Tasks already done")[0].partition("The current time")[0] in second
    assert "get_hall" in first.partition("The current time")[0]


PROMPTS = GOLDEN / "prompts"
ROW = {"name": "Größe & Söhne's", "id": 3}
VARIANTS: dict[str, dict[str, Any]] = {name: {} for name in VALUES} | {
    "domain.database": {"hint": "", "tools": (), "schema": {"ddl": "CREATE TABLE halls (x)"}},
    "sql_tools.first": {"tools": (), "uncovered": (), "refused": ()},
    "task_writer.question": {
        "style": "question",
        "schema": {"ddl": "CREATE TABLE halls (x)"},
        "view": {"halls": [ROW]},
    },
    "task_writer.follow_up": {
        "previous": (TASK,),
        "facts": {"hall_id": 3},
        "want_follow_up": True,
    },
    **{f"user.{preset}": {"rules": user_settings(preset).rules} for preset in ("upfront", "terse", "adversarial")},
    "user.staff": {"user": replace(SHORT, persona="warm: kind; staff: a porter; mood: calm; expertise: expert")},
    "user.tools": {"tools": (TOOL,)},
    "user_turn.seen": {"heard": "", "goal": "", "seen": ("check_light", '[{"light": "red"}]'), "first_task": False},
    "user.german": {"user": replace(SHORT, language="de")},
    "agent.multilingual": {"multilingual": True},
    "task_writer.targets": {"targets": ("get_hall", "book_hall"), "user": "a retired teacher"},
    "user_turn.extended": {"earlier": (UserMessage(content="Hi"), AssistantMessage(content="Hello")), "heard": ""},
    **{
        f"task_writer.{kind}": {
            "kind": kind,
            "evidence_rows": 5,
            "rule_ids": ("max_seats",) if kind == "forbidden" else (),
            "policy": POLICY if kind == "forbidden" else None,
        }
        for kind in get_args(RequestKind)
        if kind not in ("plain", "guided")  # guided tasks are not written by a model
    },
    **{
        f"user_turn.{kind}": {"task": task, "goal": task.goal}
        for kind, task in (
            ("incomplete", TASK.model_copy(update={"kind": "incomplete", "withheld": ("3 June",)})),
            ("withdrawn", TASK.model_copy(update={"kind": "withdrawn", "withheld": ("3 June",)})),
            ("changed", TASK.model_copy(update={"kind": "changed", "first_wish": "The user wants a room."})),
            ("late_tool", TASK.model_copy(update={"kind": "late_tool"})),
            ("forbidden", TASK.model_copy(update={"kind": "forbidden"})),
        )
    },
    "agent.policy": {"policy": POLICY.shown},
    "judge.forbidden": {"policy": POLICY, "task": TASK.model_copy(update={"kind": "forbidden", "rubric": RUBRIC})},
    "tool_simulator.first": {"calls": [], "known": {}},
    "judge.bare": {"task": TASK},
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
    assert text.endswith("Answer with the JSON object: bullets 1 to 3, reasoning, judgment, blame.")


def test_the_users_goal_is_announced_once(executed: FinishedRun) -> None:
    later = VALUES["user_turn"] | {"goal": "G", "first_task": False, "heard": ""}
    assert render("user_turn", **later) == (
        "You now have a further goal in the same conversation: G\n\nWrite your next message as the customer."
    )
    for request, _ in executed.log:
        if request.role == "user":
            notices = [message for message in request.messages if "The conversation has not begun" in message.content]
            assert len(notices) == 1
