"""make bench-packing: how full rows of packed trees are, compared with TRL's packing, padding and one tree per row; how
evenly ranks work.

The lengths are synthetic, from Table 1: for each dataset a lognormal distribution with its mean number of turns, which
exceeds its maximum once in its number of samples. A dialogue has 4k tokens of system message and tools, 2.5 steps per
request and 300 reasoning tokens per step. TRL is not a dependency: it is compared if it can be imported.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from statistics import NormalDist
from typing import Any

from datasets import Dataset
from pydantic import Field

from scripts.bench.benchmark import BenchSettings, Metric, Report, main, median
from scripts.bench.model_shapes import shape_of
from training.packing import pack
from training.sampler import BalancedSampler

TABLE_1 = {
    "user-oriented Nemotron": (21.79, 596, 177_375),
    "user-oriented Tau2": (36.16, 780, 4_138),
    "executed Tau2": (17.15, 294, 2_174),
    "executed SQL": (30.85, 680, 16_618),
}
"""Dataset -> mean and maximum number of turns of a dialogue, and number of samples."""

PREFIX, STEPS, REASONING = 4000, 2.5, 300
USER, CALL, RESULT, ANSWER = 50, 60, 150, 120
"""Tokens of a message; PREFIX is the median of system message and tools, lognormal with σ = 0.5."""

QWEN3_4B = shape_of("qwen3_4b")


class PackingSettings(BenchSettings):
    """Settings of bench-packing."""

    items: int = Field(default=40_000, ge=100, description="dialogues to pack")
    trl_items: int = Field(
        default=4_000, ge=100, description="dialogues to pack with TRL too, which needs their tokens in memory"
    )
    timed_items: int = Field(default=1_000_000, ge=1000, description="dialogues to pack for the time")
    capacity: int = Field(default=32_768, ge=16_384, description="tokens of a row")
    ranks: int = Field(default=8, ge=2, description="GPUs")
    batch: int = Field(default=64, ge=2, description="rows of an optimizer step")


def turns(draw: random.Random) -> int:
    """The number of turns of a random dialogue of OURS: Table 1's datasets, Nemotron down-sampled to all others
    together (Appendix E)."""
    weights = [min(samples, 22_930) for _, _, samples in TABLE_1.values()]
    mean, longest, samples = draw.choices(list(TABLE_1.values()), weights)[0]
    # mean = exp(m + s²/2) and longest = exp(m + s z), where z is the quantile that one of `samples` samples exceeds.
    z = NormalDist().inv_cdf(1 - 1 / samples)
    spread = z - math.sqrt(z * z - 2 * math.log(longest / mean))
    return max(2, round(draw.lognormvariate(math.log(mean) - spread * spread / 2, spread)))


def tree(number: int, prefix: int, capacity: int) -> tuple[int, int]:
    """(tokens, (query, key it sees) pairs) of a dialogue of `number` turns, cut to the complete requests that fit a
    row.

    The trunk has all messages without reasoning; each request has a branch that repeats its answers, with reasoning."""
    trunk = round(USER + STEPS * (CALL + RESULT) + ANSWER)
    branch = round(trunk - USER + (STEPS + 1) * REASONING)
    requests = max(1, round(number / (2 + 2 * STEPS)))
    requests = min(requests, max(1, (capacity - prefix) // (trunk + branch)))
    length = prefix + requests * trunk
    starts = [prefix + request * trunk + USER for request in range(requests)]
    pairs = length * (length + 1) // 2 + sum(branch * start + branch * (branch + 1) // 2 for start in starts)
    return length + requests * branch, pairs


def trees(settings: PackingSettings, count: int) -> list[tuple[int, int]]:
    """Random trees: (tokens, pairs)."""
    draw = random.Random(settings.seed)
    prefixes = (draw.lognormvariate(math.log(PREFIX), 0.5) for _ in range(count))
    return [tree(turns(draw), min(round(p), settings.capacity - PREFIX), settings.capacity) for p in prefixes]


def fill(sizes: Sequence[int], rows: Sequence[Sequence[int]], capacity: int) -> float:
    """The share of the rows' capacity that is filled."""
    return sum(sizes) / (len(rows) * capacity)


def padded(sizes: Sequence[int], batch: int) -> int:
    """Tokens forwarded if every `batch` consecutive dialogues are padded to the longest of them."""
    return sum(batch * max(sizes[first : first + batch]) for first in range(0, len(sizes), batch))


def waiting(costs: Sequence[float], ranks: int, batch: int, balanced: bool) -> float:
    """The share of all ranks' time spent waiting in an epoch, if every micro-step waits for its slowest rank."""
    if balanced:
        order = list(BalancedSampler(costs, batch, ranks, seed=0))
    else:
        order = random.Random(0).sample(range(len(costs)), len(costs))
    work = [costs[row] if isinstance(row, int) else 0.0 for row in order]
    rounds = [work[first : first + ranks] for first in range(0, len(work), ranks)]
    return 1 - sum(work) / sum(ranks * max(costs_of_round) for costs_of_round in rounds)


def trl_fill(sizes: Sequence[int], capacity: int) -> float | None:
    """The fill of TRL's `bfd` packing, or None if TRL is not installed."""
    if not find_spec("trl"):
        return None
    pack_dataset = import_module("trl").pack_dataset
    rows = Dataset.from_generator(lambda: ({"input_ids": [0] * size} for size in sizes))
    packed = pack_dataset(rows, capacity, strategy="bfd")
    return sum(sizes) / (len(packed) * capacity)


def measure(settings: PackingSettings) -> Report:
    dialogue_trees = trees(settings, settings.items)
    sizes = [tokens for tokens, _ in dialogue_trees]
    rows = pack(sizes, settings.capacity)
    batch = max(2, settings.capacity // (sum(sizes) // len(sizes)))
    costs = [float(sum(QWEN3_4B.flops(*dialogue_trees[item], 0) for item in row)) for row in rows]
    idle = waiting(costs, settings.ranks, settings.batch, balanced=True)
    unbalanced = waiting(costs, settings.ranks, settings.batch, balanced=False)
    timed = random.Random(settings.seed).choices(sizes, k=settings.timed_items)
    seconds = median(lambda: _seconds(timed, settings.capacity), settings.repeats)
    padding = padded(sizes, batch) / (len(rows) * settings.capacity)
    metrics = [
        Metric(name="fill", value=fill(sizes, rows, settings.capacity), target=0.97, better="higher"),
        Metric(name="forwarded tokens, padded over packed", value=padding, target=1.2, better="higher"),
        Metric(name="rows, one tree each over packed", value=len(sizes) / len(rows), target=2.0, better="higher"),
        Metric(name="time spent waiting for other ranks", value=idle, target=0.05, better="lower"),
        Metric(name="seconds to pack timed_items", value=seconds, target=10.0, better="lower"),
    ]
    notes: dict[str, Any] = {
        "tokens of a tree": f"mean {sum(sizes) / len(sizes):,.0f}, shortest {min(sizes):,}, longest {max(sizes):,}",
        "padded": f"{batch} dialogues per batch, in the order of the data",
        "waiting without balancing": round(unbalanced, 4),
    }
    first = sizes[: settings.trl_items]
    ours, trl = fill(first, pack(first, settings.capacity), settings.capacity), trl_fill(first, settings.capacity)
    if trl is None:
        notes["TRL"] = "not installed, not compared"
    else:
        metrics.append(Metric(name="fill over that of TRL's bfd", value=ours / trl, target=1.0, better="higher"))
        notes["TRL"] = f"fill {trl:.4f}, ours {ours:.4f}"
    return Report(name="packing", inputs=settings.model_dump(mode="json"), metrics=tuple(metrics), notes=notes)


def _seconds(sizes: Sequence[int], capacity: int) -> float:
    """Seconds to pack the sizes."""
    started = time.perf_counter()
    pack(sizes, capacity)
    return time.perf_counter() - started


if __name__ == "__main__":
    main(PackingSettings, measure)
