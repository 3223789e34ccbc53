"""The dataset card: what it says, and that a hub reads it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import DatasetCard

from core.dialogue import Dialogue
from core.journal import RecordError, write_jsonl
from core.settings import UserError
from generation.export.card import hub_licence
from generation.export.dedup import Removal
from generation.export.report import Report
from tests.generation.helpers.export_dialogues import PROVENANCE, dialogue
from tests.generation.helpers.exports import (
    DIALOGUES,
    contents,
    exported,
)


def test_the_card_states_the_provenance(run: tuple[Path, Report], tmp_path: Path) -> None:
    directory, _ = run
    card = DatasetCard.load(directory / "README.md")
    header = yaml.safe_load((directory / "README.md").read_text().split("---")[1])
    assert header["license"] == card.data.license == ["apache-2.0", "cc-by-sa-4.0"]
    assert [config["config_name"] for config in header["configs"]] == ["messages"]
    files = [data["path"] for config in header["configs"] for data in config["data_files"]]
    assert all((directory / file).is_file() for file in files)
    for line in (
        "| bundled | Apache-2.0 | 1 | 3 |",
        "| spider | CC BY-SA 4.0 | 1 | 1 |",
        "| exec | bundled | 2.00 (2) | 4.00 (6) | 0.00 (0) | 2 |",
        "| user_oriented | 4 | calls (1), entities (1) | 2 |",
        "| exam (7) | 1 | entities | 1 | drop | `agent_99` (task 3) |",
        "- Model: scripted (4)",
        '- Sampling: not stated (1), {"temperature": 0.6} (3)',
        "- Random seed: 0 (3), 1 (1)",
        "- Code (commit): c0ffee (4)",
        "- Prompts (name and hash): agent 0a1b",
        "- Packages: vllm 0.32.0",
        "Not stated in the provenance: sampling (1).",
        "Generation run `run-1`.",
        "**1 of the dialogues were not validated.**",
    ):
        assert line in card.text, line
    assert "in-domain" not in card.text


def test_the_card_names_what_is_in_domain(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "d.jsonl", [dialogue("a", "Hi.", "Hi.", provenance=PROVENANCE | {"source": "exam"})])
    report = exported([tmp_path / "d.jsonl"], tmp_path / "out")
    assert report.contamination["exam"].in_domain == 1
    assert "**1 dialogues are in-domain for exam**" in (tmp_path / "out" / "README.md").read_text()


@pytest.mark.parametrize(
    ("named", "identifier"),
    [
        ("Apache-2.0", "apache-2.0"),
        ("MIT", "mit"),
        ("CC BY-SA 4.0", "cc-by-sa-4.0"),
        ("cc-by-4.0", "cc-by-4.0"),
        ("not stated", "other"),
        ("Our own licence", "other"),
    ],
)
def test_licences_have_the_hubs_names(named: str, identifier: str) -> None:
    assert hub_licence(named) == identifier


def without_messages(line: Dialogue) -> Dialogue:
    return line.model_copy(update={"messages": (), "task_starts": ()})


@pytest.mark.parametrize(
    ("lines", "error", "says"),
    [
        (
            (DIALOGUES[0], without_messages(DIALOGUES[1])),
            UserError,
            "line 2: user_oriented-2 was never played.*rollout",
        ),
        ((DIALOGUES[0], DIALOGUES[0]), UserError, "line 2: the id user_oriented-1 occurred before"),
        ((DIALOGUES[3],), UserError, "none of 1 dialogues remains: user_oriented: entities 1"),
        ((), UserError, "none of 0 dialogues remains"),
        (
            (DIALOGUES[0].model_copy(update={"pipeline": "../x"}),),
            UserError,
            "pipeline='../x' was given; expected: a name",
        ),
        ((Removal(dialogue_id="a", pipeline="b", why="near", of="c"),), RecordError, "line 1: not a dialogue: "),
    ],
)
def test_a_line_that_cannot_be_exported_is_named(
    lines: Sequence[Any], error: type[Exception], says: str, tmp_path: Path
) -> None:
    write_jsonl(tmp_path / "d.jsonl", lines)
    with pytest.raises(error, match=says):
        exported([tmp_path / "d.jsonl"], tmp_path / "out")
    assert contents(tmp_path / "out") == {}
