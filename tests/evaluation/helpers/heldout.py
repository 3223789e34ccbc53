"""Runs the held-out benchmark with a model in this process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from core.dialogue import Dialogue
from core.journal import read_jsonl
from evaluation.benchmark import EvaluationContext
from evaluation.endpoint import Endpoint
from evaluation.heldout.benchmark import Heldout
from evaluation.known_answers.heldout_check import LocalRun
from evaluation.trials import TrialRecord
from generation.llm.base import LLM
from tests.helpers.paths import CONF

NOWHERE = Endpoint(base_url="http://127.0.0.1:9/v1", model="m")
MakeHeldout = Callable[..., Heldout]


def conf(name: str) -> dict[str, Any]:
    loaded = yaml.safe_load((CONF / name).read_text())
    assert isinstance(loaded, dict)
    return {key: value for key, value in loaded.items() if key not in ("defaults", "_target_")}


def user_preset(name: str) -> dict[str, Any]:
    """The settings of conf/user/NAME.yaml, with those of the presets that it starts from."""
    settings: dict[str, Any] = {}
    for base in yaml.safe_load((CONF / "user" / f"{name}.yaml").read_text()).get("defaults", []):
        if base != "_self_":
            settings = merged(settings, user_preset(base))
    return merged(settings, conf(f"user/{name}.yaml"))


def merged(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """`one` with the values of `other`, mappings key by key, as Hydra composes them."""
    both = one | other
    for key in one.keys() & other.keys():
        if isinstance(one[key], dict) and isinstance(other[key], dict):
            both[key] = merged(one[key], other[key])
    return both


def run_heldout(
    llm: LLM, benchmark: Heldout, generation: Path | None, directory: Path, trials: int = 1, shared: Path | None = None
) -> list[TrialRecord]:
    context = EvaluationContext(NOWHERE, trials, (generation,) if generation else (), shared=shared)
    return asyncio.run(LocalRun(llm, benchmark, context, directory).run())


def dialogues(directory: Path) -> dict[str, Dialogue]:
    return {path.stem: next(read_jsonl(path, Dialogue)) for path in sorted((directory / "dialogues").iterdir())}
