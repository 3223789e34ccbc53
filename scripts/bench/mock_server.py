"""A mock OpenAI-compatible server that answers after a fixed or random latency and counts its requests.

`python -m scripts.bench.mock_server --port PORT --latency fixed:0.2|lognormal:1.0 [--answers FILE]`. Answer and latency
depend only on the request's `seed`. Lognormal latency has σ = 1 and the given mean. Requests are not parsed, only
searched for their seed, to use little CPU on the machine shared with the clients.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import random
import re
from collections.abc import Callable
from pathlib import Path

from aiohttp import web

MODEL = "mock"
SIGMA = 1.0
_SEED = re.compile(rb'"seed": ?(\d+)')
_CHAT = json.dumps(
    {
        "id": "chatcmpl-mock",
        "object": "chat.completion",
        "model": MODEL,
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "All right."}}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 3, "total_tokens": 103},
    }
).encode()


def latency(text: str) -> Callable[[int], float]:
    """Parse --latency: a function seed -> seconds. Raises ValueError."""
    kind, _, number = text.partition(":")
    mean = float(number)
    if kind == "fixed":
        return lambda seed: mean
    if kind == "lognormal":
        mu = math.log(mean) - SIGMA**2 / 2
        return lambda seed: random.Random(seed).lognormvariate(mu, SIGMA)
    raise ValueError(f"--latency {text}: expected fixed:SECONDS or lognormal:MEAN")


class MockServer:
    """The server. `answers` maps seeds to complete replies; without it every reply is the same."""

    def __init__(self, seconds: Callable[[int], float], answers: dict[int, bytes] | None) -> None:
        self.seconds = seconds
        self.answers = answers
        self.counts = {"calls": 0, "in_flight": 0, "max_in_flight": 0, "unrecorded": 0}

    async def chat(self, request: web.BaseRequest) -> web.Response:
        match = _SEED.search(await request.read())
        seed = int(match[1]) if match else -1
        counts = self.counts
        counts["calls"] += 1
        counts["in_flight"] += 1
        counts["max_in_flight"] = max(counts["max_in_flight"], counts["in_flight"])
        try:
            if wait := self.seconds(seed):
                await asyncio.sleep(wait)
        finally:
            counts["in_flight"] -= 1
        if self.answers is None:
            return web.Response(body=_CHAT, content_type="application/json")
        if seed not in self.answers:
            counts["unrecorded"] += 1
            return web.Response(status=400, text=f"no answer was recorded for the seed {seed}")
        return web.Response(body=self.answers[seed], content_type="application/json")

    def take_counts(self) -> web.Response:
        """The counts since the last call: requests, requests in flight and their maximum, requests without an
        answer."""
        taken = dict(self.counts)
        self.counts.update(calls=0, max_in_flight=self.counts["in_flight"], unrecorded=0)
        return web.json_response(taken)

    async def answer(self, request: web.BaseRequest) -> web.Response:
        """Handle a request; a router would cost more than everything else."""
        if request.path == "/v1/chat/completions":
            return await self.chat(request)
        if request.path == "/v1/models":
            return web.json_response({"object": "list", "data": [{"id": MODEL, "object": "model"}]})
        return self.take_counts() if request.path == "/counts" else web.Response(status=404)


async def serve(mock: MockServer, port: int) -> None:
    """Serve until the process ends."""
    runner = web.ServerRunner(web.Server(mock.answer, access_log=None))
    await runner.setup()
    # All dialogues of a benchmark may connect at the same moment.
    await web.TCPSite(runner, "127.0.0.1", port, backlog=8192).start()
    await asyncio.Event().wait()


def read_answers(path: Path) -> dict[int, bytes]:
    """Read lines of `seed<TAB>reply`."""
    pairs = (line.rstrip(b"\n").split(b"\t", 1) for line in path.open("rb"))
    return {int(seed): reply for seed, reply in pairs}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A mock OpenAI server on loopback.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--latency", default="fixed:0")
    parser.add_argument("--answers", type=Path)
    options = parser.parse_args()
    mock = MockServer(latency(options.latency), read_answers(options.answers) if options.answers else None)
    asyncio.run(serve(mock, options.port))
