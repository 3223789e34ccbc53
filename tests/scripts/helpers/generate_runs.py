"""make generate in this process and as a command, and the files it leaves."""

from __future__ import annotations

from pathlib import Path

from hydra import compose, initialize_config_dir

from scripts.generate import main
from scripts.launch import CONF, clear_errors, refuse_missing

BASE = ("profile=tiny", "tracking.mode=disabled", "pipeline=user_oriented_exec")


GYM = "domains.names=[gym]"


def generate(outputs: Path, *overrides: str) -> Path:
    """Run the stage in this process as its main does; returns the newest finished run."""
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        config = compose("generate", [*BASE, f"outputs={outputs}", *overrides])
    with clear_errors():
        refuse_missing(config)
        main(config)
    return (outputs / "generate" / "latest").resolve()


def contents(run: Path) -> dict[str, bytes]:
    return {str(path.relative_to(run)): path.read_bytes() for path in sorted(run.rglob("*")) if path.is_file()}


def final(run: Path) -> dict[str, bytes]:
    """Read the files that contain no times."""
    return {name: data for name, data in contents(run).items() if name.endswith(("dialogues.jsonl", "rejected.jsonl"))}
