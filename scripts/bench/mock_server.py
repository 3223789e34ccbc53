"""An OpenAI-compatible server in a process of its own that answers at once or after a drawn while, and counts its guests.

`python -m scripts.bench.mock_server --port PORT --latency fixed:0.2|lognormal:1.0 [--answers FILE]`. What it says and how long
that takes follow from the request's `seed` alone. Lognormal latency has σ = 1 and the given mean. Requests are not parsed,
only searched for their seed, so that the server costs as little as it can on the machine that it shares with its clients.
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
    """What --latency says: seed -> seconds. Raises ValueError."""
    kind, _, number = text.partition(":")
    mean = float(number)
    if kind == "fixed":
        return lambda seed: mean
    if kind == "lognormal":
        mu = math.log(mean) - SIGMA**2 / 2
        return lambda seed: random.Random(seed).lognormvariate(mu, SIGMA)
    raise ValueError(f"--latency {text}: expected fixed:SECONDS or lognormal:MEAN")


class Mock:
    """`answers` maps seeds to whole replies; without it every reply is the same."""

    def __init__(self, seconds: Callable[[int], float], answers: dict[int, bytes] | None) -> None:
        self.seconds = seconds
        self.answers = answers
        self.counts = {"calls": 0, "now": 0, "most": 0, "unknown": 0}

    async def chat(self, request: web.BaseRequest) -> web.Response:
        found = _SEED.search(await request.read())
        seed = int(found[1]) if found else -1
        counts = self.counts
        counts["calls"] += 1
        counts["now"] += 1
        counts["most"] = max(counts["most"], counts["now"])
        try:
            if wait := self.seconds(seed):
                await asyncio.sleep(wait)
        finally:
            counts["now"] -= 1
        if self.answers is None:
            return web.Response(body=_CHAT, content_type="application/json")
        if seed not in self.answers:
            counts["unknown"] += 1
            return web.Response(status=400, text=f"no answer was recorded for the seed {seed}")
        return web.Response(body=self.answers[seed], content_type="application/json")

    def figures(self) -> web.Response:
        """The counts since they were last asked for: calls, most at once, calls without an answer."""
        told = dict(self.counts)
        self.counts.update(calls=0, most=self.counts["now"], unknown=0)
        return web.json_response(told)

    async def answer(self, request: web.BaseRequest) -> web.Response:
        """Without a router, which would cost more than the rest."""
        if request.path == "/v1/chat/completions":
            return await self.chat(request)
        if request.path == "/v1/models":
            return web.json_response({"object": "list", "data": [{"id": MODEL, "object": "model"}]})
        return self.figures() if request.path == "/figures" else web.Response(status=404)


async def serve(mock: Mock, port: int) -> None:
    """Until the process is ended."""
    runner = web.ServerRunner(web.Server(mock.answer, access_log=None))
    await runner.setup()
    # All dialogues of a benchmark may connect in the same moment.
    await web.TCPSite(runner, "127.0.0.1", port, backlog=8192).start()
    await asyncio.Event().wait()


def read_answers(path: Path) -> dict[int, bytes]:
    """Lines of `seed<TAB>reply`."""
    pairs = (line.rstrip(b"\n").split(b"\t", 1) for line in path.open("rb"))
    return {int(seed): reply for seed, reply in pairs}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A mock OpenAI server on loopback.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--latency", default="fixed:0")
    parser.add_argument("--answers", type=Path)
    given = parser.parse_args()
    mock = Mock(latency(given.latency), read_answers(given.answers) if given.answers else None)
    asyncio.run(serve(mock, given.port))
