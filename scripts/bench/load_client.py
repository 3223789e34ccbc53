"""Run a real pipeline against a server and print what that cost; scripts.bench.orchestration starts it.

`python -m scripts.bench.load_client key=value …` prints one line of JSON. It is a separate process, so that its memory
and CPU are those of an orchestrator only.
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

from pydantic import Field

from core.settings import Settings
from generation.llm.base import LLM, Completion, Request
from generation.llm.openai import OpenAILLM
from generation.outcomes import Outcome
from generation.pipeline import Pipeline
from generation.runner import run_workers
from scripts.bench.recorded_run import composed_generation
from scripts.launch import read_settings


class LoadSettings(Settings):
    """Settings of the load client."""

    base_url: str = Field(description="the server")
    pipeline: str = Field(description="the pipeline to run")
    n: int = Field(description="dialogues")
    concurrency: int = Field(description="dialogues at the same time")
    distinct: int = Field(
        description="repeat this many first dialogues of the pipeline; 0: each dialogue once, with journal and files"
    )
    warming: int = Field(description="dialogues before the measurement, to open databases and load prompts")
    seed: int = Field(description="random seed")
    domains: tuple[str, ...] = Field(description="bundled databases; empty: all")


def run_load(settings: LoadSettings) -> dict[str, Any]:
    """Run the dialogues; returns this process's requests, CPU time, peak memory and outcomes."""
    outcomes: Counter[str] = Counter()

    def count(outcome: Outcome) -> None:
        outcomes[outcome.status] += 1

    with (
        tempfile.TemporaryDirectory() as folder,
        composed_generation(Path(folder), settings.pipeline, settings.seed, settings.domains) as generation,
    ):
        llm = partial(OpenAILLM, [settings.base_url], max_in_flight=None, outage_s=10.0, seed=settings.seed)
        first = generation.pipeline(settings.pipeline, llm())
        asyncio.run(_run_repeatedly(first, settings.warming, settings.warming, settings.warming, discard))
        counting = CountingLLM(llm())
        pipeline = generation.pipeline(settings.pipeline, counting)
        before, cpu, wall = _peak_bytes(), time.process_time(), time.monotonic()
        if settings.distinct:
            asyncio.run(_run_repeatedly(pipeline, settings.n, settings.distinct, settings.concurrency, count))
        else:
            asyncio.run(generation.run(pipeline, Path(folder) / "run", settings.n, settings.concurrency, count))
        return {
            "requests": counting.requests,
            "cpu_s": time.process_time() - cpu,
            "wall_s": time.monotonic() - wall,
            "peak_bytes": _peak_bytes(),
            "peak_bytes_before": before,
            "outcomes": dict(outcomes),
        }


@dataclass
class CountingLLM:
    """An LLM that counts its requests."""

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


def discard(outcome: Outcome) -> None:
    """Ignore the outcome of a warm-up dialogue."""


async def _run_repeatedly(
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
    """The most memory that was resident. On Linux not getrusage's, which counts the parent's until the process became
    this one."""
    status = Path("/proc/self/status")
    for line in status.read_text().splitlines() if status.is_file() else ():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    print(json.dumps(run_load(read_settings(sys.argv[1:], LoadSettings))))
