"""From `make generate train n=20` to stages that run: who takes which override, and how a stage's main behaves.

`python -m scripts.launch GOAL --goals "GOAL …" -- key=value …` gives each override to every stage among the goals whose
composed config knows the key, refuses a key that none knows before anything runs, and then becomes GOAL's stage.
"""

from __future__ import annotations

import argparse
import difflib
import errno
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import hydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, InstantiationException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console

from core.settings import UserError

CONF = Path(__file__).parents[1] / "conf"

STAGES = {
    "plan": "plan",
    "generate": "generate",
    "export": "export",
    "convert": "convert",
    "train": "train",
    "eval": "evaluate",
    "tables": "tables",
}
"""make's goal -> the module scripts.<name> and its config conf/<name>.yaml."""

QUIET = (
    "hydra.run.dir=.",
    "hydra.output_subdir=null",
    "hydra.sweep.dir=outputs/sweep",
    "hydra.sweep.subdir=.",
    "hydra/job_logging=disabled",
    "hydra/hydra_logging=disabled",
)
"""Hydra's own folders and log files, off: a run's directory and manifest say the same, and more."""

EXIT_USER_ERROR, EXIT_INTERRUPTED = 2, 130


def main(config_name: str, stage: Callable[[DictConfig], object]) -> None:
    """Be the Hydra main of a stage: compose conf/<config_name>.yaml with the command line, then call `stage`."""

    def run(config: DictConfig) -> None:
        with clear_errors():
            refuse_missing(config)
            stage(config)

    # argparse wants Hydra's overrides in one piece, whatever flags stand before or after them.
    first = next((i for i, word in enumerate(sys.argv) if i and "=" in word and word[0] != "-"), len(sys.argv))
    sys.argv[first:first] = QUIET
    hydra.main(version_base="1.3", config_path=str(CONF), config_name=config_name)(run)()


def refuse_missing(config: DictConfig) -> None:
    """Raises UserError that names the keys which have no value of their own (??? in conf/) and were given none."""
    if missing := sorted(OmegaConf.missing_keys(config)):
        raise UserError(f"{' '.join(f'{key}=…' for key in missing)} must be given")


@contextmanager
def clear_errors() -> Iterator[None]:
    """What a user can mend ends the process with one red line and exit code 2, Ctrl-C with 130; the rest is a traceback."""
    try:
        yield
    except UserError as error:
        _fail(str(error), EXIT_USER_ERROR)
    except InstantiationException as error:  # Hydra's wrapping of what a `_target_` or its constructor raised
        if isinstance(error.__cause__, UserError):
            _fail(str(error.__cause__), EXIT_USER_ERROR)
        if not isinstance(error.__cause__, ImportError | TypeError | None):
            raise
        _fail(_misfit(error), EXIT_USER_ERROR)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        _fail(f"the disk is full ({error}); what was written before is intact", EXIT_USER_ERROR)
    except KeyboardInterrupt:
        _fail("stopped; the same command goes on", EXIT_INTERRUPTED)


def _misfit(error: InstantiationException) -> str:
    """A `_target_` that cannot be found or called, or does not take the keys beside it, in one line."""
    what = str(error).partition("\n")[0].partition(", set env var")[0].removesuffix(":")
    return f"{what}: {' '.join(str(error.__cause__).split())}" if error.__cause__ else what


def _fail(message: str, code: int) -> NoReturn:
    Console(stderr=True).print(message, style="bold red", markup=False, highlight=False, soft_wrap=True)
    raise SystemExit(code)


@dataclass(frozen=True)
class StageConfig:
    """What one stage can be told: its config groups (`pipeline`, `llm`, …) and its dotted keys."""

    groups: frozenset[str]
    keys: frozenset[str]

    def takes(self, override: Override) -> bool:
        """An added key (`+a.b=1`) is known where its parent is; a top-level one never, for settings are typed."""
        key = _key(override)
        if key.startswith(("hydra.", "hydra/")) or key in self.keys:
            return True
        return override.is_add() and key.rpartition(".")[0] in self.keys


def distribute(goals: Sequence[str], arguments: Sequence[str], conf: Path = CONF) -> dict[str, list[str]]:
    """For each goal that is a stage, the overrides it takes. Raises UserError if one is malformed, known to no stage of
    `goals`, or does not compose."""
    stages = [goal for goal in goals if goal in STAGES]
    overrides = _parse([argument for argument in arguments if not re.match(r"[A-Z_][A-Z0-9_]*=", argument)])
    shares: dict[str, list[str]] = {}
    unknown, known = list(overrides), set[str]()
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(conf)):
        folders = {str(folder.relative_to(conf)) for folder in conf.rglob("*") if folder.is_dir()}
        for goal in stages:
            name = STAGES[goal]
            groups = stage_config(conf, name, []).groups
            # Hydra reads a key that names a folder of conf/ as a choice of that group, never as a value.
            choices = [o for o in overrides if o.key_or_group in folders]
            chosen: list[Override] = []
            # A choice may bring groups of its own, as llm=faulty brings llm@llm.inner.
            while (more := [o for o in choices if _key(o) in groups or o.is_add()]) != chosen:
                chosen = more
                groups = stage_config(conf, name, [_first(o) for o in chosen]).groups
            config = stage_config(conf, name, [_first(o) for o in chosen])
            mine = [o for o in overrides if o in chosen or (o not in choices and config.takes(o))]
            stage_config(conf, name, [_first(o) for o in mine])
            shares[goal] = [str(o.input_line) for o in mine]
            unknown = [o for o in unknown if o not in mine]
            known |= config.groups | config.keys
    if unknown:
        raise UserError("\n".join(_unknown(override, stages, known) for override in unknown))
    return shares


def _parse(arguments: list[str]) -> list[Override]:
    try:
        return OverridesParser.create().parse_overrides(arguments)
    except HydraException as error:
        raise UserError(f"not a key=value override: {str(error).splitlines()[0]}") from None


def _key(override: Override) -> str:
    """`llm`, `llm@judge` or `rollout.max_turns`: the override's key as Hydra lists it."""
    return override.key_or_group + (f"@{override.package}" if override.package else "")


def _first(override: Override) -> str:
    """The override with the first of its values where it sweeps (n=10,20), since composing takes one."""
    line = str(override.input_line)
    if not override.is_sweep_override():
        return line
    return f"{line.partition('=')[0]}={next(iter(override.sweep_string_iterator()))}"


def stage_config(conf: Path, name: str, overrides: list[str]) -> StageConfig:
    """What conf/<name>.yaml knows under `overrides`; Hydra must be initialised. Raises UserError if it does not compose."""
    try:
        config = hydra.compose(name, overrides, return_hydra_config=True)
        groups = frozenset(str(group) for group in config.hydra.runtime.choices) | _list_groups(conf / f"{name}.yaml")
    except (HydraException, OmegaConfBaseException) as error:
        reason = " ".join(str(error).partition("Config search path")[0].split())
        raise UserError(f"conf/{name}.yaml with {' '.join(overrides) or 'no overrides'}: {reason}") from None
    values = OmegaConf.to_container(config, resolve=False)
    assert isinstance(values, dict), "a stage's config is a mapping"
    return StageConfig(groups, frozenset(_dotted({key: value for key, value in values.items() if key != "hydra"})))


def _list_groups(file: Path) -> set[str]:
    """Groups of which several options are chosen at once (`benchmark: [bfcl, tau2]`): Hydra does not list those choices."""
    values = OmegaConf.to_container(OmegaConf.load(file), resolve=False)
    defaults = values.get("defaults", []) if isinstance(values, dict) else []
    entries = [entry for entry in defaults if isinstance(entry, dict)]
    return {str(group) for entry in entries for group, option in entry.items() if isinstance(option, list)}


def _dotted(values: dict[Any, Any], prefix: str = "") -> Iterator[str]:
    for key, value in values.items():
        yield f"{prefix}{key}"
        if isinstance(value, dict):
            yield from _dotted(value, f"{prefix}{key}.")


def _unknown(override: Override, stages: list[str], known: set[str]) -> str:
    key = override.key_or_group
    near = difflib.get_close_matches(key, known, n=3)
    near = near or sorted(k for k in known if k.rpartition(".")[2] == key.rpartition(".")[2])
    hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(sorted(_top_level(known)))}"
    return f"unknown config key {key!r} (given: {override.input_line}) for {', '.join(stages)}; {hint}"


def _top_level(known: set[str]) -> set[str]:
    return {key for key in known if not key.startswith("hydra") and "." not in key and "@" not in key}


def command(goal: str, overrides: Sequence[str]) -> list[str]:
    """The command line of a goal's stage; overrides that list several values (n=10,20) make it a sweep, and so does a launcher,
    which only sweeps go through."""
    sweeps = any(o.is_sweep_override() or o.key_or_group == "hydra/launcher" for o in _parse(list(overrides)))
    return [sys.executable, "-m", f"scripts.{STAGES[goal]}", *(["--multirun"] if sweeps else []), *overrides]


def launch(arguments: argparse.Namespace) -> None:
    goals = arguments.goals.split() or [arguments.goal]
    if arguments.goal not in goals:
        goals.append(arguments.goal)
    line = command(arguments.goal, distribute(goals, arguments.overrides)[arguments.goal])
    os.execv(line[0], line)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="scripts.launch", description="Run one stage of a make command.")
    parser.add_argument("goal", choices=STAGES)
    parser.add_argument("--goals", default="", help="all goals of this make, separated by spaces")
    parser.add_argument("overrides", nargs="*", help="key=value …")
    with clear_errors():
        launch(parser.parse_intermixed_args())
