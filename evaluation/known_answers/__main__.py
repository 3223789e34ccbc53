"""`python -m evaluation.known --port PORT --answers NAME`: a server with known answers, in a process of its own."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Callable

from evaluation.known import bfcl, tau2
from evaluation.known.server import Brain, serve

BRAINS: dict[str, Callable[[], Brain]] = {
    "bfcl": bfcl.GroundTruth,
    "bfcl-by-opening": lambda: bfcl.GroundTruth(by_opening=True),
    "bfcl-half": lambda: bfcl.half_broken(bfcl.GroundTruth()),
    "tau2": tau2.GoldActions,
    "tau2-nothing": lambda: tau2.nothing,
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A server with known answers on loopback.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--answers", choices=sorted(BRAINS), required=True)
    given = parser.parse_args()
    asyncio.run(serve(BRAINS[given.answers](), given.port))
