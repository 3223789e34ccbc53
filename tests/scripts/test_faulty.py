"""Injected faults from the command line: the short form equals the long form, and dialogues with faults verify."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from scripts.generate import main
from scripts.launch import CONF, distribute
from scripts.verify import verify

LONG = ("pipeline=user_oriented_exec", "environment@pipelines.user_oriented_exec.environment=faulty_sql")
N = 12
TOOL_FAULTS = ("tool_error", "permission", "schema_mismatch", "partial_view")
MODEL_FAULTS = ("malformed", "truncated", "empty", "unclosed", "error", "timeout", "slow")
SHARES = "pipelines.user_oriented_exec.environment.shares"


def composed(*overrides: str) -> DictConfig:
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        return compose("generate", ["profile=tiny", "tracking.mode=disabled", *overrides])


def test_the_short_form_equals_the_long_form() -> None:
    short, long = composed("pipeline=user_oriented_faults"), composed(*LONG)
    assert OmegaConf.to_container(short) == OmegaConf.to_container(long)
    assert short.pipelines.user_oriented_exec.environment._target_.endswith("FaultyEnvironmentFactory")


def test_make_has_the_keys_of_faults() -> None:
    given = [*LONG, f"{SHARES}.permission=0.5", "llm=faulty", "llm.shares.error=0.1"]
    assert distribute(["generate"], given) == {"generate": given}


@pytest.mark.parametrize("inner", ["simulated", "tau2"])
def test_any_environment_can_be_wrapped(inner: str) -> None:
    config = composed(*LONG, f"environment@pipelines.user_oriented_exec.environment.inner={inner}")
    assert config.pipelines.user_oriented_exec.environment.inner._target_.startswith(
        f"generation.environments.{inner}."
    )


def shares(key: str, kinds: tuple[str, ...]) -> list[str]:
    return [f"{key}.{kind}=0.2" for kind in kinds]


def run_with_all_faults(outputs: Path, name: str, inner: str, concurrency: int) -> tuple[int, Path]:
    """Run with every fault of models and tools at a share of 0.2; returns exit code and pipeline folder."""
    environment = f"pipelines.{name}.environment"
    overrides = [
        *(f"pipeline={name}", f"environment@{environment}=faulty_sql", f"environment@{environment}.inner={inner}"),
        *shares(f"{environment}.shares", TOOL_FAULTS),
        *("llm=faulty", "llm.slow_s=0", "llm.retries=4", *shares("llm.shares", MODEL_FAULTS)),
        *(("domains=tau2", "llm.roles=[agent]") if inner == "tau2" else ("domains.names=[gym,clinic]",)),
        *(f"concurrency={concurrency}", f"n={N}", "tasks_per_dialogue=1", "attempts.session=1", f"outputs={outputs}"),
    ]
    try:
        main(composed(*overrides))
        code = 0
    except SystemExit as end:
        code = int(str(end.code))
    (folder,) = (path for path in outputs.glob(f"generate/2*/{name}"))
    return code, folder


@pytest.mark.parametrize(
    ("name", "inner", "workers"),
    [
        ("task_oriented", "simulated", (1, 8)),
        ("user_oriented", "simulated", (1, 8)),
        ("user_oriented_exec", "sql", (1, 8)),
        ("user_oriented_tau2", "tau2", (8,)),  # faults only for its agent: its tasks would take long to write
    ],
)
def test_with_all_faults_every_dialogue_is_in_exactly_one_file_and_sets_the_exit_code(
    name: str, inner: str, workers: tuple[int, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Faults of models and tools together; the same seed gives the same files with another number of workers."""
    monkeypatch.setenv("GIT_DIR", "/nonexistent")
    runs = [run_with_all_faults(tmp_path / str(concurrency), name, inner, concurrency) for concurrency in workers]
    code, folder = runs[0]
    figures = json.loads((folder / "statistics.json").read_text())
    written = {
        kind: len((folder / f"{kind}.jsonl").read_text().splitlines())
        for kind in ("dialogues", "rejected", "dead_letters")
    }
    assert sum(written.values()) == figures["started"] == N
    assert list(written.values()) == [figures["accepted"], figures["rejected"], figures["failed"]]
    assert figures["failed"] == figures["unanswered"], "no fault of ours"
    assert code == (1 if figures["failed"] else 0)
    assert not [reason for reason in figures["reasons"] if reason.startswith("internal")]
    struck = {flaw.partition("/injected_")[2] for flaw in figures["flaws"]} - {""}
    assert struck >= {*MODEL_FAULTS}
    assert struck & {*TOOL_FAULTS}
    for again, other in runs[1:]:
        assert again == code
        assert all(
            (other / f"{kind}.jsonl").read_bytes() == (folder / f"{kind}.jsonl").read_bytes() for kind in written
        )


def test_a_run_with_all_faults_ends_adds_up_and_verifies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_DIR", "/nonexistent")
    main(
        composed(
            *("pipeline=user_oriented_faults", "llm=faulty", "llm.slow_s=0", "llm.shares.malformed=0.2"),
            *shares(SHARES, TOOL_FAULTS),
            *("domains.names=[gym,clinic]", "n=30", f"outputs={tmp_path}"),
        )
    )
    run = (tmp_path / "generate" / "latest").resolve()
    figures = json.loads((run / "user_oriented_exec" / "statistics.json").read_text())
    assert figures["started"] == 30 == figures["accepted"] + figures["rejected"]
    assert figures["accepted"] > 3
    struck = {name.partition("/injected_")[2] for name in figures["flaws"]} - {""}
    assert struck >= {*TOOL_FAULTS, "malformed", "error", "slow"}
    assert verify(run) == 0
