"""make bench-packing: how full rows of packed trees are, beside TRL's packing, padding and one tree a row; how evenly ranks work.

The lengths are made up from Table 1: per dataset a lognormal with its mean number of turns, which exceeds its maximum once in its
number of samples. A turn's tokens are those of design.md's dialogue: 4k of system and tools, 10 requests, 2.5 steps a request,
300 reasoning tokens a step. TRL is no dependency: its figure appears where it can be imported.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Sequence
from statistics import NormalDist
from typing import Any

from pydantic import Field

from scripts.bench.model_shapes import shape_of
from scripts.bench.report import BenchSettings, Figure, Report, main, median
from training.packing import pack
from training.sampler import BalancedSampler

TABLE_1 = {
    "user-oriented Nemotron": (21.79, 596, 177_375),
    "user-oriented Tau2": (36.16, 780, 4_138),
    "executed Tau2": (17.15, 294, 2_174),
    "executed SQL": (30.85, 680, 16_618),
}
"""Turns of a dialogue: mean and maximum, and the number of samples."""

PREFIX, STEPS, REASONING = 4000, 2.5, 300
USER, CALL, RESULT, ANSWER = 50, 60, 150, 120
"""Tokens of one message each; PREFIX those of system message and tools, with a spread of a half in its logarithm."""

QWEN3_4B = shape_of("qwen3_4b")


class PackingSettings(BenchSettings):
    """`items` dialogues are packed into rows of `capacity` tokens and trained on `ranks` GPUs, `batch` rows a step; `many` items
    are packed for the time; `compared` dialogues are packed by TRL too, which needs their tokens in memory."""

    items: int = Field(default=40_000, ge=100)
    compared: int = Field(default=4_000, ge=100)
    many: int = Field(default=1_000_000, ge=1000)
    capacity: int = Field(default=32_768, ge=16_384)
    ranks: int = Field(default=8, ge=2)
    batch: int = Field(default=64, ge=2)


def turns(draw: random.Random) -> int:
    """Of a dialogue of OURS: one of Table 1's datasets, the Nemotron one down-sampled to the others together (Appendix E)."""
    weights = [min(samples, 22_930) for _, _, samples in TABLE_1.values()]
    mean, longest, samples = draw.choices(list(TABLE_1.values()), weights)[0]
    # mean = exp(m + s²/2) and longest = exp(m + s z), z the quantile that one of so many samples exceeds.
    z = NormalDist().inv_cdf(1 - 1 / samples)
    spread = z - math.sqrt(z * z - 2 * math.log(longest / mean))
    return max(2, round(draw.lognormvariate(math.log(mean) - spread * spread / 2, spread)))


def tree(number: int, prefix: int, capacity: int) -> tuple[int, int]:
    """(tokens, pairs of a query and a key it sees) of a dialogue of so many turns, cut to whole requests that fit a row.

    The trunk has all messages without reasoning; each request is a branch that repeats its own answers, with reasoning."""
    trunk = round(USER + STEPS * (CALL + RESULT) + ANSWER)
    branch = round(trunk - USER + (STEPS + 1) * REASONING)
    requests = max(1, round(number / (2 + 2 * STEPS)))
    requests = min(requests, max(1, (capacity - prefix) // (trunk + branch)))
    length = prefix + requests * trunk
    starts = [prefix + request * trunk + USER for request in range(requests)]
    pairs = length * (length + 1) // 2 + sum(branch * start + branch * (branch + 1) // 2 for start in starts)
    return length + requests * branch, pairs


def trees(settings: PackingSettings, count: int) -> list[tuple[int, int]]:
    draw = random.Random(settings.seed)
    prefixes = (draw.lognormvariate(math.log(PREFIX), 0.5) for _ in range(count))
    return [tree(turns(draw), min(round(p), settings.capacity - PREFIX), settings.capacity) for p in prefixes]


def fill(sizes: Sequence[int], rows: Sequence[Sequence[int]], capacity: int) -> float:
    return sum(sizes) / (len(rows) * capacity)


def padded(sizes: Sequence[int], each: int) -> int:
    """Tokens forwarded where `each` dialogues in their order are padded to the longest of them."""
    return sum(each * max(sizes[first : first + each]) for first in range(0, len(sizes), each))


def waiting(costs: Sequence[float], ranks: int, batch: int, balanced: bool) -> float:
    """The share of all ranks' time spent waiting in one epoch, where every micro-step ends with its slowest rank."""
    if balanced:
        order = list(BalancedSampler(costs, batch, ranks, seed=0))
    else:
        order = random.Random(0).sample(range(len(costs)), len(costs))
    work = [0.0 if row is None else costs[row] for row in order]
    rounds = [work[first : first + ranks] for first in range(0, len(work), ranks)]
    return 1 - sum(work) / sum(ranks * max(each) for each in rounds)


def trl_fill(sizes: Sequence[int], capacity: int) -> float | None:
    """The fill of TRL's `bfd`, or None where TRL is not installed."""
    try:
        from datasets import Dataset  # noqa: PLC0415 - only where TRL is to be compared
        from trl import pack_dataset  # type: ignore[import-not-found]  # noqa: PLC0415
    except ImportError:
        return None
    rows = Dataset.from_generator(lambda: ({"input_ids": [0] * size} for size in sizes))
    packed = pack_dataset(rows, capacity, strategy="bfd")
    return sum(sizes) / (len(packed) * capacity)


def measure(settings: PackingSettings) -> Report:
    made = trees(settings, settings.items)
    sizes = [tokens for tokens, _ in made]
    rows = pack(sizes, settings.capacity)
    packed = fill(sizes, rows, settings.capacity)
    each = max(2, settings.capacity // (sum(sizes) // len(sizes)))
    costs = [float(sum(QWEN3_4B.flops(made[item][0], made[item][1], 0) for item in row)) for row in rows]
    idle = waiting(costs, settings.ranks, settings.batch, balanced=True)
    short = sizes[: settings.compared]
    ours, theirs = fill(short, pack(short, settings.capacity), settings.capacity), trl_fill(short, settings.capacity)
    draw = random.Random(settings.seed)
    many = draw.choices(sizes, k=settings.many)
    figures = [
        Figure(name="fill", value=packed, target=0.97, better="higher"),
        Figure(
            name="forwarded tokens, padded over packed",
            value=padded(sizes, each) / (len(rows) * settings.capacity),
            target=1.2,
            better="higher",
        ),
        Figure(name="rows, one tree each over packed", value=len(sizes) / len(rows), target=2.0, better="higher"),
        Figure(name="time spent waiting for other ranks", value=idle, target=0.05, better="lower"),
        Figure(
            name="seconds to pack the many",
            value=median(lambda: _seconds(many, settings.capacity), settings.repeats),
            target=10.0,
            better="lower",
        ),
    ]
    if theirs is not None:
        figures.append(Figure(name="fill over that of TRL's bfd", value=ours / theirs, target=1.0, better="higher"))
    notes: dict[str, Any] = {
        "tokens of a tree": f"mean {sum(sizes) / len(sizes):,.0f}, shortest {min(sizes):,}, longest {max(sizes):,}",
        "padded": f"{each} dialogues a batch, in the order of the data",
        "waiting without balancing": round(waiting(costs, settings.ranks, settings.batch, balanced=False), 4),
        "TRL": "not installed, not compared" if theirs is None else f"fill {theirs:.4f} where ours is {ours:.4f}",
    }
    return Report(name="packing", inputs=settings.model_dump(mode="json"), figures=tuple(figures), notes=notes)


def _seconds(sizes: Sequence[int], capacity: int) -> float:
    began = time.perf_counter()
    pack(sizes, capacity)
    return time.perf_counter() - began


if __name__ == "__main__":
    main(PackingSettings, measure)
