"""A process that plays a real pipeline against a server and says what it cost: scripts.bench.orchestration starts it.

`python -m scripts.bench.crowd key=value …` prints one line of JSON. A process of its own, so that its memory and CPU are those of
an orchestrator and of nothing else.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from core.settings import Settings
from generation.llm.openai import OpenAILLM
from generation.outcomes import Outcome
from generation.pipeline import Pipeline
from generation.running import run_workers
from scripts.bench.played import stage
from scripts.bench.report import read_settings


class CrowdSettings(Settings):
    """`n` dialogues, `concurrency` at a time, the first `distinct` of the pipeline again and again (0: each once, and with journal
    and files as in any run)."""

    base_url: str
    pipeline: str
    n: int
    concurrency: int
    distinct: int
    seed: int
    domains: tuple[str, ...]


def crowd(settings: CrowdSettings) -> dict[str, Any]:
    """CPU seconds of this process from the first dialogue to the last, its peak memory, and what became of the dialogues."""
    outcomes: Counter[str] = Counter()

    def count(outcome: Outcome) -> None:
        outcomes[outcome.status] += 1

    with (
        tempfile.TemporaryDirectory() as folder,
        stage(Path(folder), settings.pipeline, settings.seed, settings.domains) as made,
    ):
        llm = OpenAILLM([settings.base_url], max_in_flight=None, seed=settings.seed)
        pipeline = made.pipeline(settings.pipeline, llm)
        before = _peak_bytes()
        cpu, wall = time.process_time(), time.monotonic()
        if settings.distinct:
            asyncio.run(_again_and_again(pipeline, settings, count))
        else:
            asyncio.run(made.play(pipeline, Path(folder) / "run", settings.n, settings.concurrency, count))
        return {
            "cpu_s": time.process_time() - cpu,
            "wall_s": time.monotonic() - wall,
            "peak_bytes": _peak_bytes(),
            "peak_bytes_before": before,
            "outcomes": dict(outcomes),
        }


async def _again_and_again(pipeline: Pipeline, settings: CrowdSettings, count: Callable[[Outcome], None]) -> None:
    numbers = iter(range(settings.n))

    async def work() -> None:
        for number in numbers:
            count(await pipeline.dialogue(number % settings.distinct))

    try:
        await run_workers(settings.concurrency, work)
    finally:
        await pipeline.llm.close()


def _peak_bytes() -> int:
    """The most memory that was resident. On Linux not getrusage's, which counts the parent's until the process became this one."""
    status = Path("/proc/self/status")
    for line in status.read_text().splitlines() if status.is_file() else ():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    print(json.dumps(crowd(read_settings(sys.argv[1:], CrowdSettings))))
