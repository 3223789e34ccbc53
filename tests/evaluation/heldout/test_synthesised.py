"""Held-out synthesised databases are the benchmark's unseen ones; those that were trained on are refused."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import hydra
import pytest

from core.journal import write_jsonl
from core.settings import UserError, typed
from generation.scripted.llm import ScriptedLLM
from generation.seeds.base import Seed
from generation.seeds.synthesised import SynthesisedSeeds
from generation.synthesis.run import DatabasesSettings, make_databases
from generation.toolset_runner import source_from_seed
from scripts.launch import CONF
from tests.evaluation.helpers.heldout import MakeHeldout, dialogues, run_heldout


@pytest.fixture(scope="module")
def databases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("databases")
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        config = hydra.compose("databases", ["bfcl=null", "n=4", "held_out.share=0.5"])
    settings = typed(config, DatabasesSettings)
    asyncio.run(make_databases(settings, (), ScriptedLLM(), directory, lambda candidate: None))
    return directory


def test_held_out_databases_can_be_the_unseen_ones(
    databases: Path, settings: dict[str, Any], heldout: MakeHeldout, tmp_path: Path
) -> None:
    only = settings | {"categories": ["unseen_databases"], "dialogues": 4}
    seeds = SynthesisedSeeds(databases, held_out=True)
    records = run_heldout(ScriptedLLM(error_rate=0.0), heldout(only, databases=seeds), None, tmp_path)
    assert len(records) == 4
    assert all(record.success for record in records), [record.stop_reason for record in records]
    names = {seed.name for seed in seeds.load()}
    assert {dialogue.domain for dialogue in dialogues(tmp_path).values()} <= names


def test_a_database_that_was_trained_on_is_refused(
    databases: Path, settings: dict[str, Any], heldout: MakeHeldout, tmp_path: Path
) -> None:
    class Trained:
        def load(self) -> tuple[Seed, ...]:
            return SynthesisedSeeds(databases).load()

    trained = Trained().load()[0]
    generation = tmp_path / "generation"
    generation.mkdir()
    toolset = source_from_seed(trained).toolset
    tool = {"name": "list_all", "description": "Lists all.", "parameters": {"type": "object", "properties": {}}}
    write_jsonl(generation / "toolsets.jsonl", [toolset.model_validate(toolset.model_dump() | {"tools": [tool]})])
    only = settings | {"categories": ["unseen_databases"], "dialogues": 1}
    with pytest.raises(UserError, match=f"the database {trained.name} was trained on"):
        run_heldout(ScriptedLLM(), heldout(only, databases=Trained()), generation, tmp_path / "run")
