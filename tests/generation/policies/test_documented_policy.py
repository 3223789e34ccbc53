"""The policy that docs/policies.md shows, on the tools that the default generation makes for that database."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from core.journal import read_jsonl
from core.settings import UserError
from generation.policies.files import read_policies
from generation.policies.writer import check_policy
from generation.tools.toolset import Toolset
from tests.helpers.paths import ROOT
from tests.scripts.helpers.generate_runs import generate

WORDS = (
    "stage=[tools,schemas]",
    "pipeline=user_oriented_exec",
    "domains.names=[library]",
    "max_tools=40",
    "report=null",
)


@pytest.fixture(scope="module")
def documented(tmp_path_factory: pytest.TempPathFactory) -> Path:
    (block,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "policies.md").read_text(), re.DOTALL)
    file = tmp_path_factory.mktemp("policies") / "policies.yaml"
    file.write_text(block)
    return file


def test_the_documented_policy_is_accepted(documented: Path, tmp_path: Path) -> None:
    policy = read_policies(documented)["library"]
    assert {rule.form for rule in policy.rules} == {"arguments", "state", "identity", "confirm", "staff"}
    generate(tmp_path, *WORDS)
    (file,) = tmp_path.glob("generate/*/toolsets.jsonl")
    (toolset,) = read_jsonl(file, Toolset)
    asyncio.run(check_policy(policy, toolset, str(documented)))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("library: {rules: [{form: state, when: [{value: 2025-02-31}]}]}", "cannot be read"),
        ("a: &a [*a]", "cannot be read"),
        ("[" * 2000 + "]" * 2000, "cannot be read"),
    ],
)
def test_files_that_cannot_be_read_are_named(text: str, problem: str, tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(text)
    with pytest.raises(UserError, match=problem):
        read_policies(tmp_path / "p.yaml")
