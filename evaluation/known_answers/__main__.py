"""Serves known answers: `python -m evaluation.known_answers --port PORT --answers NAME`."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Callable

from evaluation.known_answers import bfcl_model, tau2_guide, tau2_model
from evaluation.known_answers.server import AnswerPolicy, serve

POLICIES: dict[str, Callable[[], AnswerPolicy]] = {
    "bfcl": bfcl_model.GroundTruth,
    "bfcl-by-opening": lambda: bfcl_model.GroundTruth(by_opening=True),
    "bfcl-half": lambda: bfcl_model.half_wrong(bfcl_model.GroundTruth()),
    "tau2": tau2_model.GoldActions,
    "tau2-guide": tau2_guide.GuideByGoldActions,
    "tau2-greet": lambda: tau2_guide.only_greet,
    "tau2-vague": lambda: tau2_guide.guide_vaguely,
    "tau2-nothing": lambda: tau2_model.greet_and_wait,
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A server with known answers on loopback.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--answers", choices=sorted(POLICIES), required=True)
    arguments = parser.parse_args()
    asyncio.run(serve(POLICIES[arguments.answers](), arguments.port))
