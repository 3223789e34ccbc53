"""Runs the stages of `make generate train n=20`: distributes overrides to stages and wraps every stage's main function.

`python -m scripts.launch GOAL --goals "GOAL …" -- key=value …` passes each override to every stage among the goals
whose composed config has the key, refuses a key that no stage has before anything runs, and then executes GOAL's stage.
"""

from __future__ import annotations

import argparse
import difflib
import errno
import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import hydra
import hydra.utils
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, InstantiationException
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from core.settings import Settings, UserError, typed
from scripts.old_keys import renamed_override
from scripts.stage_config import override_key, stage_config

S = TypeVar("S", bound=Settings)

CONF = Path(__file__).parents[1] / "conf"

STAGES = {
    "databases": "databases",
    "generate": "generate",
    "fidelity": "fidelity",
    "export": "export",
    "convert": "convert",
    "train": "train",
    "eval": "evaluate",
    "tables": "tables",
    "ablation": "ablation",
    "reproduce": "reproduce",
}
"""Goal of make -> name of its module scripts.<name> and its config conf/<name>.yaml."""

EXPERIMENTS = ("ablation", "reproduce")
"""Goals that start sweeps over cells and seeds."""

QUIET = (
    "hydra.run.dir=.",
    "hydra.output_subdir=null",
    "hydra.sweep.dir=outputs/sweep",
    "hydra.sweep.subdir=.",
    "hydra/job_logging=disabled",
    "hydra/hydra_logging=disabled",
)
"""Switches off Hydra's folders and log files; the run directory and its manifest record more."""

EXIT_USER_ERROR, EXIT_INTERRUPTED = 2, 130


def hydra_main(config_name: str, main: Callable[[DictConfig], object]) -> None:
    """Compose conf/<config_name>.yaml with the command line's overrides and call `main` with clear errors."""

    def run(config: DictConfig) -> None:
        with clear_errors():
            refuse_missing(config)
            main(config)

    # argparse accepts Hydra's overrides only as one contiguous group, but flags may come before or after them.
    first = next((i for i, word in enumerate(sys.argv) if i and "=" in word and word[0] != "-"), len(sys.argv))
    sys.argv[first:first] = QUIET
    hydra.main(version_base="1.3", config_path=str(CONF), config_name=config_name)(run)()


def instantiate(node: Mapping[str, Any]) -> Any:
    """Construct the object named in a node's `_target_`; nested values become plain lists and dictionaries."""
    return hydra.utils.instantiate(node, _convert_="all")


def read_settings(words: Sequence[str], schema: type[S]) -> S:
    """Read key=value words as settings, for programs without a Hydra config. Values are JSON if they parse as JSON,
    [a,b] lists, or plain text. Raises UserError for any other word and for values that do not fit `schema`."""
    if strays := [word for word in words if "=" not in word]:
        raise UserError(f"{strays[0]!r} was given; expected key=value with {', '.join(schema.model_fields)}")
    return typed({key: _value(text) for key, _, text in (word.partition("=") for word in words)}, schema)


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        if text.startswith("[") and text.endswith("]"):
            return [_value(part.strip()) for part in text[1:-1].split(",")]
        return text


def refuse_missing(config: DictConfig) -> None:
    """Raise UserError that names the keys which have no default (??? in conf/) and were not given."""
    if missing := sorted(OmegaConf.missing_keys(config)):
        raise UserError(f"{' '.join(f'{key}=…' for key in missing)} must be given")


@contextmanager
def clear_errors() -> Iterator[None]:
    """End the process with one red line: exit code 2 for what the user can fix, 130 for Ctrl-C. Other errors keep their
    traceback."""
    try:
        yield
    except UserError as error:
        _fail(str(error), EXIT_USER_ERROR)
    except InstantiationException as error:  # wraps what a `_target_` or its constructor raised
        if isinstance(error.__cause__, UserError):
            _fail(str(error.__cause__), EXIT_USER_ERROR)
        if not isinstance(error.__cause__, ImportError | TypeError | None):
            raise
        _fail(_target_problem(error), EXIT_USER_ERROR)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS) and error.filename:
            _fail(
                f"{error.filename}: {error.strerror}; expected a place that you may read and write, such as your own "
                "outputs=…",
                EXIT_USER_ERROR,
            )
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        _fail(f"the disk is full ({error}); what was written before is intact", EXIT_USER_ERROR)
    except KeyboardInterrupt:
        _fail("stopped; the same command resumes the run", EXIT_INTERRUPTED)


def _target_problem(error: InstantiationException) -> str:
    """Describe in one line why a `_target_` cannot be imported, called, or called with the node's keys."""
    problem = str(error).partition("\n")[0].partition(", set env var")[0].removesuffix(":")
    return f"{problem}: {' '.join(str(error.__cause__).split())}" if error.__cause__ else problem


def _fail(message: str, code: int) -> NoReturn:
    Console(stderr=True).print(message, style="bold red", markup=False, highlight=False, soft_wrap=True)
    raise SystemExit(code)


def distribute(goals: Sequence[str], arguments: Sequence[str], conf: Path = CONF) -> dict[str, list[str]]:
    """Return the overrides for each goal that is a stage. Raises UserError for an override that is malformed, that no
    stage of `goals` has, or that does not compose."""
    stages = [goal for goal in goals if goal in STAGES]
    overrides = _parse([argument for argument in arguments if not re.match(r"[A-Z_][A-Z0-9_]*=", argument)])
    distributed: dict[str, list[str]] = {}
    unknown, known = list(overrides), set[str]()
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(conf)):
        folders = {str(folder.relative_to(conf)) for folder in conf.rglob("*") if folder.is_dir()}
        for goal in stages:
            name = STAGES[goal]
            groups = stage_config(conf, name, []).groups
            # Hydra reads a key that names a folder of conf/ as a choice of that group, never as a value.
            choices = [o for o in overrides if o.key_or_group in folders]
            chosen: list[Override] = []
            # A choice may add groups, as llm=faulty adds llm@llm.inner.
            while (more := [o for o in choices if override_key(o) in groups or o.is_add()]) != chosen:
                chosen = more
                groups = stage_config(conf, name, [_first(o) for o in chosen]).groups
            config = stage_config(conf, name, [_first(o) for o in chosen])
            taken = [o for o in overrides if o in chosen or (o not in choices and config.takes(o))]
            stage_config(conf, name, [_first(o) for o in taken])
            distributed[goal] = [str(o.input_line) for o in taken]
            unknown = [o for o in unknown if o not in taken]
            known |= config.groups | config.keys
    if unknown:
        raise UserError("\n".join(_unknown(override, stages, known) for override in unknown))
    return distributed


def _parse(arguments: list[str]) -> list[Override]:
    """Raises UserError for an argument that Hydra's grammar does not take, even in quotes."""
    return [_parsed(argument) for argument in arguments]


def _parsed(argument: str) -> Override:
    """Parse an override. A plain value with characters that have a meaning in Hydra's grammar is taken as it is, and so
    is one with a comma if it is the path of a file."""
    parser = OverridesParser.create()
    key, assigned, value = argument.partition("=")
    plain = assigned and value[:1] not in tuple("[{'\"")
    try:
        if not (plain and "," in value and Path(value).exists()):
            return parser.parse_override(argument)
    except HydraException as error:
        if not plain:
            advice = f'; quote special characters for Hydra, too: "{key}=\'…\'", in a list \'{key}=["…","…"]\''
            raise UserError(
                f"not a key=value override: {str(error).splitlines()[0]} (given: {argument})"
                + (advice if assigned else "")
            ) from None
    quoted = re.sub(r"(\\*)('|$)", lambda found: 2 * found[1] + found[2].replace("'", "\\'"), value)
    return parser.parse_override(f"{key}='{quoted}'")


def _first(override: Override) -> str:
    """Return the override, reduced to its first value if it sweeps (n=10,20), since a config takes one value."""
    line = str(override.input_line)
    if not override.is_sweep_override():
        return line
    return f"{line.partition('=')[0]}={next(iter(override.sweep_string_iterator()))}"


def _unknown(override: Override, stages: list[str], known: set[str]) -> str:
    key = override.key_or_group
    if renamed := renamed_override(key, override.package, str(override.input_line), stages):
        return renamed
    near = difflib.get_close_matches(key, known, n=3)
    near = near or sorted(k for k in known if k.rpartition(".")[2] == key.rpartition(".")[2])
    hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(sorted(_top_level(known)))}"
    return f"unknown config key {key!r} (given: {override.input_line}) for {', '.join(stages)}; {hint}"


def _top_level(known: set[str]) -> set[str]:
    return {key for key in known if not key.startswith("hydra") and "." not in key and "@" not in key}


def command(goal: str, overrides: Sequence[str]) -> list[str]:
    """Return the command line of a goal's stage. Overrides with several values (n=10,20) make it a sweep, and so does a
    launcher, which Hydra uses only for sweeps. Experiments sweep by themselves."""
    sweeps = goal not in EXPERIMENTS and any(
        o.is_sweep_override() or o.key_or_group == "hydra/launcher" for o in _parse(list(overrides))
    )
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
