"""`python -m evaluation.known_answers --port PORT --answers NAME`: a server with known answers, in a process of its own."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Callable

from evaluation.known_answers import bfcl_model, tau2_model
from evaluation.known_answers.server import AnswerPolicy, serve

BRAINS: dict[str, Callable[[], AnswerPolicy]] = {
    "bfcl": bfcl_model.GroundTruth,
    "bfcl-by-opening": lambda: bfcl_model.GroundTruth(by_opening=True),
    "bfcl-half": lambda: bfcl_model.half_broken(bfcl_model.GroundTruth()),
    "tau2": tau2_model.GoldActions,
    "tau2-nothing": lambda: tau2_model.nothing,
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A server with known answers on loopback.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--answers", choices=sorted(BRAINS), required=True)
    given = parser.parse_args()
    asyncio.run(serve(BRAINS[given.answers](), given.port))
