"""Which models are scored, and where they come from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from core.runs import open_run, read_manifest
from core.settings import UserError, typed
from evaluation import targets
from evaluation.targets import EvaluateSettings, find_generation, find_targets, served
from tests.evaluation.helpers.replay import AnswerPolicy, ReplayServer, say
from tests.helpers.paths import CONF

Serve = Callable[[AnswerPolicy], ReplayServer]


def settings(outputs: Path, *overrides: str) -> EvaluateSettings:
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        return typed(compose("evaluate", [f"outputs={outputs}", *overrides]), EvaluateSettings)


def training(
    outputs: Path, *parts: str, group: str | None = None, number: int = 0, weights: dict[str, float] | None = None
) -> Path:
    """A training run; each part is a folder with a file in it."""
    config = {"number": number} | ({"mixture": {"weights": weights}} if weights else {})
    with open_run(outputs, "train", config, group=group) as run:
        for part in parts:
            (run.directory / part).mkdir()
            (run.directory / part / "model").write_text(f"{part} {number if part == 'checkpoint' else ''}")
        run.finish({"data": {"validation_domains": [f"domain-{number}"]}})
    return run.directory


def test_the_newest_training_is_scored_beside_the_untrained_model(tmp_path: Path) -> None:
    run = training(tmp_path, "checkpoint", "untrained")
    found = find_targets(settings(tmp_path))
    assert [(t.label, t.path and t.path.resolve()) for t in found] == [
        (name, run / folder) for name, folder in (("trained", "checkpoint"), ("untrained", "untrained"))
    ]
    assert [t.training for t in found] == [read_manifest(run)] * 2
    assert found[0].validation_domains == {"domain-0"}
    assert [t.label for t in find_targets(settings(tmp_path, "untrained=false"))] == ["trained"]


def test_a_checkpoint_of_a_run_belongs_to_its_training(tmp_path: Path) -> None:
    run = training(tmp_path, "checkpoint", weights={"user_oriented": 1.0})
    (run / "checkpoint" / "config.json").write_text("{}")
    (target,) = find_targets(settings(tmp_path, f"models=[{run / 'checkpoint'}]"))
    assert (target.training, target.mixture) == (read_manifest(run), {"user_oriented": 1.0})


def test_several_models_are_named_by_what_they_were_trained_on(tmp_path: Path) -> None:
    mixtures = [{"task_oriented": 1.0}, {"user_oriented": 1.0, "user_oriented_exec": 4.0}, {"task_oriented": 1.0}]
    runs = [
        training(tmp_path, "checkpoint", "untrained", number=number, weights=weights)
        for number, weights in enumerate(mixtures)
    ]
    plain = tmp_path / "model"
    plain.mkdir()
    (plain / "config.json").write_text("{}")
    models = ",".join(map(str, [plain, *runs]))
    found = find_targets(settings(tmp_path, f"models=[{models}]"))
    labels = ["model", "task_oriented", "untrained", "user_oriented+user_oriented_exec", "task_oriented-2"]
    assert [target.label for target in found] == labels, "the three begin from one untrained model"
    assert [target.path for target in found if target.path] == [
        plain,
        runs[0] / "checkpoint",
        runs[0] / "untrained",
        runs[1] / "checkpoint",
        runs[2] / "checkpoint",
    ]
    assert [target.mixture for target in found] == [{}, mixtures[0], {}, mixtures[1], mixtures[0]]
    assert [sorted(target.validation_domains) for target in found] == [[], *([f"domain-{n}"] for n in (0, 0, 1, 2))]


def test_no_two_models_share_a_folder_of_the_run_nor_take_one_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(targets, "probe", lambda url, key: ["m", "m-2", "shared", "logs"])
    names = ["m", "m", "m-2", "shared", "logs"]
    urls = ",".join(["http://127.0.0.1:9/v1"] * len(names))
    found = find_targets(settings(tmp_path, f"base_url=[{urls}]", f"served_model=[{','.join(names)}]"))
    assert [target.label for target in found] == ["m", "m-2", "m-2-2", "shared-2", "logs-2"]


@pytest.mark.parametrize(("folder", "why"), [("nowhere", "neither a training run"), (".", "neither a training run")])
def test_what_is_no_model_is_refused(folder: str, why: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=why):
        find_targets(settings(tmp_path, f"models=[{tmp_path / folder}]"))


def test_without_a_training_the_command_that_makes_one_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no finished train run under .*`make train`"):
        find_targets(settings(tmp_path))


def test_the_official_benchmarks_take_the_seed_of_the_run(tmp_path: Path) -> None:
    benchmarks = settings(tmp_path, "seed=7").benchmarks
    assert [benchmarks[name]["seed"] for name in ("bfcl", "tau2")] == [7, 7]
    assert benchmarks["heldout"]["seed"] != 7, (
        "its tasks must not be those of the generation, whose seed may be the same"
    )


def test_a_server_is_asked_what_it_serves(tmp_path: Path, serve: Serve) -> None:
    url = serve(lambda body: say("")).base_url
    (target,) = find_targets(settings(tmp_path, f"base_url={url}"))
    assert (target.label, target.served_model, target.base_url) == ("replay_model-x", "replay_model/x", url)
    with served(target, settings(tmp_path, "concurrency=3"), tmp_path) as endpoint:
        assert (endpoint.base_url, endpoint.model, endpoint.concurrency) == (url, "replay_model/x", 3)
        assert endpoint.sampling == settings(tmp_path).sampling
    with pytest.raises(UserError, match="serves replay_model/x, not other"):
        find_targets(settings(tmp_path, f"base_url={url}", "served_model=other"))


def test_endpoints_are_scored_beside_models_of_ours(
    tmp_path: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    urls = [serve(lambda body: say("")).base_url for _ in range(2)]
    run = training(tmp_path, "checkpoint", weights={"user_oriented": 1.0})
    given = (f"base_url=[{','.join(urls)}]", f"models=[{run}]", "api_key_env=[KEY_A,KEY_B]")
    monkeypatch.setenv("KEY_B", "secret")
    found = find_targets(settings(tmp_path, *given))
    assert [target.label for target in found] == ["user_oriented", "replay_model-x", "replay_model-x-2"]
    with served(found[2], settings(tmp_path), tmp_path) as endpoint:
        assert endpoint.api_key() == "secret"
    with pytest.raises(UserError, match="api_key_env names 3; expected one for each of the 2 base_url, or one for all"):
        find_targets(settings(tmp_path, given[0], "api_key_env=[A,B,C]"))


def test_a_key_is_shown_to_the_server_that_is_asked(
    tmp_path: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(lambda body: say(""))
    server.key = "secret"
    given = settings(tmp_path, f"base_url={server.base_url}", "api_key_env=A_KEY")
    monkeypatch.setenv("A_KEY", "wrong")
    with pytest.raises(UserError, match=r"no OpenAI-compatible server answers.*401"):
        find_targets(given)
    monkeypatch.setenv("A_KEY", "secret")
    assert [target.served_model for target in find_targets(given)] == ["replay_model/x"]


def test_the_training_data_is_found_through_the_group(tmp_path: Path) -> None:
    with open_run(tmp_path, "generate", {}) as generation:
        generation.finish({})
    name = generation.manifest.run_id
    runs = [read_manifest(training(tmp_path, group=group, number=n)) for n, group in enumerate((name, "gone"))]
    assert find_generation(settings(tmp_path), runs[0]) == generation.directory
    assert find_generation(settings(tmp_path), runs[1]) is None
    assert find_generation(settings(tmp_path), None) is None
    assert find_generation(settings(tmp_path, "generation=/some/run"), runs[0]) == Path("/some/run")
