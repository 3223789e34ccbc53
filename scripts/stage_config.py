"""What a stage of `make` can be given: the groups and keys of its composed config."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hydra
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from core.settings import UserError


@dataclass(frozen=True)
class StageConfig:
    """What a stage can be given: its config groups (`pipeline`, `llm`, …) and its dotted keys."""

    groups: frozenset[str]
    keys: frozenset[str]

    def takes(self, override: Override) -> bool:
        """Whether the stage has the override's key. An added key (`+a.b=1`) needs a known parent; at the top level it
        is always unknown, because settings are typed."""
        key = override_key(override)
        if key.startswith(("hydra.", "hydra/")) or key in self.keys:
            return True
        return override.is_add() and key.rpartition(".")[0] in self.keys


def override_key(override: Override) -> str:
    """Return the override's key as Hydra lists it: `llm`, `llm@judge` or `rollout.max_turns`."""
    return override.key_or_group + (f"@{override.package}" if override.package else "")


def stage_config(conf: Path, name: str, overrides: list[str]) -> StageConfig:
    """Return the groups and keys of conf/<name>.yaml with `overrides`; Hydra must be initialised. Raises UserError if
    it does not compose."""
    try:
        config = hydra.compose(name, overrides, return_hydra_config=True)
        groups = frozenset(str(group) for group in config.hydra.runtime.choices) | _list_groups(conf, name)
    except (HydraException, OmegaConfBaseException) as error:
        reason = " ".join(str(error).partition("Config search path")[0].split())
        raise UserError(f"conf/{name}.yaml with {' '.join(overrides) or 'no overrides'}: {reason}") from None
    values = OmegaConf.to_container(config, resolve=False)
    assert isinstance(values, dict), "a stage's config is a mapping"
    return StageConfig(groups, frozenset(_dotted({key: value for key, value in values.items() if key != "hydra"})))


def _list_groups(conf: Path, name: str) -> set[str]:
    """Return the groups with several chosen options (`benchmark: [bfcl, tau2]`) of a stage and its profiles, which
    Hydra's choices lack."""
    groups = set()
    for file in [conf / f"{name}.yaml", *(conf / "profile" / name).glob("*.yaml")]:
        values = OmegaConf.to_container(OmegaConf.load(file), resolve=False)
        defaults = values.get("defaults", []) if isinstance(values, dict) else []
        entries = [entry for entry in defaults if isinstance(entry, dict)]
        groups |= {str(group) for entry in entries for group, option in entry.items() if isinstance(option, list)}
    return {group.lstrip("/") for group in groups}


def _dotted(values: dict[Any, Any], prefix: str = "") -> Iterator[str]:
    for key, value in values.items():
        yield f"{prefix}{key}"
        if isinstance(value, dict):
            yield from _dotted(value, f"{prefix}{key}.")
