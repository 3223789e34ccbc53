"""A process that plays a real pipeline against a server and says what it cost: scripts.bench.orchestration starts it.

`python -m scripts.bench.load_client key=value …` prints one line of JSON. A process of its own, so that its memory and CPU are those of
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
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from core.settings import Settings
from generation.llm.base import LLM, Completion, Request
from generation.llm.openai import OpenAILLM
from generation.outcomes import Outcome
from generation.pipeline import Pipeline
from generation.runner import run_workers
from scripts.bench.recorded_run import stage
from scripts.launch import read_settings


class CrowdSettings(Settings):
    """`n` dialogues, `concurrency` at a time, the first `distinct` of the pipeline again and again (0: each once, and with journal
    and files as in any run). Databases are opened and prompts loaded before anything is measured, by `warming` dialogues."""

    base_url: str
    pipeline: str
    n: int
    concurrency: int
    distinct: int
    warming: int
    seed: int
    domains: tuple[str, ...]


def crowd(settings: CrowdSettings) -> dict[str, Any]:
    """What this process spent from the first dialogue to the last: requests, CPU, peak memory; what became of the dialogues."""
    outcomes: Counter[str] = Counter()

    def count(outcome: Outcome) -> None:
        outcomes[outcome.status] += 1

    with (
        tempfile.TemporaryDirectory() as folder,
        stage(Path(folder), settings.pipeline, settings.seed, settings.domains) as made,
    ):
        llm = partial(OpenAILLM, [settings.base_url], max_in_flight=None, outage_s=10.0, seed=settings.seed)
        first = made.pipeline(settings.pipeline, llm())
        asyncio.run(_again_and_again(first, settings.warming, settings.warming, settings.warming, ignore))
        counted = Counted(llm())
        pipeline = made.pipeline(settings.pipeline, counted)
        before, cpu, wall = _peak_bytes(), time.process_time(), time.monotonic()
        if settings.distinct:
            asyncio.run(_again_and_again(pipeline, settings.n, settings.distinct, settings.concurrency, count))
        else:
            asyncio.run(made.play(pipeline, Path(folder) / "run", settings.n, settings.concurrency, count))
        return {
            "requests": counted.requests,
            "cpu_s": time.process_time() - cpu,
            "wall_s": time.monotonic() - wall,
            "peak_bytes": _peak_bytes(),
            "peak_bytes_before": before,
            "outcomes": dict(outcomes),
        }


@dataclass
class Counted:
    """A model whose requests are counted."""

    llm: LLM
    requests: int = 0

    @property
    def name(self) -> str:
        return self.llm.name

    async def complete(self, request: Request) -> Completion:
        self.requests += 1
        return await self.llm.complete(request)

    async def close(self) -> None:
        await self.llm.close()


def ignore(outcome: Outcome) -> None:
    """For those that only warm up."""


async def _again_and_again(
    pipeline: Pipeline, n: int, distinct: int, concurrency: int, count: Callable[[Outcome], None]
) -> None:
    """The first `distinct` dialogues in turn, `n` in all, `concurrency` at a time."""
    numbers = iter(range(n))

    async def work() -> None:
        for number in numbers:
            count(await pipeline.dialogue(number % distinct))

    try:
        await run_workers(concurrency, work)
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
