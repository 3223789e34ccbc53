"""make soak [kills=50] [n=400] [seed=0]: kill -9 one generation at random moments, let it end, compare with an undisturbed one."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.progress import track

from core.console import stage_console
from core.settings import UserError
from scripts.launch import clear_errors

KEYS = {"kills": 50, "n": 400, "seed": 0}
EARLY = 0.2
"""The share of kills that come before the first outcome of a session; the others come after it."""
SPAN = 0.8
"""Those others are spread over so much of what the undisturbed run took, so that the killed one outlives them."""


def command(outputs: Path, n: int) -> list[str]:
    words = [
        f"outputs={outputs}",
        f"n={n}",
        "pipeline=all",
        "tracking.mode=disabled",
        f"domains.cache={outputs.parent}/seeds",
    ]
    return [sys.executable, "-m", "scripts.generate", *words]


def journals(outputs: Path) -> dict[Path, int]:
    return {path: path.stat().st_size for path in outputs.glob("generate/*/*/journal*.jsonl")}


def kill_once(outputs: Path, n: int, rng: random.Random, longest_s: float) -> bool:
    """Start the run and kill it, within `longest_s` of its first outcome or before that; False where it had ended before."""
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
    """The files of the newest finished run that hold no times."""
    latest = outputs / "generate" / "latest"
    if not latest.exists():
        raise UserError(f"no finished run under {outputs}")
    names = ("dialogues.jsonl", "rejected.jsonl", "dead_letters.jsonl", "toolsets.jsonl")
    return {str(p.relative_to(latest)): p.read_bytes() for name in names for p in sorted(latest.rglob(name))}


def soak(kills: int, n: int, seed: int) -> bool:
    """Whether the killed run's files equal the undisturbed one's, byte for byte."""
    console, rng = stage_console(), random.Random(seed)
    os.environ["GIT_DIR"] = "/nonexistent"  # the commit stands in every line and must not change meanwhile
    with tempfile.TemporaryDirectory() as folder:
        killed, calm = Path(folder) / "killed", Path(folder) / "calm"
        began = time.monotonic()
        subprocess.run(command(calm, n), check=True, stdout=subprocess.DEVNULL)
        longest_s = SPAN * (time.monotonic() - began) / kills
        done = torn = 0
        for _ in track(range(kills), "killing", console=console):
            if not kill_once(killed, n, rng, longest_s):
                break
            done += 1
            torn += any(not path.read_bytes().endswith(b"\n") for path in journals(killed) if path.stat().st_size)
        if done == kills:
            subprocess.run(command(killed, n), check=True, stdout=subprocess.DEVNULL)
        runs = [path for path in (killed / "generate").iterdir() if not path.is_symlink()]
        same = final(killed) == final(calm) and len(runs) == 1
        size = sum(len(data) for data in final(calm).values())
    console.print(
        f"killed {done} times, {torn} of them with a line half written; {size:,} bytes of results are", end=" "
    )
    console.print("equal to an undisturbed run's" if same else "[red]NOT those of an undisturbed run[/]")
    if done < kills:
        console.print(f"[yellow]the run ended before the other {kills - done} kills: give a larger n[/]")
    return same


if __name__ == "__main__":
    with clear_errors():
        given = dict(word.split("=", 1) for word in sys.argv[1:] if "=" in word)
        if unknown := set(given) - set(KEYS):
            raise UserError(f"unknown key {sorted(unknown)}; expected {', '.join(KEYS)}")
        if wrong := [f"{key}={value}" for key, value in given.items() if not value.isdigit()]:
            raise UserError(f"{wrong[0]} was given; a whole number is expected")
        raise SystemExit(0 if soak(**(KEYS | {key: int(value) for key, value in given.items()})) else 1)
