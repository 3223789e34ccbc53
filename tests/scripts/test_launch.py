"""Which stage gets which override of a make command."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from core.settings import UserError
from scripts import launch
from tests.helpers.paths import ROOT

FILES = {
    "generate.yaml": """
        defaults: [_self_, {pipeline: a}, {llm: scripted}, {profile: cpu}, {"profile/generate@_global_": "${profile}"}]
        seed: 0
        tracking: {mode: offline}
        models: [x]
        path: ???
    """,
    "train.yaml": "{defaults: [_self_, {model: tiny}], lr: 1, seed: 0, tracking: {mode: offline}}",
    "evaluate.yaml": "{defaults: [_self_, {benchmark: [one, two]}], model: latest, seed: 0}",
    "benchmark/one.yaml": "{one: 1}",
    "benchmark/two.yaml": "{two: 2}",
    "tables.yaml": "{out: x}",
    "pipeline/a.yaml": "name: a",
    "pipeline/b.yaml": "name: b",
    "llm/scripted.yaml": "name: scripted",
    "llm/vllm.yaml": "{name: vllm, base_urls: []}",
    "model/tiny.yaml": "name: tiny",
    "model/big.yaml": "name: big",
    "profile/cpu.yaml": "# @package _global_\nprofile: cpu",
    "profile/paper.yaml": "# @package _global_\nprofile: paper",
    "profile/generate/cpu.yaml": "n: 1",
    "profile/generate/paper.yaml": "{n: 2, gpus: 8}",
    "extra/rules.yaml": "# @package _global_\nn: 9",
}


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        path = tmp_path / "conf" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "conf"


@pytest.mark.parametrize(
    ("goals", "overrides", "expected"),
    [
        (
            "generate train eval",
            "n=20 seed=3 PYTHON=python3.12",
            {"generate": ["n=20", "seed=3"], "train": ["seed=3"], "eval": ["seed=3"]},
        ),
        ("check generate", "tracking.mode=disabled", {"generate": ["tracking.mode=disabled"]}),
        # A group's own keys are known once the group is chosen, in any order.
        (
            "generate",
            "llm.base_urls=[a,b] llm=vllm models=[c,d]",
            {"generate": ["llm.base_urls=[a,b]", "llm=vllm", "models=[c,d]"]},
        ),
        ("generate", "gpus=4 profile=paper", {"generate": ["gpus=4", "profile=paper"]}),
        # `model` is a group for train; Hydra would not take it as eval's plain value.
        ("train eval", "model=big", {"train": ["model=big"], "eval": []}),
        ("eval", "benchmark=[two] benchmark.two=3", {"eval": ["benchmark=[two]", "benchmark.two=3"]}),
        ("generate", "~tracking +llm.new=1 +extra=rules", {"generate": ["~tracking", "+llm.new=1", "+extra=rules"]}),
        ("generate", "pipeline=a,b n=1,2", {"generate": ["pipeline=a,b", "n=1,2"]}),
        ("generate train", "hydra.verbose=true", {"generate": ["hydra.verbose=true"], "train": ["hydra.verbose=true"]}),
    ],
)
def test_each_override_goes_to_the_stages_that_know_it(
    conf: Path, goals: str, overrides: str, expected: dict[str, list[str]]
) -> None:
    assert launch.distribute(goals.split(), overrides.split(), conf) == expected


@pytest.mark.parametrize(
    ("goals", "override", "message"),
    [
        ("generate train", "pipelin=b", r"unknown config key 'pipelin' .*for generate, train; did you mean pipeline"),
        ("train", "n=20", r"unknown config key 'n' .*for train; known: lr, model, seed, tracking"),
        ("generate", "tracking.mod=x", r"unknown config key 'tracking\.mod' .*did you mean tracking\.mode"),
        ("generate", "llm.base_urls=[a]", r"unknown config key 'llm\.base_urls'"),
        ("generate", "+new=1", r"unknown config key 'new'"),
        ("generate", "llm=nope", r"Could not find 'llm/nope' Available options in 'llm': scripted vllm"),
        ("generate", "n", r"not a key=value override"),
        ("generate", "models=[a", r"not a key=value override"),
    ],
)
def test_an_override_that_no_stage_knows_is_refused(conf: Path, goals: str, override: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        launch.distribute(goals.split(), [override], conf)


@pytest.mark.parametrize(
    ("goals", "override", "message"),
    [
        ("generate", "density=8", "config key 'density' was renamed: give tasks_per_dialogue=8"),
        ("generate train eval", "density=1,2", "config key 'density' was renamed: give tasks_per_dialogue=1,2"),
        ("generate", "seeds=spider", "config key 'seeds' was renamed: give domains=spider"),
        ("generate", "seeds.root=/s", "config key 'seeds.root' was renamed: give domains.root=/s"),
        ("generate", "seeds.domains=[gym]", "config key 'seeds.domains' was renamed: give domains.names=[gym]"),
        ("generate", "domains.databases=[a]", "config key 'domains.databases' was renamed: give domains.names=[a]"),
        (
            "generate",
            "pipelines.user_oriented.rollout.bad_calls=error",
            "config key 'pipelines.user_oriented.rollout.bad_calls' was renamed: "
            "give pipelines.user_oriented.rollout.invalid_calls=error",
        ),
        (
            "eval",
            "heldout_dialogues=4",
            "config key 'heldout_dialogues' was renamed: give benchmarks.heldout.dialogues=4",
        ),
        ("eval", "dialogue_steps=200", "config key 'dialogue_steps' was renamed: give benchmarks.tau2.max_steps=200"),
        (
            "eval",
            "simulator=http://a/v1",
            "config key 'simulator' was renamed: give +benchmarks.tau2.user.base_url=http://a/v1",
        ),
        ("eval", "simulator_model=m", "config key 'simulator_model' was renamed: give +benchmarks.tau2.user.model=m"),
        (
            "eval",
            "llm@benchmarks.heldout.partner=vllm",
            "config key 'llm@benchmarks.heldout.partner' was renamed: give llm@benchmarks.heldout.simulator=vllm",
        ),
        (
            "eval",
            "benchmarks.heldout.partner.base_urls=[a]",
            "config key 'benchmarks.heldout.partner.base_urls' was renamed: "
            "give benchmarks.heldout.simulator.base_urls=[a]",
        ),
        (
            "eval",
            "seeds@benchmarks.heldout.databases=spider",
            "config key 'seeds@benchmarks.heldout.databases' was renamed: "
            "give domains@benchmarks.heldout.databases=spider",
        ),
        ("eval", "domains=[retail]", "config key 'domains' was renamed: give benchmarks.tau2.domains=[retail]"),
        ("train", "assume.keys=1", "config key 'assume.keys' was renamed: give assume.keys_per_token=1"),
        ("train", "assume.trained=0.4", "config key 'assume.trained' was renamed: give assume.trained_share=0.4"),
        (
            "train",
            "mixture.skip_unlawful=true",
            "config key 'mixture.skip_unlawful' was renamed: give mixture.skip_invalid=true",
        ),
    ],
)
def test_a_renamed_key_names_its_successor(conf: Path, goals: str, override: str, message: str) -> None:
    with pytest.raises(UserError) as refused:
        launch.distribute(goals.split(), [override], conf)
    assert str(refused.value) == message


def test_an_old_evaluation_key_that_another_stage_uses_is_renamed_for_eval_alone(conf: Path) -> None:
    for goals in ("train", "train eval"):
        with pytest.raises(UserError, match="unknown config key 'domains'"):
            launch.distribute(goals.split(), ["domains=[retail]"], conf)


def test_a_key_that_a_stage_still_has_is_not_refused(conf: Path) -> None:
    (conf / "tables.yaml").write_text("{out: x, density: 1}")
    assert launch.distribute(["tables"], ["density=2"], conf) == {"tables": ["density=2"]}


@pytest.mark.parametrize(
    ("given", "value"),
    [
        ("path=/data/lr=3e-5/d.jsonl", "/data/lr=3e-5/d.jsonl"),
        ("path='/data/lr=3e-5/d.jsonl'", "/data/lr=3e-5/d.jsonl"),
        ("path=/data/größe (1)/it's", "/data/größe (1)/it's"),
        ("path=/data/it's\\", "/data/it's\\"),
        ("path=/a$b", "/a$b"),
        ('models=["/a$b (1)/ü,x","/c=d"]', ["/a$b (1)/ü,x", "/c=d"]),
    ],
)
def test_a_path_is_taken_whatever_its_characters(conf: Path, given: str, value: object) -> None:
    (override,) = launch.distribute(["generate"], [given], conf)["generate"]
    assert OverridesParser.create().parse_override(override).value() == value


def test_a_comma_sweeps_unless_it_belongs_to_a_file(conf: Path, tmp_path: Path) -> None:
    file = tmp_path / "a,b.jsonl"
    (override,) = launch.distribute(["generate"], [f"path={file}"], conf)["generate"]
    assert "--multirun" in launch.command("generate", [override])
    file.touch()
    (override,) = launch.distribute(["generate"], [f"path={file}"], conf)["generate"]
    assert override == f"path='{file}'"


def test_a_list_of_odd_paths_says_how_to_quote_it(conf: Path) -> None:
    with pytest.raises(UserError, match=r"""quote special characters for Hydra, too: .* 'models=\["…","…"\]'"""):
        launch.distribute(["generate"], ["models=[/a(1),/b]"], conf)


def test_make_passes_every_word_as_it_was_given(tmp_path: Path) -> None:
    words = ["data=/it's (1)/größe,=\\b", 'models=["/a$b.sqlite","/c  d"]', "n=3", 'w=`x` $(y) ${z} & <q> | ; # "w"']
    show = f"@{sys.executable} -c 'import json, sys; print(json.dumps(sys.argv[1:]))' $(overrides)"
    (tmp_path / "Makefile").write_text(f"include {ROOT}/Makefile\nprint-words:\n\t{show}\n")

    def passed(*given: str) -> list[str]:
        shown = subprocess.run(
            ["make", "-s", "print-words", *given], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        return list(json.loads(shown.stdout))

    assert sorted(passed(*words)) == sorted(words)
    assert passed() == []


@pytest.mark.slow
def test_a_stage_gets_a_path_through_make(tmp_path: Path) -> None:
    run = f"@cd {ROOT} && {sys.executable} -m scripts.launch train --goals train -- $(overrides)"
    (tmp_path / "Makefile").write_text(f"include {ROOT}/Makefile\ndry:\n\t{run}\n")
    data = tmp_path / "lr=3e-5 (größe), it's $b" / "none.jsonl"
    overrides = ["plan=true", f"data={data}", f"outputs={tmp_path}/o"]
    done = subprocess.run(["make", "-s", "dry", *overrides], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert f"{data} was given as data: expected" in done.stderr


def test_several_values_sweep() -> None:
    assert launch.command("eval", ["n=1"])[1:] == ["-m", "scripts.evaluate", "n=1"]
    assert launch.command("eval", ["n=1,2"])[1:] == ["-m", "scripts.evaluate", "--multirun", "n=1,2"]
    # Hydra uses a launcher only for sweeps, so a requested launcher makes a sweep of a single run.
    assert launch.command("train", ["hydra/launcher=basic"])[3:] == ["--multirun", "hydra/launcher=basic"]
    assert launch.command("eval", ["n=[1,2]"])[1:] == ["-m", "scripts.evaluate", "n=[1,2]"]


def test_the_command_line_refuses_before_anything_runs() -> None:
    words = [sys.executable, "-m", "scripts.launch", "generate", "--goals", "generate train", "--", "no_such_key=1"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "unknown config key 'no_such_key'" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
