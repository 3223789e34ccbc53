"""Every YAML file of conf/ composes in its stages, fits their settings and names existing constructors."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hydra
import pytest
import yaml
from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf

from core.settings import Settings, typed
from evaluation.ablation.settings import AblationSettings
from evaluation.reports.tables import TablesSettings
from evaluation.targets import EvaluateSettings
from generation.convert.base import ConvertSettings
from generation.export.export import ExportSettings
from generation.metrics.fidelity_data import FidelitySettings
from generation.run import GenerateSettings
from generation.synthesis.run import DatabasesSettings
from scripts.launch import CONF, STAGES
from scripts.reproduce import ReproduceSettings
from scripts.stage_config import stage_config
from training.settings import TrainSettings

SETTINGS: dict[str, type[Settings]] = {
    "databases": DatabasesSettings,
    "generate": GenerateSettings,
    "fidelity": FidelitySettings,
    "export": ExportSettings,
    "convert": ConvertSettings,
    "train": TrainSettings,
    "evaluate": EvaluateSettings,
    "tables": TablesSettings,
    "ablation": AblationSettings,
    "reproduce": ReproduceSettings,
}


def compose(stage: str, *overrides: str) -> DictConfig:
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        return hydra.compose(stage, list(overrides), return_hydra_config=True)


def choices() -> Iterator[tuple[str, str, Path]]:
    """Yield (stage, override, file) for every option of every group of a stage."""
    for stage in SETTINGS:
        with hydra.initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
            groups = sorted(stage_config(CONF, stage, []).groups)
        for group in groups:
            for file in sorted((CONF / group.partition("@")[0]).glob("*.yaml")):
                yield stage, f"{group}={file.stem}", file


def targets(values: Any) -> Iterator[dict[str, Any]]:
    if isinstance(values, dict):
        if "_target_" in values:
            yield values
        values = list(values.values())
    if isinstance(values, list):
        for value in values:
            yield from targets(value)


def check(stage: str, config: DictConfig) -> None:
    container = OmegaConf.to_container(OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"]))
    assert isinstance(container, dict)
    typed(OmegaConf.create(container), SETTINGS[stage])
    for node in targets(container):
        given = {key: value for key, value in node.items() if not key.startswith("_")}
        inspect.signature(get_object(node["_target_"])).bind_partial(**given)


def test_every_stage_has_its_config() -> None:
    assert set(SETTINGS) == set(STAGES.values()) == {path.stem for path in CONF.glob("*.yaml")}


@pytest.mark.parametrize("stage", SETTINGS)
def test_the_default_composes(stage: str) -> None:
    check(stage, compose(stage))


@pytest.mark.parametrize(("stage", "choice"), [(stage, choice) for stage, choice, _ in choices()])
def test_every_choice_composes(stage: str, choice: str) -> None:
    check(stage, compose(stage, choice))


def test_every_file_is_reachable() -> None:
    reached = {file for _, _, file in choices()} | {CONF / f"{stage}.yaml" for stage in SETTINGS}
    assert set(CONF.rglob("*.y*ml")) == reached


def test_the_check_can_fail() -> None:
    config = compose("generate", "+llm.no_such_argument=1")
    with pytest.raises(TypeError, match="no_such_argument"):
        check("generate", config)


def leaves(values: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{path}{key}.")
        else:
            yield f"{path}{key}", value


@pytest.mark.parametrize("stage", ["generate", "train", "evaluate"])
@pytest.mark.parametrize("profile", [file.stem for file in sorted((CONF / "profile").glob("*.yaml"))])
def test_a_profile_decides_what_it_names(stage: str, profile: str) -> None:
    """No key of a profile is overridden by the stage's own values."""
    config = compose(stage, f"profile={profile}")
    named = yaml.safe_load((CONF / "profile" / stage / f"{profile}.yaml").read_text())
    named.pop("defaults", None)
    for key, value in leaves(named):
        assert OmegaConf.select(config, key) == value, key
