"""make generate with the tools of an MCP server and of an OpenAPI document."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from core.dialogue import Dialogue
from core.journal import read_jsonl
from core.settings import UserError
from generation.outcomes import Outcome
from scripts.generate import main
from scripts.launch import CONF
from tests.generation.services.test_mcp import COMMAND
from tests.generation.services.test_openapi import DOCUMENT

pytestmark = pytest.mark.slow


def generate(outputs: Path, *overrides: str) -> Path:
    """The run's folder of its only pipeline."""
    given = ["profile=tiny", f"outputs={outputs}", "pipeline=user_oriented", "tracking.mode=disabled", "report=null"]
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        main(compose("generate", [*given, *overrides]))
    return (outputs / "generate" / "latest" / "user_oriented").resolve()


def tools_called(dialogues: list[Dialogue]) -> set[str]:
    return {
        call.name for dialogue in dialogues for m in dialogue.messages for call in getattr(m, "tool_calls", ()) or ()
    }


def test_an_openapi_document_is_a_source_of_dialogues(tmp_path: Path) -> None:
    path = tmp_path / "pet_shop.json"
    path.write_text(json.dumps(DOCUMENT))
    run = generate(tmp_path, "domains=openapi", f"domains.paths=[{path}]", "n=6")
    dialogues = list(read_jsonl(run / "dialogues.jsonl", Dialogue))
    assert dialogues
    assert tools_called(dialogues)
    for dialogue in dialogues:
        dialogue.check()
        assert dialogue.domain == "pet_shop"
        assert dialogue.provenance.licence == "CC0-1.0"


def test_an_mcp_server_is_a_source_of_dialogues(tmp_path: Path) -> None:
    run = generate(tmp_path, "domains=mcp", f"domains.command='{COMMAND}'", "n=6")
    dialogues = list(read_jsonl(run / "dialogues.jsonl", Dialogue))
    assert dialogues
    assert tools_called(dialogues)
    for dialogue in dialogues:
        dialogue.check()
        assert dialogue.domain == "team_notes"


def test_where_it_is_allowed_the_server_executes_the_calls(tmp_path: Path) -> None:
    run = generate(
        tmp_path,
        "domains=mcp",
        f"domains.command='{COMMAND}'",
        "domains.samples=[notes_list]",
        "environment@pipelines.user_oriented.environment=mcp",
        "n=3",
    )
    outcomes = list(read_jsonl(run / "journal.jsonl", Outcome))
    dialogues = [outcome.dialogue for outcome in outcomes if outcome.dialogue]
    results = [m.content for dialogue in dialogues for m in dialogue.messages if m.role == "tool"]
    assert any("Budget" in result or "Error executing tool" in result or result == "renamed" for result in results)
    assert all(dialogue.state is None for dialogue in dialogues), "nothing was proved"


def test_tools_of_a_service_are_not_run_as_sql(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="executes tools of engine sql, but the seeds give tools of engine mcp"):
        generate(tmp_path, "domains=mcp", f"domains.command='{COMMAND}'", "pipeline=user_oriented_exec", "n=1")
