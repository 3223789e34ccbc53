"""Faults on demand from the command line: the short form is the long one, and what was made with faults verifies."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from scripts.generate import stage
from scripts.launch import CONF, distribute
from scripts.verify import verify

LONG = ("pipeline=user_oriented_exec", "environment@pipelines.user_oriented_exec.environment=faulty_sql")
SHARES = "pipelines.user_oriented_exec.environment.shares"


def composed(*overrides: str) -> DictConfig:
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        return compose("generate", ["tracking.mode=disabled", *overrides])


def test_the_short_form_is_the_long_one() -> None:
    short, long = composed("pipeline=user_oriented_faults"), composed(*LONG)
    assert OmegaConf.to_container(short) == OmegaConf.to_container(long)
    assert short.pipelines.user_oriented_exec.environment._target_.endswith("FaultyWorlds")


def test_make_knows_the_keys_of_faults() -> None:
    given = [*LONG, f"{SHARES}.permission=0.5", "llm=faulty", "llm.shares.error=0.1"]
    assert distribute(["generate"], given) == {"generate": given}


@pytest.mark.parametrize("inner", ["simulated", "tau2"])
def test_any_environment_can_be_within(inner: str) -> None:
    config = composed(*LONG, f"environment@pipelines.user_oriented_exec.environment.inner={inner}")
    assert config.pipelines.user_oriented_exec.environment.inner._target_.startswith(
        f"generation.environments.{inner}."
    )


def test_a_run_with_all_faults_ends_adds_up_and_verifies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_DIR", "/nonexistent")
    stage(
        composed(
            *("pipeline=user_oriented_faults", "llm=faulty", "llm.slow_s=0", "llm.shares.malformed=0.2"),
            *(f"{SHARES}.{kind}=0.2" for kind in ("tool_error", "permission", "schema_mismatch", "partial_view")),
            *("seeds.domains=[gym,clinic]", "n=30", f"outputs={tmp_path}"),
        )
    )
    run = (tmp_path / "generate" / "latest").resolve()
    figures = json.loads((run / "user_oriented_exec" / "statistics.json").read_text())
    assert figures["started"] == 30 == figures["accepted"] + figures["rejected"]
    assert figures["accepted"] > 3
    struck = {name.partition("/injected_")[2] for name in figures["flaws"]} - {""}
    assert struck >= {"tool_error", "permission", "schema_mismatch", "partial_view", "malformed", "error", "slow"}
    assert verify(run) == 0
