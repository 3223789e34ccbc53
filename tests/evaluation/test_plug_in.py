"""A benchmark of the user's own is one Python file and one YAML: no file of this repository names it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import hydra
import pytest
from hydra.errors import InstantiationException
from omegaconf import DictConfig

from scripts.evaluate import main
from scripts.launch import CONF
from tests.evaluation.helpers.replay import AnswerPolicy, ReplayServer, say

MODULE = '''
from core.sampling import Sampling
from core.settings import Settings, typed
from evaluation.benchmark import Benchmark
from evaluation.trials import TrialRecord


class CoinSettings(Settings):
    tosses: int
    retries: int
    seed: int


class Coin(Benchmark):
    """Heads is a success; with retries=0 nothing reaches the server."""

    NEUTRAL = ("retries",)

    def __init__(self, **settings):
        self.settings = typed(settings, CoinSettings, "benchmarks.coin")

    def run(self, context, directory, progress=None):
        broken = not self.settings.retries
        return [
            TrialRecord(
                benchmark="coin", harness="coin 1", category="fair", task_id=str(toss), trial=trial,
                model=context.endpoint.model, success=None if broken else (toss + self.settings.seed) % 2 == 0,
                infrastructure_error="unreachable" if broken else None, stop_reason="stop",
                completion_tokens=1, sampling=context.endpoint.sampling,
            )
            for toss in range(self.settings.tosses)
            for trial in range(context.trials)
        ]

    def metrics(self, records):
        return {"heads": sum(record.success is True for record in records) / len(records) if records else None}

    def caveats(self, records):
        return [f"a coin passes half of {self.settings.tosses}"]
'''
YAML = """
# @package benchmarks.coin
_target_: coin_benchmark.Coin
tosses: 4
retries: 0
seed: ${seed}
"""


@pytest.fixture
def compose(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., DictConfig]:
    folder = tmp_path / "plug_in"
    (folder / "conf" / "benchmark").mkdir(parents=True)
    (folder / "coin_benchmark.py").write_text(MODULE)
    (folder / "conf" / "benchmark" / "coin.yaml").write_text(YAML)
    monkeypatch.syspath_prepend(str(folder))

    def composed(*overrides: str) -> DictConfig:
        search = f"hydra.searchpath=[file://{folder / 'conf'}]"
        always = ["profile=tiny", search, "benchmark=[coin]", "trials=1", "ks=[1]", "tracking.mode=disabled"]
        with hydra.initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
            return hydra.compose("evaluate", [*always, f"outputs={tmp_path}", *overrides])

    return composed


def test_a_benchmark_is_one_file_and_one_yaml(
    compose: Callable[..., DictConfig], serve: Callable[[AnswerPolicy], ReplayServer], tmp_path: Path
) -> None:
    url = f"base_url={serve(lambda body: say('')).base_url}"
    with pytest.raises(InstantiationException, match=r"benchmarks\.coin\.tosses.*many"):
        main(compose(url, "benchmarks.coin.tosses=many"))
    with pytest.raises(SystemExit):
        main(compose(url))
    (run,) = (tmp_path / "evaluate").iterdir()
    main(compose(url, "benchmarks.coin.retries=1"))
    assert (tmp_path / "evaluate" / "latest").resolve() == run, "retries is neutral: it finishes the same run"
    main(compose(url, "benchmarks.coin.retries=1", "benchmarks.coin.tosses=3"))
    assert (tmp_path / "evaluate" / "latest").resolve() != run, "tosses is not"
    results = json.loads((run / "results.json").read_text())
    assert results["models"][0]["metrics"] == {"coin": {"heads": 0.5}}
    assert results["models"][0]["benchmarks"]["coin"]["pass_at"]["1"]["value"] == 0.5
    assert results["caveats"] == {"coin": ["a coin passes half of 4"]}
    tables = (tmp_path / "tables" / "tables.md").read_text()
    assert "coin: coin 1; 3 tasks (3 fair); a coin passes half of 3" in tables
