"""The plan of an evaluation, by hand, and the number of tasks of each benchmark."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import hydra
import pytest
from rich.console import Console

from core.serving_plan import ServingAssumptions
from core.settings import typed
from evaluation.benchmark import Benchmark, EvaluationContext
from evaluation.plan import AssumeSettings, TrialAssumptions, estimates
from evaluation.targets import EvaluateSettings
from evaluation.trials import Progress, TrialRecord
from scripts.evaluation_plan import show_plan
from scripts.launch import CONF, instantiate

ASSUMED = AssumeSettings(
    trials={
        "tau2": TrialAssumptions(requests=20, prompt_tokens=5000, generated_tokens=300),
        "heldout": TrialAssumptions(requests=5, prompt_tokens=2000, generated_tokens=100),
    },
    cached_share=0.8,
    prefill_tokens_per_s=10_000,
    decode_tokens_per_s=1000,
    start_s=100,
    gpus=2,
    serving=ServingAssumptions(),
)


def test_estimates_by_hand() -> None:
    tau2, own = estimates({"tau2": 50, "mine": 10}, trials=4, models=2, assumed=ASSUMED)
    assert (tau2.trials, tau2.requests) == (400, 8000)
    assert (tau2.prompt_tokens, tau2.generated_tokens) == (40_000_000, 2_400_000)
    # 8 million tokens that are not cached at 10,000/s, 2.4 million at 1,000/s, on two GPUs; 200 s of starts for two.
    assert tau2.hours == pytest.approx(((800 + 2400) / 2 + 100) / 3600, abs=1e-3)
    assert own.requests == 400, "a benchmark of one's own counts as the held-out one"


def test_a_benchmark_of_ones_own_can_be_planned(tmp_path: Path) -> None:
    class Mine(Benchmark):
        def size(self) -> int:
            return 7

        def run(
            self, context: EvaluationContext, directory: Path, progress: Progress | None = None
        ) -> list[TrialRecord]:
            return []

        def metrics(self, records: Sequence[TrialRecord]) -> dict[str, float | None]:
            return {}

    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        config = hydra.compose("evaluate", ["profile=gpu", f"outputs={tmp_path}"])
    file = show_plan(typed(config, EvaluateSettings), {"mine": Mine()}, Console(quiet=True))
    (planned,) = json.loads(file.read_text())["estimates"]
    assert (planned["benchmark"], planned["trials"] % 7) == ("mine", 0)


def size(name: str, *overrides: str) -> int:
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        config = hydra.compose("evaluate", ["profile=gpu", *overrides])
    node: Mapping[str, Any] = config.benchmarks[name]
    return int(instantiate(node).size())


def test_sizes_are_those_that_would_run() -> None:
    assert (
        size("bfcl", "benchmarks.bfcl.categories=[simple_java,live_relevance]", "benchmarks.bfcl.first=20") == 20 + 16
    )
    assert size("bfcl", "benchmarks.bfcl.categories=[simple_java]", "subset=full") == 100
    assert size("tau2", "subset=full") == 278
    assert size("heldout", "benchmarks.heldout.dialogues=10") == 20
    # The base, and three, three, three and twelve other values of the four axes.
    assert size("heldout", "benchmarks.heldout.dialogues=10", "subset=full") == 20 * (1 + 3 + 3 + 3 + 12)
