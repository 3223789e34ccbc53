"""make soak [kills=50] [n=400] [seed=0]: kill -9 a generation at random times and compare it with a calm run."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from pydantic import Field
from rich.progress import track

from core.console import stage_console
from core.settings import Settings, UserError
from scripts.launch import clear_errors, read_settings

EARLY = 0.2
"""Share of kills before the session's first outcome; the other kills come after it."""
SPAN = 0.8
"""Later kills are spread over this share of the undisturbed run's duration, so that the killed run outlives them."""


class SoakSettings(Settings):
    kills: int = Field(default=50, ge=1, description="how many times the run is killed")
    n: int = Field(default=400, ge=1, description="dialogues per pipeline")
    seed: int = Field(default=0, ge=0, description="seed of the kill times")


def command(outputs: Path, n: int) -> list[str]:
    words = [
        f"outputs={outputs}",
        f"n={n}",
        "pipeline=all",
        "tracking.mode=disabled",
        f"domains.cache={outputs.parent}/seeds",
    ]
    return [sys.executable, "-m", "scripts.generate", "profile=tiny", *words]


def journals(outputs: Path) -> dict[Path, int]:
    return {path: path.stat().st_size for path in outputs.glob("generate/*/*/journal*.jsonl")}


def kill_once(outputs: Path, n: int, rng: random.Random, longest_s: float) -> bool:
    """Start the run and kill it before its first outcome or at most `longest_s` later; False if it ended earlier."""
    before = sum(journals(outputs).values())
    with subprocess.Popen(command(outputs, n), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        early = rng.random() < EARLY
        deadline = time.monotonic() + (rng.uniform(0.1, 6.0) if early else 120.0)
        while process.poll() is None and time.monotonic() < deadline:
            if not early and sum(journals(outputs).values()) > before:
                time.sleep(rng.uniform(0.0, longest_s))
                break
            time.sleep(0.01)
        if process.poll() is not None:
            return False
        process.send_signal(signal.SIGKILL)
        return process.wait() == -signal.SIGKILL


def final(outputs: Path) -> dict[str, bytes]:
    """Return the newest finished run's files that contain no times, by relative path."""
    latest = outputs / "generate" / "latest"
    if not latest.exists():
        raise UserError(f"no finished run under {outputs}")
    names = ("dialogues.jsonl", "rejected.jsonl", "dead_letters.jsonl", "toolsets.jsonl")
    return {str(p.relative_to(latest)): p.read_bytes() for name in names for p in sorted(latest.rglob(name))}


def soak(kills: int, n: int, seed: int) -> bool:
    """Return whether the killed run's files equal the undisturbed run's, byte for byte."""
    console, rng = stage_console(), random.Random(seed)
    os.environ["GIT_DIR"] = "/nonexistent"  # every line records the commit, which must not change during the test
    with tempfile.TemporaryDirectory() as folder:
        killed, calm = Path(folder) / "killed", Path(folder) / "calm"
        started = time.monotonic()
        subprocess.run(command(calm, n), check=True, stdout=subprocess.DEVNULL)
        longest_s = SPAN * (time.monotonic() - started) / kills
        kills_done = torn = 0
        for _ in track(range(kills), "killing", console=console):
            if not kill_once(killed, n, rng, longest_s):
                break
            kills_done += 1
            torn += any(not path.read_bytes().endswith(b"\n") for path in journals(killed) if path.stat().st_size)
        if kills_done == kills:
            subprocess.run(command(killed, n), check=True, stdout=subprocess.DEVNULL)
        runs = [path for path in (killed / "generate").iterdir() if not path.is_symlink()]
        same = final(killed) == final(calm) and len(runs) == 1
        size = sum(len(data) for data in final(calm).values())
    console.print(
        f"killed {kills_done} times, {torn} of them with a half-written line; {size:,} bytes of results are", end=" "
    )
    console.print("equal to an undisturbed run's" if same else "[red]NOT equal to an undisturbed run's[/]")
    if kills_done < kills:
        console.print(f"[yellow]the run ended before the other {kills - kills_done} kills: give a larger n[/]")
    return same


if __name__ == "__main__":
    with clear_errors():
        settings = read_settings(sys.argv[1:], SoakSettings)
        raise SystemExit(0 if soak(settings.kills, settings.n, settings.seed) else 1)
