"""make bench-orchestration: how busy client and pipeline keep a server, and what they cost.

The server is scripts.bench.mock_server in a separate process. The ideal span is that of a client without any overhead.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
from pydantic import Field

from core.dialogue import Rubric, Task
from core.messages import Message, SystemMessage, UserMessage
from core.server_protocol import open_url, request_seed
from core.servers import Server, free_ports, running
from core.settings import UserError
from generation.llm.base import Request
from generation.llm.contexts import AgentContext
from generation.llm.openai import OpenAILLM
from generation.runner import AttemptSettings, Local, run_pipeline, run_workers
from scripts.bench.benchmark import BenchSettings, Metric, Report, main
from scripts.bench.recorded_run import RecordingLLM, composed_generation, write_answers


class OrchestrationSettings(BenchSettings):
    """Settings of bench-orchestration."""

    dialogues: int = Field(default=256, ge=1, description="dialogues of chained calls, for the client")
    calls: int = Field(default=8, ge=1, description="calls of such a dialogue")
    in_flight: int = Field(default=64, ge=1, description="dialogues at the same time, with fixed latency")
    fixed_s: float = Field(default=0.2, description="fixed latency of a call, in seconds")
    in_flight_heavy: int = Field(
        default=128, ge=1, description="dialogues at the same time, with lognormal latency (σ = 1)"
    )
    mean_s: float = Field(default=1.0, description="mean lognormal latency of a call, in seconds")
    pipeline: str = Field(default="user_oriented_exec", description="pipeline to record and replay")
    domains: tuple[str, ...] = Field(default=(), description="bundled databases; empty: all")
    replayed: int = Field(default=128, ge=1, description="dialogues to replay, for the CPU time of a call")
    replayed_s: float = Field(default=0.05, description="latency of their calls, in seconds")
    concurrent: int = Field(default=4096, ge=1, description="dialogues all at the same time, for the memory")
    concurrent_s: float = Field(default=1.0, description="latency of their calls, in seconds")


TASK = Task(task_id="t", goal="g", subgoals=("g",), difficulty="easy", rubric=Rubric(criteria=()))
SYSTEM = "You help the members of a library. " * 20
WORDS = "I should like to know which of my books are due this week, please. " * 4


def measure(settings: OrchestrationSettings) -> Report:
    steady = _fixed(settings)
    heavy = _heavy(settings)
    pipeline = _pipeline(settings)
    metrics = (
        Metric(name="fixed latency: ideal span over span", value=steady["share"], target=0.95, better="higher"),
        Metric(name="lognormal latency: bare loop's span over span", value=heavy["share"], target=0.9, better="higher"),
        Metric(name="client: CPU per call, ms", value=steady["cpu_ms"], target=1.0, better="lower"),
        Metric(name="pipeline: CPU per call, ms", value=pipeline["cpu_ms"], target=1.0, better="lower"),
        Metric(
            name=f"{settings.concurrent} dialogues at once: GB",
            value=pipeline["concurrent_gb"],
            target=2.0,
            better="lower",
        ),
    )
    notes = {"fixed": steady, "lognormal": heavy, "pipeline": pipeline}
    return Report(name="orchestration", inputs=settings.model_dump(mode="json"), metrics=metrics, notes=notes)


def _fixed(settings: OrchestrationSettings) -> dict[str, Any]:
    """The client with fixed latency: its span compared with the ideal one, and its CPU time per call."""
    ideal = settings.dialogues * settings.calls * settings.fixed_s / settings.in_flight
    with mock(settings, f"fixed:{settings.fixed_s}") as url:
        spans, cpus = [], []
        for _ in range(settings.repeats):
            cpu = time.process_time()
            spans.append(_span(ours(url, settings, settings.in_flight)))
            cpus.append((time.process_time() - cpu) / (settings.dialogues * settings.calls))
    span = statistics.median(spans)
    return {
        "ideal_s": ideal,
        "spans_s": _rounded(spans),
        "share": ideal / span,
        "cpu_ms": statistics.median(cpus) * 1e3,
    }


def _heavy(settings: OrchestrationSettings) -> dict[str, Any]:
    """The client and the bare loop alternately, with the same latencies for the same calls."""
    most = settings.in_flight_heavy
    with mock(settings, f"lognormal:{settings.mean_s}") as url:
        pairs = [(_span(ours(url, settings, most)), _span(bare(url, settings, most))) for _ in range(settings.repeats)]
    return {
        "ours_s": _rounded(client for client, _ in pairs),
        "bare_s": _rounded(other for _, other in pairs),
        "share": statistics.median(bare_s / client_s for client_s, bare_s in pairs),
    }


def _span(work: Callable[[], Coroutine[Any, Any, None]]) -> float:
    async def timed() -> float:
        started = time.monotonic()
        await work()
        return time.monotonic() - started

    return asyncio.run(timed())


def ours(url: str, settings: OrchestrationSettings, most: int) -> Callable[[], Coroutine[Any, Any, None]]:
    """The dialogues through our client, with workers like the pipeline's."""

    async def work() -> None:
        llm = OpenAILLM([url], max_in_flight=most, seed=settings.seed)
        names = iter(dialogue_names(settings))

        async def dialogues() -> None:
            for name in names:
                messages: tuple[Message, ...] = (SystemMessage(content=SYSTEM),)
                for call in range(settings.calls):
                    messages = (*messages, UserMessage(content=WORDS))
                    context = AgentContext(task=TASK, task_start=1)
                    key = f"{name}/agent/{call}"
                    request = Request(role="agent", messages=messages, key=key, affinity=name, context=context)
                    messages = (*messages, (await llm.complete(request)).message)

        try:
            await run_workers(most, dialogues)
        finally:
            await llm.close()

    return work


def bare(url: str, settings: OrchestrationSettings, most: int) -> Callable[[], Coroutine[Any, Any, None]]:
    """The same calls from a minimal loop over the same HTTP library."""

    async def work() -> None:
        names = iter(dialogue_names(settings))
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

            async def dialogues() -> None:
                for name in names:
                    messages = [{"role": "system", "content": SYSTEM}]
                    for call in range(settings.calls):
                        messages.append({"role": "user", "content": WORDS})
                        body = {"messages": messages, "seed": request_seed(settings.seed, f"{name}/agent/{call}")}
                        async with session.post(f"{url}/chat/completions", json=body) as response:
                            messages.append((await response.json())["choices"][0]["message"])

            await run_workers(most, dialogues)

    return work


def dialogue_names(settings: OrchestrationSettings) -> list[str]:
    return [f"d{number}" for number in range(settings.dialogues)]


def _pipeline(settings: OrchestrationSettings) -> dict[str, Any]:
    """The real pipeline, with the server replaying recorded answers: CPU per call, and memory of many concurrent
    dialogues."""
    folder = settings.directory / "orchestration"
    shutil.rmtree(folder, ignore_errors=True)
    answers = folder / "answers.tsv"
    _record(settings, folder, answers)
    runs = []
    with mock(settings, f"fixed:{settings.replayed_s}", answers) as url:
        for _ in range(settings.repeats):
            cost = _run_load_client(url, settings, settings.replayed, settings.in_flight, distinct=0)
            runs.append(cost | counts(url))
    with mock(settings, f"fixed:{settings.concurrent_s}", answers) as url:
        concurrent = _run_load_client(
            url, settings, settings.concurrent, settings.concurrent, distinct=settings.replayed
        )
        concurrent |= counts(url)
    shutil.rmtree(folder)
    return {
        "cpu_ms": statistics.median(cost["cpu_s"] / cost["requests"] for cost in runs) * 1e3,
        "concurrent_gb": concurrent["peak_bytes"] / 1e9,
        "runs": runs,
        "concurrent": concurrent,
        "concurrent_cpu_ms": concurrent["cpu_s"] / concurrent["requests"] * 1e3,
    }


def _record(settings: OrchestrationSettings, folder: Path, answers: Path) -> None:
    """Run the pipeline with the scripted stand-in and write its answers for the mock server."""
    with composed_generation(folder, settings.pipeline, settings.seed, settings.domains) as generation:
        recorder = RecordingLLM(generation.components.llm())
        pipeline = generation.pipeline(settings.pipeline, recorder)
        once = AttemptSettings(session=1, total=1, unanswered_in_a_row=settings.replayed)
        directory = folder / "recorded"
        asyncio.run(run_pipeline(pipeline, directory, settings.replayed, 8, once, Local(), lambda outcome: None))
    write_answers(recorder, settings.seed, answers)


def _run_load_client(
    url: str, settings: OrchestrationSettings, n: int, concurrency: int, distinct: int
) -> dict[str, Any]:
    """The cost that scripts.bench.load_client reports."""
    options = {"base_url": url, "pipeline": settings.pipeline, "n": n, "concurrency": concurrency, "distinct": distinct}
    options |= {"warming": min(settings.replayed, 16), "seed": settings.seed, "domains": json.dumps(settings.domains)}
    words = [f"{key}={value}" for key, value in options.items()]
    command = [sys.executable, "-m", "scripts.bench.load_client", *words]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise UserError(f"scripts.bench.load_client ended with code {done.returncode}; see its output above")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def counts(url: str) -> dict[str, int]:
    """The server's counts since the last call. Raises UserError if it got a request that was not recorded."""
    with open_url(urllib.request.Request(f"{url.removesuffix('/v1')}/counts"), 60) as response:
        server_counts = dict(json.load(response))
    if unrecorded := server_counts["unrecorded"]:
        raise UserError(f"{unrecorded} calls were not recorded: two runs of this pipeline send different requests")
    return server_counts


@contextmanager
def mock(settings: OrchestrationSettings, latency: str, answers: Path | None = None) -> Iterator[str]:
    """Run a mock server with this latency; yields its base URL."""
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "scripts.bench.mock_server", "--port", str(port), "--latency", latency]
    command += ["--answers", str(answers)] if answers else []
    server = Server(tuple(command), port, settings.directory / "mock_server.log")
    with running([server], "the mock server", 60.0) as (url,):
        yield url


def _rounded(seconds: Any) -> list[float]:
    return [round(value, 3) for value in seconds]


if __name__ == "__main__":
    main(OrchestrationSettings, measure)
