"""Which models are scored, where they come from, and how their trials are summed up."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from replay import Brain, ReplayServer, say

from core.runs import open_run
from core.sampling import Sampling
from core.settings import UserError, typed
from evaluation.results import TrialRecord
from evaluation.suite import EvaluateSettings, Target, find_generation, find_targets, served, sum_up

CONF = Path(__file__).parents[2] / "conf"
Serve = Callable[[Brain], ReplayServer]


def settings(outputs: Path, *overrides: str) -> EvaluateSettings:
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        return typed(compose("evaluate", [f"outputs={outputs}", *overrides]), EvaluateSettings)


def training(outputs: Path, *parts: str, group: str | None = None, number: int = 0) -> Path:
    with open_run(outputs, "train", {"number": number}, group=group) as run:
        for part in parts:
            (run.directory / part).mkdir()
        run.finish({})
    return run.directory


def test_the_newest_training_is_scored_beside_the_untrained_model(tmp_path: Path) -> None:
    run = training(tmp_path, "checkpoint", "untrained")
    targets = [Target("trained", run / "checkpoint"), Target("untrained", run / "untrained")]
    found = find_targets(settings(tmp_path))
    assert [(t.label, t.path.resolve() if t.path else None) for t in found[0]] == [(t.label, t.path) for t in targets]
    assert found[1] == run
    assert [t.label for t in find_targets(settings(tmp_path, "untrained=false"))[0]] == ["trained"]


def test_several_models_get_labels_of_their_own(tmp_path: Path) -> None:
    first, second = (training(tmp_path, "checkpoint", number=number) for number in (1, 2))
    plain = tmp_path / "model"
    plain.mkdir()
    (plain / "config.json").write_text("{}")
    found, origin = find_targets(settings(tmp_path, f"models=[{plain},{second},{first}]"))
    assert [target.path for target in found] == [plain, second / "checkpoint", first / "checkpoint"]
    assert len({target.label for target in found}) == 3
    assert origin == second


@pytest.mark.parametrize(("folder", "why"), [("nowhere", "neither a training run"), (".", "neither a training run")])
def test_what_is_no_model_is_refused(folder: str, why: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=why):
        find_targets(settings(tmp_path, f"models=[{tmp_path / folder}]"))


def test_without_a_training_the_command_that_makes_one_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no finished train run under .*`make train`"):
        find_targets(settings(tmp_path))


def test_a_server_is_asked_what_it_serves(tmp_path: Path, serve: Serve) -> None:
    url = serve(lambda body: say("")).base_url
    (target,), origin = find_targets(settings(tmp_path, f"base_url={url}"))
    assert (target.served_model, target.base_url, origin) == ("replay_model/x", url, None)
    with served(target, settings(tmp_path, "concurrency=3"), tmp_path) as endpoint:
        assert (endpoint.base_url, endpoint.model, endpoint.concurrency) == (url, "replay_model/x", 3)
        assert endpoint.sampling == settings(tmp_path).sampling
    with pytest.raises(UserError, match="serves replay_model/x, not other"):
        find_targets(settings(tmp_path, f"base_url={url}", "served_model=other"))


def test_the_training_data_is_found_through_the_group(tmp_path: Path) -> None:
    with open_run(tmp_path, "generate", {}) as generation:
        generation.finish({})
    name = generation.manifest.run_id
    assert find_generation(settings(tmp_path), training(tmp_path, group=name)) == generation.directory
    assert find_generation(settings(tmp_path), training(tmp_path, group="gone", number=1)) is None
    assert find_generation(settings(tmp_path), None) is None
    given = find_generation(settings(tmp_path, "generation=/some/run"), training(tmp_path, group=name, number=2))
    assert given == Path("/some/run")


class Counting:
    """A benchmark whose figure is how many records it was given."""

    def run(self, *_: Any) -> list[TrialRecord]:
        raise AssertionError("nothing is run here")

    def figures(self, records: Any) -> dict[str, float | None]:
        return {"given": len(records)}


def test_trials_are_summed_up_by_benchmark_and_category(tmp_path: Path) -> None:
    def trial(category: str, task: str, number: int, success: bool | None) -> TrialRecord:
        return TrialRecord(
            benchmark="b",
            harness="h 1",
            category=category,
            task_id=task,
            trial=number,
            model="m",
            success=success,
            infrastructure_error=None if success is not None else "down",
            stop_reason="s",
            sampling=Sampling(),
        )

    records = [trial("x", "1", 0, True), trial("x", "1", 1, False), trial("y", "2", 0, True), trial("y", "2", 1, None)]
    scores = sum_up(Target("trained", tmp_path), {"b": Counting(), "c": Counting()}, {"b": records, "c": []}, (1, 2))
    assert scores.figures == {"b": {"given": 4}, "c": {"given": 0}}
    assert scores.harnesses == {"b": "h 1"}
    assert list(scores.categories) == ["b/x", "b/y"]
    at = {name: {k: e.value if e else None for k, e in s.pass_at.items()} for name, s in scores.categories.items()}
    assert at == {"b/x": {1: 0.5, 2: 1.0}, "b/y": {1: 1.0, 2: None}}
    hat = scores.categories["b/x"].pass_hat[2]
    assert hat
    assert hat.value == 0.0
    whole = scores.benchmarks["b"]
    assert (whole.tasks, whole.trials, whole.infrastructure_errors) == (2, 3, 1)
    assert (scores.model, scores.label) == (str(tmp_path), "trained")
