"""make clean [run=outputs/…] [yes=true] [descendants=true]: says what it would remove under outputs/, and removes it
with yes=true. The environments stay.

Without run=, everything is chosen: runs, caches, tables. A run stays if others were made from it, unless
descendants=true says that these go as well. Running runs stay, and what they and other kept runs need.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import Field
from rich import box
from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from core.console import stage_console
from core.locks import lock_file
from core.settings import Paths, Settings, UserError, closest
from scripts.launch import clear_errors, read_settings
from scripts.outputs import LATEST, LOCK, FoundRun, descendants, find_runs, is_locked, parents, size_of

CACHE, SEEDS = "cache", "seeds"
"""Folders that runs need: links lead to entries of the cache, toolsets name the databases of seeds."""


class CleanSettings(Settings):
    """Settings of make clean."""

    outputs: Path = Field(default=Path("outputs"), description="directory of all runs")
    run: Paths = Field(default=(), description="runs to remove, and nothing else; empty: all runs and all caches")
    yes: bool = Field(default=False, description="remove; false: only say what would be removed")
    descendants: bool = Field(default=False, description="also remove runs from which others descend, with these")


@dataclass
class Removal:
    """What is removed, with its size in bytes, and what stays although it was chosen, with the reason."""

    removed: dict[Path, int] = field(default_factory=dict)
    kept: dict[Path, str] = field(default_factory=dict)


def plan_removal(settings: CleanSettings) -> Removal:
    """What the settings remove. Raises UserError for a run that is none, and for a directory that is not one of
    runs."""
    outputs = settings.outputs
    runs = find_runs(outputs)
    _refuse_foreign(outputs, runs)
    by_name = {run.name: run for run in runs}
    above = parents(runs)
    chosen = [by_name[_name(path, runs)].name for path in settings.run] or list(by_name)
    if settings.descendants:
        chosen += [other for name in chosen for other in descendants(name, above)]
    removal = Removal()
    for run in runs:
        if run.name in chosen:
            others = [by_name[name] for name in descendants(run.name, above)]
            if reason := _kept(run, others, settings):
                removal.kept[run.directory] = reason
            else:
                removal.removed[run.directory] = size_of(run.directory)
    if not settings.run:
        _add_folders(removal, outputs, runs)
    return removal


def _refuse_foreign(outputs: Path, runs: list[FoundRun]) -> None:
    """A wrong outputs= must not remove a home directory or a checkout."""
    place = outputs.resolve()
    above = place == Path.cwd() or place in Path.cwd().parents or place == Path.home() or place in Path.home().parents
    if above or (place / ".git").exists() or not (runs or place.name == "outputs"):
        raise UserError(
            f"outputs={outputs}: expected the directory of runs, as `make generate` made it; this is not one"
        )


def _name(path: Path, runs: list[FoundRun]) -> str:
    """The name of the run that a path is, or that a link such as latest leads to."""
    resolved = path.resolve()
    for run in runs:
        if run.directory.resolve() == resolved:
            return run.name
    hint = closest(str(path), [str(run.directory) for run in runs]) if runs else "there are none"
    raise UserError(f"run={path} is not a run; {hint}")


def _kept(run: FoundRun, others: list[FoundRun], settings: CleanSettings) -> str:
    """Why a chosen run stays; "" if it goes."""
    if run.state == "running":
        return "a process is working on it"
    if running := [other.name for other in others if other.state == "running"]:
        return f"{running[0]} descends from it and is running"
    if others and not settings.descendants:
        names = ", ".join(other.name for other in others[:3]) + (" …" if len(others) > 3 else "")
        return f"{names} descend{'s' if len(others) == 1 else ''} from it; descendants=true removes all of them"
    if run.state == "unreadable" and not settings.run:
        return f"its manifest cannot be read; run={run.directory} removes it"
    return ""


def _add_folders(removal: Removal, outputs: Path, runs: list[FoundRun]) -> None:
    """Add everything that is no run: caches, tables, benchmarks. What kept runs need stays."""
    kept = [run for run in runs if run.directory not in removal.removed]
    running = any(run.state == "running" for run in runs)
    needed = {target for run in kept for target in _linked(run.directory)}
    for path in _folders(outputs, {run.directory for run in runs}):
        if path.name == LATEST and path.is_symlink():
            continue  # removed with its run
        if running:
            removal.kept[path] = "a run is running and may use it"
        elif is_locked(path):
            removal.kept[path] = "a process is working on it"
        elif path.name == SEEDS and kept:
            removal.kept[path] = "kept runs use its databases"
        elif any(target.is_relative_to(path.resolve()) for target in needed):
            removal.kept[path] = "kept runs link to it"
        else:
            removal.removed[path] = size_of(path)


def _folders(folder: Path, runs: set[Path]) -> Iterator[Path]:
    """The largest folders and files without a run in them, but each entry of the cache."""
    for path in sorted(folder.iterdir()):
        if path in runs:
            continue
        inner = path.is_dir() and not path.is_symlink()
        if inner and (any(path in run.parents for run in runs) or CACHE in (path.name, path.parent.name)):
            yield from _folders(path, runs)
        else:
            yield path


def _linked(run: Path) -> Iterable[Path]:
    """Where the links in a run's directory lead."""
    return (path.resolve() for path in run.iterdir() if path.is_symlink())


def remove(removal: Removal, outputs: Path) -> None:
    """Remove what is planned, runs first, and the folders below `outputs` that are then empty. A run that a process has
    taken up meanwhile stays; its reason is added."""
    for path in list(removal.removed):
        if not _remove(path):
            del removal.removed[path]
            removal.kept[path] = "a process has begun to work on it"
        folder = path.parent
        while outputs in folder.parents and not any(folder.iterdir()):
            folder.rmdir()
            folder = folder.parent


def _remove(path: Path) -> bool:
    link = path.parent / LATEST
    if link.is_symlink() and link.resolve() == path.resolve() and link != path:
        link.unlink()
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
        return True
    if not (path / LOCK).is_file():
        shutil.rmtree(path)
        return True
    with (path / LOCK).open("a") as lock:  # held meanwhile, so that no command resumes the run
        try:
            lock_file(lock, path, wait=False)
        except BlockingIOError:
            return False
        shutil.rmtree(path)
    return True


def show(console: Console, removal: Removal, done: bool) -> None:
    """Print what was or would be removed, what stays and why, and the total."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("removed" if done else "to be removed", overflow="fold")
    table.add_column("size", justify="right")
    for path, size in removal.removed.items():
        table.add_row(str(path), decimal(size))
    if removal.removed:
        console.print(table, highlight=False)
    for path, reason in removal.kept.items():
        console.print(f"kept: {path} ({reason})", markup=False, highlight=False, soft_wrap=True)
    total = decimal(sum(removal.removed.values()))
    if not removal.removed:
        console.print("nothing to remove", highlight=False)
    elif done:
        console.print(f"removed: {total}", highlight=False)
    else:
        text = f"{total} would be removed, nothing was: the same command with yes=true removes it"
        console.print(text, style="bold", highlight=False, soft_wrap=True)


def main(words: list[str], console: Console) -> None:
    settings = read_settings(words, CleanSettings)
    removal = plan_removal(settings)
    if settings.yes:
        remove(removal, settings.outputs)
    show(console, removal, done=settings.yes)


if __name__ == "__main__":
    with clear_errors():
        main(sys.argv[1:], stage_console())
