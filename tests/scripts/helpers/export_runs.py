"""make export in this process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir

from scripts import export as export_script
from scripts.launch import CONF


def run_stage(script: Any, name: str, outputs: Path, *overrides: str) -> Path:
    """Run a stage; returns its newest finished run."""
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        script.main(compose(name, [f"outputs={outputs}", *overrides]))
    return (outputs / name / "latest").resolve()


def export(outputs: Path, *overrides: str) -> Path:
    """An export of the newest generation, not compared with benchmarks."""
    return run_stage(export_script, "export", outputs, "benchmarks=[]", *overrides)
