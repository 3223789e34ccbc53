"""Three runs of which each was made from the one before, and a run that another process works on."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from core.runs import open_run
from tests.helpers.paths import ROOT

_WORK = """
import sys
from pathlib import Path
from core.runs import open_run
with open_run(Path(sys.argv[1]), sys.argv[2], {"n": 9}) as run:
    print(run.directory, flush=True)
    sys.stdin.read()
"""


def three_runs(outputs: Path) -> tuple[Path, Path, Path]:
    """A generation of 1,000 bytes more than its manifest, a training on it and an evaluation of that."""
    with open_run(outputs, "generate", {"n": 3}) as generation:
        (generation.directory / "dialogues.jsonl").write_bytes(b"x" * 1000)
        generation.finish({})
    with open_run(outputs, "train", {"data": None}, group=generation.manifest.run_id) as training:
        cached = outputs / "cache" / "models" / "needed"
        cached.mkdir(parents=True)
        (training.directory / "untrained").symlink_to(cached, target_is_directory=True)
        training.finish({"generations": [generation.manifest.run_id]})
    model = {"label": "trained", "model": str(training.directory / "checkpoint")}
    with open_run(outputs, "evaluate", {"models": None}, group=generation.manifest.run_id) as evaluation:
        evaluation.finish({"models": [model]})
    return generation.directory, training.directory, evaluation.directory


def interrupted_run(outputs: Path, stage: str, group: str | None = None) -> Path:
    with open_run(outputs, stage, {"n": 4}, group=group) as run:
        pass
    return run.directory


@contextmanager
def running_run(outputs: Path, stage: str) -> Iterator[Path]:
    """A run whose lock another process holds."""
    command = [sys.executable, "-c", _WORK, str(outputs), stage]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdin
        try:
            yield Path(process.stdout.readline().strip())
        finally:
            process.stdin.close()


def everything_below(folder: Path) -> dict[Path, tuple[int, int]]:
    """Each file with its size and time of change, to see that nothing was written."""
    paths = (path for path in folder.rglob("*"))
    return {path: (path.lstat().st_size, path.lstat().st_mtime_ns) for path in paths}
