"""Runs against recorded answers of a real small model (Qwen2.5-Coder-0.5B-Instruct through vLLM): what it really
writes is read, asked again or refused, and nothing of it slips into a dialogue that has no place there.

tests/generation/helpers/recordings.py tells how new recordings are made; each run here names the command's overrides.
"""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir

from core.dialogue import Dialogue, Rubric
from core.journal import read_jsonl
from core.messages import AssistantMessage
from core.usage import RoleUsage
from generation.llm.base import Role
from generation.runner import Rejection
from generation.tools.toolset import Toolset
from generation.validation.judge import read_judgment
from scripts.generate import main
from scripts.launch import CONF
from tests.generation.helpers.recordings import RecordedServer, recorded_server
from tests.helpers.paths import GOLDEN

RECORDINGS = GOLDEN / "recordings"


@contextmanager
def serving(name: str) -> Iterator[RecordedServer]:
    """The server of a file of recordings, in a thread: a run has an event loop of its own."""
    started, stop = threading.Event(), asyncio.Event()
    servers: list[RecordedServer] = []
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        async with recorded_server(RECORDINGS / f"{name}.jsonl") as server:
            servers.append(server)
            started.set()
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    started.wait(timeout=60)
    try:
        yield servers[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(timeout=60)


LIBRARY = ("domains.names=[library]",)
EXECUTED = (*LIBRARY, "pipeline=user_oriented_exec")
BUDGET = [
    "sampling.max_tokens=1024",
    *(f"role_sampling.{role}.max_tokens=1024" for role in ("tool_maker", "task_writer", "tool_simulator")),
]


def run(outputs: Path, recordings: str, played: Sequence[Role], *overrides: str) -> Path:
    """`make generate` in this process, with recordings in some roles; returns the run's directory."""
    with serving(recordings) as server, initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        models = [
            part for role in played for part in (f"llm@roles.{role}=vllm", f"roles.{role}.base_urls=[{server.url}]")
        ]
        budgets = [f"roles.{role}.{limit}" for role in played for limit in BUDGET]
        common = ("profile=tiny", "tracking.mode=disabled", f"outputs={outputs}", "concurrency=6")
        main(compose("generate", [*common, *models, *budgets, *overrides]))
    return max((outputs / "generate").glob("2*"))


def dialogues(pipeline: Path) -> list[Dialogue]:
    """All dialogues of a pipeline that were begun, accepted or not."""
    rejected = read_jsonl(pipeline / "rejected.jsonl", Rejection)
    begun = [*read_jsonl(pipeline / "dialogues.jsonl", Dialogue), *(r.dialogue for r in rejected if r.dialogue)]
    assert all(dialogue.verdict for dialogue in begun)
    return begun


def flaws(pipeline: Path, role: Role) -> tuple[int, dict[str, int]]:
    """(answers of a role, those that could not be read by kind)."""
    roles, counts = 0, dict.fromkeys(("truncated", "malformed", "empty", "refused"), 0)
    for dialogue in dialogues(pipeline):
        roles += dialogue.usage.roles[role].requests if role in dialogue.usage.roles else 0
        for kind in counts:
            counts[kind] += dialogue.usage.flaws.get(f"{role}/{kind}", 0)
    return roles, counts


def test_a_model_that_talks_leaves_no_text_call_in_any_transcript(tmp_path: Path) -> None:
    """User, agent, tool simulator and judge; tools and tasks are scripted."""
    played: tuple[Role, ...] = ("user", "agent", "tool_simulator", "judge")
    directory = run(tmp_path, "talk", played, *LIBRARY, "pipeline=user_oriented", "n=3", "max_tools=6")
    pipeline = directory / "user_oriented"
    begun = dialogues(pipeline)
    assert len(begun) == 3
    for dialogue in begun:
        assert dialogue.verdict
        assert dialogue.verdict.accepted or dialogue.verdict.blame
        for message in dialogue.messages:
            if isinstance(message, AssistantMessage) and not message.tool_calls:
                assert not re.search(r'[{\[]\s*"|```|<\|', message.content), message.content
    for role in ("user", "tool_simulator"):
        answers, bad = flaws(pipeline, role)
        assert answers
        assert bad["truncated"] + bad["malformed"] + bad["empty"] <= answers / 10
    answers, bad = flaws(pipeline, "agent")
    assert bad["malformed"] + bad["empty"] >= answers / 3, "the agent's answers are the ones that put this to the test"


def test_every_draft_of_a_model_that_writes_no_usable_task_is_refused_with_a_reason(tmp_path: Path) -> None:
    attempts = "pipelines.user_oriented_exec.tasks.attempts=3"
    directory = run(tmp_path, "task_writer", ["task_writer"], *EXECUTED, "n=3", "max_tools=4", attempts)
    begun = dialogues(directory / "user_oriented_exec")
    answers, bad = flaws(directory / "user_oriented_exec", "task_writer")
    assert answers == bad["refused"] + bad["truncated"] >= 6, "none is unreadable"
    assert {dialogue.verdict.blame for dialogue in begun if dialogue.verdict} == {"task"}
    for dialogue in begun:
        assert "nothing usable in" in dialogue.stop


def test_a_real_judge_is_read_bullet_by_bullet() -> None:
    """Its two answers, of the rubrics that it was asked about: three bullets and eighteen."""
    lines = (RECORDINGS / "judge.jsonl").read_text().splitlines()
    answers = [json.loads(line)["message"]["content"] for line in lines]
    counts = [len(re.findall(r'"index"', answer)) for answer in answers]
    assert len(counts) == 2
    for answer, count in zip(answers, counts, strict=True):
        rubric = Rubric(criteria=tuple(f"Criterion {number} holds." for number in range(count)))
        judgment = read_judgment(answer, rubric)
        assert [bullet.bullet for bullet in judgment.bullets] == list(rubric.criteria)
        with pytest.raises(ValueError, match=r"bullet|index"):
            read_judgment(answer, Rubric(criteria=(*rubric.criteria, "One more.")))


KITCHEN = [
    ("search_recipes", "Find recipes by ingredient.", {"ingredient": "string", "max_minutes": "integer"}),
    ("get_recipe", "Details of one recipe.", {"recipe_id": "string"}),
    ("add_to_shopping_list", "Add an item to the shopping list.", {"item": "string", "quantity": "integer"}),
    ("list_shopping_list", "All items on the shopping list.", {}),
]


def test_tools_of_a_real_model_are_read_and_none_comes_from_an_example(tmp_path: Path) -> None:
    """Recorded: it named the domain "lighthouse tours" and proposed list_tours, both from the prompts' examples."""
    kitchen = tmp_path / "kitchen.jsonl"
    kitchen.write_text("\n".join(json.dumps(tool(*spec)) for spec in KITCHEN))
    directory = run(
        tmp_path,
        "tools",
        ["tool_maker", "schema_writer"],
        *("domains=tools", f"domains.paths=[{kitchen}]", "pipeline=user_oriented", "stage=[tools,schemas]", "n=1"),
        *("max_tools=6", "stages.tools.questions=3", "stages.tools.expansion=3"),
    )
    (made,) = read_jsonl(directory / "toolsets.jsonl", Toolset)
    assert len(made.tools) >= 3
    assert all(tool.returns for tool in made.tools)
    for text in (made.title, made.description, *(f"{tool.name} {tool.description}" for tool in made.tools)):
        assert "lighthouse" not in text.casefold()
    assert "list_tours" not in {tool.name for tool in made.tools}
    usage = made.provenance.usage
    assert usage
    for role in ("tool_maker", "schema_writer"):
        assert usage.roles.get(role, RoleUsage()).requests >= 5
    assert "schema_writer/malformed" not in usage.flaws, 'recorded: "required" among the properties'


def tool(name: str, description: str, parameters: dict[str, str]) -> dict[str, Any]:
    properties = {key: {"type": kind, "description": key} for key, kind in parameters.items()}
    schema = {"type": "object", "properties": properties, "required": list(parameters)[:1]}
    return {"type": "function", "function": {"name": name, "description": description, "parameters": schema}}
