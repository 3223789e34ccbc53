"""make serve-tools: which toolsets of a source it serves. The server itself is replaced."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from core.journal import write_jsonl
from core.messages import ToolSpec
from core.runs import open_run
from core.settings import UserError
from generation.mcp_server.server import ToolServer
from generation.tools.toolset import Toolset
from scripts import serve_tools
from scripts.serve_tools import ServeToolsSettings
from tests.generation.helpers.served_shops import shop_toolset

LOOK_UP = ToolSpec(name="look_up", description="Looks up.", parameters={"type": "object", "properties": {}})
SERVICE = Toolset(domain="service", description="", tools=(LOOK_UP,), engine="mcp", pipelines=("user_oriented",))


class KilledError(Exception):
    """The process ends here, so the run stays unfinished."""


@pytest.fixture
def worlds(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Toolset]]:
    """The toolsets by domain of each server that would have run; then its process is killed."""
    served: list[dict[str, Toolset]] = []

    def serve(server: ToolServer, *others: Any) -> None:
        served.append(server.world.toolsets)
        raise KilledError

    monkeypatch.setattr(serve_tools, "_serve", serve)
    return served


def serve(folder: Path, **settings: Any) -> None:
    with pytest.raises(KilledError):
        serve_tools.serve_tools(ServeToolsSettings(outputs=folder / "outputs", **settings))


def test_of_a_run_the_toolsets_of_the_pipeline_are_served(tmp_path: Path, worlds: list[dict[str, Toolset]]) -> None:
    sql = {"_target_": "generation.environments.sql.SqlEnvironmentFactory"}
    simulated = {"_target_": "generation.environments.simulated.environment.SimulatedEnvironmentFactory"}
    pipelines = {"user_oriented": {"environment": simulated}, "user_oriented_exec": {"environment": sql}}
    with open_run(tmp_path, "generate", {"pipelines": pipelines}) as run:
        shop = shop_toolset(tmp_path).model_copy(update={"pipelines": ("user_oriented_exec",)})
        write_jsonl(run.directory / "toolsets.jsonl", [SERVICE, shop])
        run.finish({})
    serve(tmp_path, source=str(run.directory))
    serve(tmp_path, source=str(run.directory), pipeline="user_oriented")
    assert [list(toolsets) for toolsets in worlds] == [["shop"], ["service"]]
    with pytest.raises(UserError, match=f"'shops' is not a domain of {run.directory}; .*shop"):
        serve_tools.serve_tools(ServeToolsSettings(outputs=tmp_path, domains=("shops",)))


def test_a_file_that_has_changed_is_read_again(tmp_path: Path, worlds: list[dict[str, Toolset]]) -> None:
    path, shop = tmp_path / "toolsets.jsonl", shop_toolset(tmp_path)
    for description in ("Sells pens.", "Sells ink."):
        write_jsonl(path, [shop.model_copy(update={"description": description})])
        serve(tmp_path, source=str(path))
    assert [toolsets["shop"].description for toolsets in worlds] == ["Sells pens.", "Sells ink."]


def test_toolsets_without_tools_are_not_served(tmp_path: Path, worlds: list[dict[str, Toolset]]) -> None:
    path, shop = tmp_path / "toolsets.jsonl", shop_toolset(tmp_path)
    write_jsonl(path, [shop, shop.model_copy(update={"domain": "refused", "tools": (), "statements": {}})])
    serve(tmp_path, source=str(path))
    assert [list(toolsets) for toolsets in worlds] == [["shop"]]


def test_a_file_of_toolsets_of_several_engines_or_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "toolsets.jsonl"
    for toolsets, given in (([], "none"), ([SERVICE, shop_toolset(tmp_path)], "mcp, sql")):
        write_jsonl(path, toolsets)
        with pytest.raises(UserError, match=f"engines of the toolsets: {given}; expected: one"):
            serve_tools.serve_tools(ServeToolsSettings(outputs=tmp_path, source=str(path)))
