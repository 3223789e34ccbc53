from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
from omegaconf import OmegaConf
from pydantic import Field

from core.settings import Settings, UserError, closest, typed


class Optimizer(Settings):
    learning_rate: float


class Example(Settings):
    n: int = Field(ge=1)
    name: str = "x"
    optimizer: Optimizer = Optimizer(learning_rate=1.0)
    uses: tuple[Literal["sft", "rl", "inspect"], ...] = Field(default=(), alias="as")
    paths: tuple[Path, ...] = ()


def test_a_node_becomes_typed_settings_with_interpolations_resolved() -> None:
    node = OmegaConf.create({"n": 3, "name": "run-${n}", "optimizer": {"learning_rate": "1e-6"}})
    assert typed(node, Example) == Example(n=3, name="run-3", optimizer=Optimizer(learning_rate=1e-6))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"n": 1, "nmae": "y"}, r"unknown config key 'nmae'; did you mean 'name'\?"),
        ({"n": 1, "zzz": 1}, r"unknown config key 'zzz'; known: as, n, name, optimizer, paths"),
        ({"n": 0}, r"config key 'n': .*greater than or equal to 1 \(given: 0\)"),
        ({"n": "many"}, r"config key 'n': .*integer.* \(given: 'many'\)"),
        ({}, r"config key 'n': Field required"),
        ({"n": 1, "as": ""}, r"config key 'as': a list is expected, such as as=\[sft,rl\] \(given: ''\)"),
        ({"n": 1, "paths": "a"}, r"config key 'paths': a list is expected, such as paths=\[…\] \(given: 'a'\)"),
        ({"n": 1, "optimizer": {"lr": 1}}, r"unknown config key 'optimizer\.lr'"),
        ({"n": 1, "optimizer": {"lr": 1}}, r"config key 'optimizer\.learning_rate': Field required"),
    ],
)
def test_every_wrong_key_is_named_with_its_given_value(values: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        typed(values, Example)


def test_the_key_path_in_the_config_is_named() -> None:
    with pytest.raises(UserError, match=r"config key 'train\.n'"):
        typed({"n": 0}, Example, where="train")


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Example(n=1).n = 2


def test_closest_suggests_a_similar_name_or_lists_all() -> None:
    assert closest("pipelin", ["pipeline", "seed"]) == "did you mean 'pipeline'?"
    assert closest("q", ["b", "a"]) == "known: a, b"
