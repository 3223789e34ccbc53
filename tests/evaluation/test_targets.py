"""The models that are evaluated, their labels, and their training data."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir

from core.manifest import read_manifest
from core.runs import open_run
from core.settings import UserError, typed
from evaluation import targets
from evaluation.engines import served_in_turn
from evaluation.targets import EvaluateSettings, Target, find_generations, find_targets
from tests.evaluation.helpers.replay import AnswerPolicy, ReplayServer, say
from tests.helpers.paths import CONF

Serve = Callable[[AnswerPolicy], ReplayServer]


def settings(outputs: Path, *overrides: str) -> EvaluateSettings:
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        return typed(compose("evaluate", ["profile=tiny", f"outputs={outputs}", *overrides]), EvaluateSettings)


def training(
    outputs: Path,
    *folders: str,
    group: str | None = None,
    number: int = 0,
    weights: dict[str, float] | None = None,
    template: dict[str, Any] | None = None,
) -> Path:
    """A training run with `folders`, each with a file in it."""
    config = {"number": number} | ({"mixture": {"weights": weights}} if weights else {})
    config |= {"model": {"chat_template_kwargs": template}} if template else {}
    with open_run(outputs, "train", config, group=group) as run:
        for folder in folders:
            (run.directory / folder).mkdir()
            (run.directory / folder / "config.json").write_text("{}")
            (run.directory / folder / "model").write_text(f"{folder} {number if folder == 'checkpoint' else ''}")
        run.finish({"data": {"validation_domains": [f"domain-{number}"]}})
    return run.directory


def test_the_newest_training_is_evaluated_with_its_untrained_model(tmp_path: Path) -> None:
    run = training(tmp_path, "checkpoint", "untrained")
    targets_found = find_targets(settings(tmp_path))
    assert [(t.label, t.path and t.path.resolve()) for t in targets_found] == [
        (name, run / folder) for name, folder in (("trained", "checkpoint"), ("untrained", "untrained"))
    ]
    assert [t.training for t in targets_found] == [read_manifest(run)] * 2
    assert targets_found[0].validation_domains == {"domain-0"}
    assert [t.label for t in find_targets(settings(tmp_path, "untrained=false"))] == ["trained"]


def test_a_checkpoint_of_a_run_belongs_to_its_training(tmp_path: Path) -> None:
    run = training(tmp_path, "checkpoint", weights={"user_oriented": 1.0})
    (target,) = find_targets(settings(tmp_path, f"models=[{run / 'checkpoint'}]"))
    assert (target.training, target.mixture) == (read_manifest(run), {"user_oriented": 1.0})


def test_a_model_is_served_with_the_template_variables_of_its_training(tmp_path: Path, serve: Serve) -> None:
    """Also its untrained model; one key overrides them, and sets those of a foreign endpoint."""
    kwargs = {"enable_thinking": False}
    run = training(tmp_path, "checkpoint", "untrained", template=kwargs)
    assert [target.chat_template_kwargs for target in find_targets(settings(tmp_path))] == [kwargs] * 2
    url = serve(lambda body: say("")).base_url
    found = [Target("ours", base_url=url, training=read_manifest(run)), Target("foreign", base_url=url)]

    def sent(*overrides: str) -> list[dict[str, Any]]:
        with served_in_turn(found, settings(tmp_path, *overrides), tmp_path) as turns:
            return [endpoint.body().get("chat_template_kwargs", {}) for _, endpoint in turns]

    assert sent() == [kwargs, {}]
    assert sent("chat_template_kwargs={preserve_thinking: true}") == [{"preserve_thinking": True}] * 2
    assert sent("chat_template_kwargs={}") == [{}] * 2


def test_a_part_of_a_training_run_that_is_gone_is_an_error(tmp_path: Path) -> None:
    run = training(tmp_path, "checkpoint")
    base = run / "untrained"
    with pytest.raises(UserError, match=r"untrained model of .* is missing: there is no .*untrained=false"):
        find_targets(settings(tmp_path))
    base.symlink_to(tmp_path / "deleted")
    with pytest.raises(UserError, match=r"it links to .*deleted, which is gone"):
        find_targets(settings(tmp_path))
    assert [target.label for target in find_targets(settings(tmp_path, "untrained=false"))] == ["trained"]
    (run / "manifest.json").unlink()
    with pytest.raises(UserError, match=r"checkpoint/, but no manifest\.json: .*models=\[.*checkpoint\]"):
        find_targets(settings(tmp_path, "untrained=false"))
    shutil.rmtree(run)
    with pytest.raises(UserError, match=f"latest links to {run.name}, which is gone"):
        find_targets(settings(tmp_path))


def test_several_models_are_named_by_their_mixtures(tmp_path: Path) -> None:
    mixtures = [{"task_oriented": 1.0}, {"user_oriented": 1.0, "user_oriented_exec": 4.0}, {"task_oriented": 1.0}]
    runs = [
        training(tmp_path, "checkpoint", "untrained", number=number, weights=weights)
        for number, weights in enumerate(mixtures)
    ]
    plain = tmp_path / "model"
    plain.mkdir()
    (plain / "config.json").write_text("{}")
    models = ",".join(map(str, [plain, *runs]))
    targets_found = find_targets(settings(tmp_path, f"models=[{models}]"))
    labels = ["model", "task_oriented", "untrained", "user_oriented+user_oriented_exec", "task_oriented-2"]
    assert [target.label for target in targets_found] == labels, "the three start from one untrained model"
    assert [target.path for target in targets_found if target.path] == [
        plain,
        runs[0] / "checkpoint",
        runs[0] / "untrained",
        runs[1] / "checkpoint",
        runs[2] / "checkpoint",
    ]
    assert [target.mixture for target in targets_found] == [{}, mixtures[0], {}, mixtures[1], mixtures[0]]
    assert [sorted(target.validation_domains) for target in targets_found] == [
        [],
        *([f"domain-{n}"] for n in (0, 0, 1, 2)),
    ]


def test_every_model_has_its_own_folder_of_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets, "probe", lambda url, key: ["m", "m-2", "shared", "logs"])
    names = ["m", "m", "m-2", "shared", "logs"]
    urls = ",".join(["http://127.0.0.1:9/v1"] * len(names))
    targets_found = find_targets(settings(tmp_path, f"base_url=[{urls}]", f"served_model=[{','.join(names)}]"))
    assert [target.label for target in targets_found] == ["m", "m-2", "m-2-2", "shared-2", "logs-2"]


@pytest.mark.parametrize(("folder", "why"), [("nowhere", "neither a training run"), (".", "neither a training run")])
def test_a_directory_without_a_model_is_refused(folder: str, why: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=why):
        find_targets(settings(tmp_path, f"models=[{tmp_path / folder}]"))


def test_without_a_training_run_the_error_names_its_command(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no finished train run under .*`make train`"):
        find_targets(settings(tmp_path))


def test_the_official_benchmarks_use_the_seed_of_the_run(tmp_path: Path) -> None:
    benchmarks = settings(tmp_path, "seed=7").benchmarks
    assert [benchmarks[name]["seed"] for name in ("bfcl", "tau2")] == [7, 7]
    assert benchmarks["heldout"]["seed"] != 7, "with the generation's seed its tasks would not be unseen"


def test_the_model_of_an_endpoint_is_discovered(tmp_path: Path, serve: Serve) -> None:
    url = serve(lambda body: say("")).base_url
    (target,) = find_targets(settings(tmp_path, f"base_url={url}"))
    assert (target.label, target.served_model, target.base_url) == ("replay_model-x", "replay_model/x", url)
    with served_in_turn([target], settings(tmp_path, "concurrency=3"), tmp_path) as turns:
        ((_, endpoint),) = turns
        assert (endpoint.base_url, endpoint.model, endpoint.concurrency) == (url, "replay_model/x", 3)
        assert endpoint.sampling == settings(tmp_path).sampling
    with pytest.raises(UserError, match="serves replay_model/x, not other"):
        find_targets(settings(tmp_path, f"base_url={url}", "served_model=other"))


def test_endpoints_and_local_models_are_evaluated_together(
    tmp_path: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    urls = [serve(lambda body: say("")).base_url for _ in range(2)]
    run = training(tmp_path, "checkpoint", weights={"user_oriented": 1.0})
    overrides = (f"base_url=[{','.join(urls)}]", f"models=[{run}]", "api_key_env=[KEY_A,KEY_B]", "untrained=false")
    monkeypatch.setenv("KEY_B", "secret")
    targets_found = find_targets(settings(tmp_path, *overrides))
    assert [target.label for target in targets_found] == ["user_oriented", "replay_model-x", "replay_model-x-2"]
    with served_in_turn(targets_found[2:], settings(tmp_path), tmp_path) as turns:
        ((_, endpoint),) = turns
        assert endpoint.api_key() == "secret"
    with pytest.raises(UserError, match="api_key_env names 3; expected one for each of the 2 base_url, or one for all"):
        find_targets(settings(tmp_path, overrides[0], "api_key_env=[A,B,C]"))


def test_the_api_key_is_sent(tmp_path: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    server = serve(lambda body: say(""))
    server.key = "secret"
    with_key = settings(tmp_path, f"base_url={server.base_url}", "api_key_env=A_KEY")
    monkeypatch.setenv("A_KEY", "wrong")
    with pytest.raises(UserError, match=r"no OpenAI-compatible server answers.*401"):
        find_targets(with_key)
    monkeypatch.setenv("A_KEY", "secret")
    assert [target.served_model for target in find_targets(with_key)] == ["replay_model/x"]


def test_the_generation_run_is_found_through_the_group(tmp_path: Path) -> None:
    with open_run(tmp_path, "generate", {}) as generation:
        generation.finish({})
    name = generation.manifest.run_id
    runs = [read_manifest(training(tmp_path, group=group, number=n)) for n, group in enumerate((name, "gone"))]
    assert find_generations(settings(tmp_path), runs[0]) == (generation.directory,)
    assert find_generations(settings(tmp_path), runs[1]) == ()
    assert find_generations(settings(tmp_path), None) == ()
    assert find_generations(settings(tmp_path, "generation=/some/run"), runs[0]) == (Path("/some/run"),)
    elsewhere = runs[0].model_copy(update={"config": {"data": [str(generation.directory)]}})
    assert find_generations(settings(tmp_path / "other"), runs[0]) == ()
    assert find_generations(settings(tmp_path / "other"), elsewhere) == (generation.directory,)
    both = settings(tmp_path, "generation=[/some/run,/other/run]")
    assert find_generations(both, runs[0]) == (Path("/some/run"), Path("/other/run"))


def test_all_generation_runs_of_a_training_are_found_or_none(tmp_path: Path) -> None:
    """Half of the training data would leave goals that it contains among the unseen ones."""
    directories = []
    for seed in (0, 1):
        with open_run(tmp_path, "generate", {"seed": seed}) as generation:
            generation.finish({})
        directories.append(generation.directory)
    names = [directory.name for directory in directories]
    manifest = read_manifest(training(tmp_path, group=names[0]))
    of_both = manifest.model_copy(update={"results": {"generations": [*names, names[0]]}})
    assert find_generations(settings(tmp_path), of_both) == tuple(directories)
    shutil.rmtree(directories[1])
    assert find_generations(settings(tmp_path), of_both) == ()
