"""Run directories: outputs/<stage>/<run id>/ with manifest and lock; `latest` links to the newest finished run."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from core.files import write_json
from core.locks import lock_file
from core.manifest import Manifest, code_and_machine, read_manifest
from core.settings import UserError


class Run:
    """An open, locked run. As a context manager it leaves the run unfinished unless `finish` was called inside."""

    def __init__(self, directory: Path, manifest: Manifest, lock: IO[str], resumed: bool) -> None:
        self.directory = directory
        self.manifest = manifest
        self.resumed = resumed
        self._lock = lock
        self._clock = time.monotonic()

    def finish(self, results: dict[str, Any], latest: bool = True) -> None:
        """Mark the run finished; with `latest`, point the stage's `latest` link to it."""
        self.manifest = self.manifest.model_copy(
            update={
                "status": "finished",
                "finished": _now(),
                "seconds": round(self.manifest.seconds + time.monotonic() - self._clock, 3),
                "results": results,
            }
        )
        self.write_manifest()
        if latest:
            link = self.directory.parent / f".latest-{self.manifest.run_id}"
            link.unlink(missing_ok=True)
            link.symlink_to(self.directory.name)
            link.replace(self.directory.parent / "latest")
        self._lock.close()

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Without `finish`, keep the time so far; the same command resumes the run."""
        if self._lock.closed:
            return
        seconds = round(self.manifest.seconds + time.monotonic() - self._clock, 3)
        self.manifest = self.manifest.model_copy(update={"seconds": seconds})
        self.write_manifest()
        self._lock.close()

    def write_manifest(self) -> None:
        write_json(self.directory / "manifest.json", self.manifest.model_dump(exclude_none=True))


def open_run(
    outputs: Path,
    stage: str,
    config: dict[str, Any],
    inputs: dict[str, str] | None = None,
    group: str | None = None,
    neutral: tuple[str, ...] = ("outputs", "tracking"),
    resume: Path | None = None,
) -> Run:
    """Resume the newest unlocked, unfinished run with this fingerprint, or start one; `resume` selects exactly one run.

    The fingerprint covers `config` without the `neutral` keys, which do not change results (dotted: `llm.base_urls`),
    and `inputs` (name -> hash). `group` is the W&B group; without it, a new run's id is its group. Raises UserError if
    `resume` is finished, locked, or differs; the message names the differences.
    """
    inputs = inputs or {}
    fingerprint = _fingerprint(config, inputs, neutral)
    if resume:
        return _resume(resume, fingerprint, config, inputs, neutral)
    stage_directory = outputs / stage
    stage_directory.mkdir(parents=True, exist_ok=True)
    return _find_unfinished(stage_directory, fingerprint) or _start(stage_directory, fingerprint, config, inputs, group)


def _fingerprint(config: dict[str, Any], inputs: dict[str, str], neutral: tuple[str, ...]) -> str:
    identity = json.dumps([_without(config, neutral), inputs], sort_keys=True, default=str)
    return hashlib.sha256(identity.encode()).hexdigest()[:16]


def _resume(
    directory: Path, fingerprint: str, config: dict[str, Any], inputs: dict[str, str], neutral: tuple[str, ...]
) -> Run:
    """Resume exactly this run. Raises UserError as `open_run` does."""
    manifest = read_manifest(directory)
    if manifest.fingerprint != fingerprint:
        differences = _differences(_without(manifest.config, neutral), _without(config, neutral))
        differences += _differences(manifest.inputs, inputs)
        raise UserError(f"resume={directory}: this run has another configuration: {'; '.join(differences)}")
    if manifest.status == "finished":
        raise UserError(f"resume={directory}: this run is finished")
    if not (lock := _try_lock(directory)):
        raise UserError(f"resume={directory}: another process is working on this run, or it is another user's")
    return Run(directory, manifest, lock, resumed=True)


def _find_unfinished(stage_directory: Path, fingerprint: str) -> Run | None:
    """Resume the newest unfinished run with this fingerprint that no other process has locked."""
    runs = (path for path in stage_directory.iterdir() if path.is_dir() and not path.is_symlink())
    for directory in sorted(runs, reverse=True):
        if not directory.name.endswith(fingerprint[:8]) or not (directory / "manifest.json").is_file():
            continue
        manifest = read_manifest(directory)
        if manifest.status == "running" and (lock := _try_lock(directory)):
            return Run(directory, manifest, lock, resumed=True)
    return None


def _start(
    stage_directory: Path, fingerprint: str, config: dict[str, Any], inputs: dict[str, str], group: str | None
) -> Run:
    """Create a run directory with its lock and manifest."""
    directory = _new_directory(stage_directory, fingerprint)
    try:
        lock = _try_lock(directory)
    except UserError:
        shutil.rmtree(directory)
        raise
    assert lock, "a new directory is not locked"
    manifest = Manifest(
        run_id=directory.name,
        stage=stage_directory.name,
        group=group or directory.name,
        status="running",
        fingerprint=fingerprint,
        config=config,
        inputs=inputs,
        started=_now(),
        **code_and_machine(),
    )
    run = Run(directory, manifest, lock, resumed=False)
    run.write_manifest()
    return run


def _new_directory(stage_directory: Path, fingerprint: str) -> Path:
    """Create <UTC time>-<fingerprint>, or <UTC time>.2-<fingerprint> etc. if several runs start in the same second."""
    started = f"{datetime.now(UTC):%Y%m%d-%H%M%S}"
    directory = stage_directory / f"{started}-{fingerprint[:8]}"
    attempt = 1
    while directory.exists():
        attempt += 1
        directory = stage_directory / f"{started}.{attempt}-{fingerprint[:8]}"
    directory.mkdir()
    return directory


def _without(config: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """Return `config` without the named keys; a dotted name is a nested key."""
    remaining = {key: value for key, value in config.items() if key not in names}
    for key, value in remaining.items():
        nested = tuple(name.removeprefix(f"{key}.") for name in names if name.startswith(f"{key}."))
        if nested and isinstance(value, dict):
            remaining[key] = _without(value, nested)
    return remaining


def _differences(before: Any, now: Any, name: str = "") -> list[str]:
    """Describe each value that changed, by its dotted name."""
    if isinstance(before, dict) and isinstance(now, dict):
        keys = sorted(before.keys() | now.keys())
        parts = (_differences(before.get(key), now.get(key), f"{name}.{key}" if name else key) for key in keys)
        return [difference for part in parts for difference in part]
    if before == now:
        return []
    return [f"{name} was {json.dumps(before, default=str)} and is {json.dumps(now, default=str)}"]


def newest_run(outputs: Path, stage: str) -> Path | None:
    """Return the newest finished run of a stage, or None. Raises UserError if it is gone."""
    link = outputs / stage / "latest"
    if link.is_symlink() and not link.exists():
        raise UserError(f"{link} links to {link.readlink()}, which is gone: name another run, or remove the link")
    return link.resolve() if link.exists() else None


def latest(outputs: Path, stage: str, command: str) -> Path:
    """Return the newest finished run of a stage. Raises a UserError naming the command that creates one."""
    if run := newest_run(outputs, stage):
        return run
    raise UserError(f"no finished {stage} run under {outputs / stage}: run `{command}` first, or name a run")


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, or of a directory's relative file names and bytes."""
    digest = hashlib.sha256()
    for file in [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file()):
        if path.is_dir():
            digest.update(str(file.relative_to(path)).encode())
        with file.open("rb") as stream:
            while chunk := stream.read(1 << 20):
                digest.update(chunk)
    return digest.hexdigest()


def _try_lock(directory: Path) -> IO[str] | None:
    """Lock a run directory for this process; None if another process has locked it, or if it is another user's. Closing
    the file unlocks it. Raises UserError if its file system has no locks."""
    try:
        lock = (directory / ".lock").open("w")
    except PermissionError:
        return None
    try:
        lock_file(lock, directory.parent, wait=False)
    except BlockingIOError:
        lock.close()
        return None
    except UserError:
        lock.close()
        raise
    return lock


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
