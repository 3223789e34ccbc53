"""Time of BFCL as we run it compared with the official command line: same categories, threads, server and answers."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import time
import urllib.request
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from core.server_protocol import open_url
from core.settings import UserError, closest
from evaluation.benchmark import EvaluationContext
from evaluation.bfcl.benchmark import Bfcl, BfclSettings
from evaluation.bfcl.categories import MEMORY, SIZES, WEB_SEARCH
from evaluation.endpoint import Endpoint
from evaluation.known_answers.check import known_answers
from evaluation.trials import TrialRecord
from scripts.bench.benchmark import Metric

CATEGORIES = tuple(category for category in SIZES if category not in (*MEMORY, *WEB_SEARCH))
OFFICIAL_MODEL = "openbmb/MiniCPM-SALA-FC"
"""A model that the official package sends to any OpenAI-compatible server without an own prompt template."""


def bfcl_cost(
    categories: tuple[str, ...], in_flight: int, repeats: int, directory: Path
) -> tuple[tuple[Metric, ...], dict[str, Any]]:
    """The metric and its inputs. Empty `categories` mean non-live, live and multi-turn, all 4,441 tasks.

    Raises UserError for an unknown category, and if the scores of the two differ.
    """
    for category in categories:
        if category not in CATEGORIES:
            raise UserError(f"categories={category} was given; {closest(category, list(CATEGORIES))}")
    shutil.rmtree(directory, ignore_errors=True)
    benchmark = Bfcl(subset="full", categories=categories or CATEGORIES)
    ours, official = [], []
    requests = [0]
    with known_answers("bfcl-by-opening", directory / "server.log", in_flight) as endpoint:
        for turn in range(repeats):
            started = time.monotonic()
            records = benchmark.run(EvaluationContext(endpoint, trials=1), directory / f"ours-{turn}")
            ours.append(time.monotonic() - started)
            requests.append(_requests_served(endpoint))
            started = time.monotonic()
            passed = _run_official(endpoint, benchmark.settings, directory / f"official-{turn}")
            official.append(time.monotonic() - started)
            requests.append(_requests_served(endpoint))
            _compare(records, passed)
    notes = {
        "tasks": len(records),
        "ours_s": [round(seconds, 1) for seconds in ours],
        "official_s": [round(seconds, 1) for seconds in official],
        "requests": {"ours": requests[1], "official": requests[2] - requests[1]},
        "passed, with both": passed,
    }
    ratio = statistics.median(theirs / mine for theirs, mine in zip(official, ours, strict=True))
    name = f"BFCL, {in_flight} in flight: official command line's time / ours"
    return (Metric(name=name, value=ratio, target=1.0, better="higher"),), {"bfcl": notes}


def _run_official(endpoint: Endpoint, settings: BfclSettings, root: Path) -> dict[str, int]:
    """Runs `bfcl generate` and `bfcl evaluate` like a user; returns the number of passed tasks by category."""
    root.mkdir(parents=True)
    environment = {
        "BFCL_PROJECT_ROOT": str(root.absolute()),
        "OPENAI_BASE_URL": endpoint.base_url,
        "OPENAI_API_KEY": endpoint.api_key(),
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
        "OMP_NUM_THREADS": "1",
    }
    selection = ("--model", OFFICIAL_MODEL, "--test-category", ",".join(settings.categories or ()))
    for phase in (("generate", "--num-threads", str(endpoint.concurrency)), ("evaluate",)):
        command = (str(settings.python), "-m", "bfcl_eval", *phase, *selection)
        with (root / "log").open("ab") as log:
            completed = subprocess.run(command, env=os.environ | environment, stdout=log, stderr=log, check=False)
        if completed.returncode:
            raise UserError(f"{' '.join(command)} ended with code {completed.returncode}; see {root / 'log'}")
    files = sorted((root / "score").rglob("BFCL_v4_*_score.json"))
    headers = {path: json.loads(path.open(encoding="utf-8").readline()) for path in files}
    return {
        path.stem.removeprefix("BFCL_v4_").removesuffix("_score"): header["correct_count"]
        for path, header in headers.items()
    }


def _requests_served(endpoint: Endpoint) -> int:
    with open_url(urllib.request.Request(endpoint.base_url.removesuffix("/v1") + "/figures"), 10) as reply:
        return int(json.load(reply)["requests"])


def _compare(records: Sequence[TrialRecord], official: Mapping[str, int]) -> None:
    ours = Counter(dict.fromkeys(official, 0))
    ours.update(record.category for record in records if record.success)
    if ours != official:
        raise UserError(f"the scores differ: official command line {dict(official)}, ours {dict(ours)}")
