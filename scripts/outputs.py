"""The runs under outputs/: their state, their size, and which of them descends from which. Reads only."""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from core.manifest import Manifest, read_manifest
from core.settings import UserError

State = Literal["finished", "running", "interrupted", "unreadable"]
"""A run that is neither finished nor locked by a process was interrupted; "unreadable" is one of another version."""

MANIFEST, LOCK, LATEST = "manifest.json", ".lock", "latest"
_PLACES = (f"*/*/{MANIFEST}", f"ablations/*/*/*/{MANIFEST}")
"""<stage>/<run>/, and in an experiment's own outputs/ablations/runs/."""

_RUN_ID = re.compile(r"\d{8}-\d{6}(?:\.\d+)?-[0-9a-f]{8}")


@dataclass(frozen=True)
class FoundRun:
    """A run's directory. `stage` is its folder below outputs/; `problem` says why its manifest cannot be read; `latest`
    whether its stage's link points to it."""

    directory: Path
    stage: str
    manifest: Manifest | None
    problem: str
    state: State
    latest: bool

    @property
    def name(self) -> str:
        return self.directory.name

    @property
    def started(self) -> datetime | None:
        try:
            return datetime.fromisoformat(self.manifest.started) if self.manifest else None
        except ValueError:
            return None


def find_runs(outputs: Path) -> list[FoundRun]:
    """The runs of all stages, those of experiments included, by stage and start. Raises UserError without a directory
    `outputs`."""
    if not outputs.is_dir():
        raise UserError(f"outputs={outputs}: there is no such directory, so there are no runs")
    manifests = (path for pattern in _PLACES for path in outputs.glob(pattern))
    directories = sorted(path.parent for path in manifests if not path.parent.is_symlink())
    return [_found(directory, outputs) for directory in directories]


def _found(directory: Path, outputs: Path) -> FoundRun:
    manifest, problem = None, ""
    try:
        manifest = read_manifest(directory)
    except (UserError, OSError) as error:
        problem = str(error)
    finished = manifest is not None and manifest.status == "finished"
    state: State = "finished" if finished else "running" if is_locked(directory) else "interrupted"
    link = directory.parent / LATEST
    return FoundRun(
        directory=directory,
        stage=str(directory.parent.relative_to(outputs)),
        manifest=manifest,
        problem=problem,
        state=state if manifest or state == "running" else "unreadable",
        latest=link.is_symlink() and link.resolve() == directory.resolve(),
    )


def is_locked(directory: Path) -> bool:
    """Whether a process works on the run, or it is another user's. Asks for a shared lock and gives it back at once."""
    try:
        with (directory / LOCK).open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return False


def parents(runs: Iterable[FoundRun]) -> dict[str, frozenset[str]]:
    """By directory name, the runs that each run was made from, directly or not: those that its manifest names anywhere,
    its group, and what these were made from. An unfinished evaluation may not have recorded its models yet: it counts
    as made from every earlier training of its group."""
    by_name = {run.name: run for run in runs}
    direct = {name: _named(run, by_name) for name, run in by_name.items()}
    found: dict[str, frozenset[str]] = {}

    def ancestors(name: str, below: frozenset[str]) -> frozenset[str]:
        if name not in found:
            above = direct[name] - below  # a circle cannot come from our runs, but from an edited manifest
            result = frozenset(above).union(*(ancestors(other, below | {name}) for other in above))
            if below:
                return result
            found[name] = result - {name}
        return found[name]

    for name in by_name:
        ancestors(name, frozenset())
    return found


def _named(run: FoundRun, by_name: Mapping[str, FoundRun]) -> frozenset[str]:
    if run.manifest is None:
        return frozenset()
    manifest = run.manifest
    text = manifest.model_dump_json(include={"group", "config", "command", "inputs", "results"})
    named = set(_RUN_ID.findall(text)) & by_name.keys()
    if manifest.stage == "evaluate" and manifest.status != "finished":
        named |= {
            name
            for name, other in by_name.items()
            if other.manifest
            and other.manifest.stage == "train"
            and other.manifest.group == manifest.group
            and other.manifest.started <= manifest.started
        }
    return frozenset(named - {run.name})


def nearest(name: str, above: Mapping[str, frozenset[str]]) -> list[str]:
    """The direct parents of a run: its ancestors that are no ancestor of another one."""
    return sorted(other for other in above[name] if not any(other in above[between] for between in above[name]))


def descendants(name: str, above: Mapping[str, frozenset[str]]) -> list[str]:
    """All runs that were made from a run, directly or not."""
    return sorted(other for other, ancestors in above.items() if name in ancestors)


def size_of(path: Path) -> int:
    """The bytes of a file, or of all files below a directory; links are not followed."""
    if path.is_symlink() or not path.is_dir():
        return path.lstat().st_size
    total = 0
    for folder, _, files in os.walk(path):
        for file in files:
            try:
                total += (Path(folder) / file).lstat().st_size
            except FileNotFoundError:  # a running run removes its temporary files
                continue
    return total


def age(started: datetime | None) -> str:
    """Such as "5 min", "3 h" or "12 d"; "?" if unknown."""
    if started is None:
        return "?"
    zoned = started if started.tzinfo else started.replace(tzinfo=UTC)
    minutes = max(0, int((datetime.now(UTC) - zoned).total_seconds() // 60))
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h" if minutes < 48 * 60 else f"{minutes // 1440} d"
