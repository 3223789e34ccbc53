"""How a stage's main ends: with one line and an exit code for what the user can fix."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

STAGE = """
import errno, os, sys
from pathlib import Path
from core.settings import UserError
from scripts import launch
launch.CONF = Path("conf").resolve()
def main(config):
    print("seed", config.seed, flush=True)
    match config.seed:
        case 1: raise UserError("given [1], expected another")
        case 2: raise KeyboardInterrupt
        case 3: raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "results.jsonl")
        case 5: raise PermissionError(errno.EROFS, os.strerror(errno.EROFS), "/data/o/train")
        case 4: raise RuntimeError("a bug")
launch.hydra_main("train", main)
"""


@pytest.fixture
def stage(tmp_path: Path) -> Path:
    """A folder with a stage's program and its configuration."""
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "train.yaml").write_text("seed: 0")
    (tmp_path / "stage.py").write_text(STAGE)
    return tmp_path


def run_stage(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "stage.py", *arguments], cwd=folder, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("seed", "code", "error"),
    [
        (0, 0, ""),
        (1, 2, "given [1], expected another\n"),
        (2, 130, "stopped; the same command resumes the run\n"),
        (
            3,
            2,
            "the disk is full ([Errno 28] No space left on device: 'results.jsonl'); what was written before is intact\n",
        ),
        (
            5,
            2,
            "/data/o/train: Read-only file system; expected a place that you may read and write, such as your own "
            "outputs=…\n",
        ),
    ],
)
def test_a_main_ends_with_one_line_and_an_exit_code(stage: Path, seed: int, code: int, error: str) -> None:
    done = run_stage(stage, f"seed={seed}")
    assert (done.returncode, done.stdout, done.stderr) == (code, f"seed {seed}\n", error)
    assert {path.name for path in stage.iterdir()} == {"conf", "stage.py"}, "Hydra leaves no folders behind"


def test_a_bug_keeps_its_traceback(stage: Path) -> None:
    done = run_stage(stage, "seed=4")
    assert done.returncode == 1
    assert "RuntimeError: a bug" in done.stderr


@pytest.mark.parametrize("arguments", [("--multirun", "seed=6,7"), ("seed=6,7", "-m")])
def test_a_sweep_runs_each_value(stage: Path, arguments: tuple[str, ...]) -> None:
    done = run_stage(stage, *arguments)
    assert (done.returncode, done.stdout.split("\n")[:2]) == (0, ["seed 6", "seed 7"])
