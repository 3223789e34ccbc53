"""make bench-orchestration: how busy our client and pipeline keep a server, and what they cost.

The server is scripts.bench.mock_server, a process of its own. Ideal is what a client without any cost of its own would take.
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
from core.server_protocol import request_seed
from core.serving import Server, free_ports, running
from core.settings import UserError
from generation.llm.base import Request
from generation.llm.contexts import AgentContext
from generation.llm.openai import OpenAILLM
from generation.runner import AttemptSettings, Local, run, run_workers
from scripts.bench.recorded_run import Recorder, stage, write_answers
from scripts.bench.report import BenchSettings, Figure, Report, main


class OrchestrationSettings(BenchSettings):
    """`dialogues` × `calls` chained calls: `in_flight` at once where each takes `fixed_s`, `in_flight_heavy` at once where
    they take `mean_s` in the mean, lognormal with σ = 1. `played` dialogues of `pipeline` are played for the CPU a call costs;
    `crowd` at the same time, of `played` different ones, for the memory; their calls take `played_s` and `crowd_s`. `domains`
    empty means all bundled databases."""

    dialogues: int = Field(default=256, ge=1)
    calls: int = Field(default=8, ge=1)
    in_flight: int = Field(default=64, ge=1)
    fixed_s: float = 0.2
    in_flight_heavy: int = Field(default=128, ge=1)
    mean_s: float = 1.0
    pipeline: str = "user_oriented_exec"
    domains: tuple[str, ...] = ()
    played: int = Field(default=128, ge=1)
    played_s: float = 0.05
    crowd: int = Field(default=4096, ge=1)
    crowd_s: float = 1.0


TASK = Task(task_id="t", goal="g", subgoals=("g",), difficulty="easy", rubric=Rubric(criteria=()))
SYSTEM = "You help the members of a library. " * 20
WORDS = "I should like to know which of my books are due this week, please. " * 4


def measure(settings: OrchestrationSettings) -> Report:
    steady = _fixed(settings)
    heavy = _heavy(settings)
    pipeline = _pipeline(settings)
    figures = (
        Figure(name="fixed latency: ideal span over span", value=steady["share"], target=0.95, better="higher"),
        Figure(name="lognormal latency: bare loop's span over span", value=heavy["share"], target=0.9, better="higher"),
        Figure(name="client: CPU a call, ms", value=steady["cpu_ms"], target=1.0, better="lower"),
        Figure(name="pipeline: CPU a call, ms", value=pipeline["cpu_ms"], target=1.0, better="lower"),
        Figure(name=f"{settings.crowd} dialogues at once: GB", value=pipeline["crowd_gb"], target=2.0, better="lower"),
    )
    notes = {"fixed": steady, "lognormal": heavy, "pipeline": pipeline}
    return Report(name="orchestration", inputs=settings.model_dump(mode="json"), figures=figures, notes=notes)


def _fixed(settings: OrchestrationSettings) -> dict[str, Any]:
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
    """Ours and the bare loop in turn, with the same latencies for the same calls."""
    most = settings.in_flight_heavy
    with mock(settings, f"lognormal:{settings.mean_s}") as url:
        pairs = [(_span(ours(url, settings, most)), _span(bare(url, settings, most))) for _ in range(settings.repeats)]
    return {
        "ours_s": _rounded(own for own, _ in pairs),
        "bare_s": _rounded(other for _, other in pairs),
        "share": statistics.median(other / own for own, other in pairs),
    }


def _span(work: Callable[[], Coroutine[Any, Any, None]]) -> float:
    async def timed() -> float:
        began = time.monotonic()
        await work()
        return time.monotonic() - began

    return asyncio.run(timed())


def ours(url: str, settings: OrchestrationSettings, most: int) -> Callable[[], Coroutine[Any, Any, None]]:
    """The dialogues through the client, by workers as the pipeline's are."""

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
    """The same calls by the plainest loop over the same HTTP library."""

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
    """The real pipeline, its model played by the server from a recording: CPU a call, and the memory of a crowd."""
    folder = settings.directory / "orchestration"
    shutil.rmtree(folder, ignore_errors=True)
    answers = folder / "answers.tsv"
    _record(settings, folder, answers)
    runs = []
    with mock(settings, f"fixed:{settings.played_s}", answers) as url:
        for _ in range(settings.repeats):
            figures = _child(url, settings, settings.played, settings.in_flight, distinct=0)
            runs.append(figures | counts(url))
    with mock(settings, f"fixed:{settings.crowd_s}", answers) as url:
        crowd = _child(url, settings, settings.crowd, settings.crowd, distinct=settings.played)
        crowd |= counts(url)
    shutil.rmtree(folder)
    return {
        "cpu_ms": statistics.median(each["cpu_s"] / each["requests"] for each in runs) * 1e3,
        "crowd_gb": crowd["peak_bytes"] / 1e9,
        "runs": runs,
        "crowd": crowd,
        "crowd cpu_ms": crowd["cpu_s"] / crowd["requests"] * 1e3,
    }


def _record(settings: OrchestrationSettings, folder: Path, answers: Path) -> None:
    with stage(folder, settings.pipeline, settings.seed, settings.domains) as made:
        recorder = Recorder(made.components.llm())
        pipeline = made.pipeline(settings.pipeline, recorder)
        once = AttemptSettings(session=1, total=1, unanswered_in_a_row=settings.played)
        directory = folder / "recorded"
        asyncio.run(run(pipeline, directory, settings.played, 8, once, Local(), lambda outcome: None))
    write_answers(recorder, settings.seed, answers)


def _child(url: str, settings: OrchestrationSettings, n: int, concurrency: int, distinct: int) -> dict[str, Any]:
    given = {"base_url": url, "pipeline": settings.pipeline, "n": n, "concurrency": concurrency, "distinct": distinct}
    given |= {"warming": min(settings.played, 16), "seed": settings.seed, "domains": json.dumps(settings.domains)}
    words = [f"{key}={value}" for key, value in given.items()]
    command = [sys.executable, "-m", "scripts.bench.load_client", *words]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise UserError(f"scripts.bench.load_client ended with code {done.returncode}; what it said stands above")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def counts(url: str) -> dict[str, int]:
    """What the server counted since it was last asked. Raises UserError where it was asked what was never recorded."""
    with urllib.request.urlopen(f"{url.removesuffix('/v1')}/figures") as response:
        found = dict(json.load(response))
    if found["unknown"]:
        raise UserError(f"{found['unknown']} calls were never recorded: two runs of this pipeline do not ask the same")
    return found


@contextmanager
def mock(settings: OrchestrationSettings, latency: str, answers: Path | None = None) -> Iterator[str]:
    """The base URL of a mock server with this latency."""
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
