"""The packages of an export, each with its worlds: an installable one for verifiers, a task file for inspect."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from core.dialogue import Dialogue
from core.files import write_atomically
from generation.export.task_hash import set_hash
from generation.export.tasks import GenerationRun, write_worlds


def write_rl(folder: Path, package: str, dialogues: Iterable[Dialogue], run: GenerationRun) -> int:
    """A package that runs under verifiers; returns its number of tasks."""
    return _write(folder, folder / package, package, dialogues, run, _RL)


def write_inspect(folder: Path, package: str, dialogues: Iterable[Dialogue], run: GenerationRun) -> int:
    """A task file of inspect; returns its number of tasks."""
    return _write(folder, folder, package, dialogues, run, {"inspect_tasks.py.j2": "{package}.py"})


_RL = {
    "rl_init.py.j2": "{package}/__init__.py",
    "rl_pyproject.toml.j2": "pyproject.toml",
    "rl_readme.md.j2": "README.md",
}
"""Template -> file."""


def _write(
    folder: Path,
    parent: Path,
    package: str,
    dialogues: Iterable[Dialogue],
    run: GenerationRun,
    templates: dict[str, str],
) -> int:
    """Write the worlds and, next to them, the code, without leftovers of an interrupted export."""
    shutil.rmtree(folder, ignore_errors=True)
    hashes = write_worlds(parent / "worlds", dialogues, run)
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,
    )
    values = {"package": package, "tasks": f"{len(hashes):,}", "set_hash": set_hash(hashes)}
    values["version"] = version("user-oriented-dialogues")
    for template, name in templates.items():
        text = environment.get_template(template).render(values)
        write_atomically(folder / name.format(package=package), [text])
    return len(hashes)
