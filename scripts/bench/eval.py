"""Cost of the benchmarks compared with the official programs.

make bench-eval [categories=[multi_turn_base]] [in_flight=32] [samples=6]
"""

from __future__ import annotations

from pydantic import Field

from scripts.bench.benchmark import BenchSettings, Metric, Report, main
from scripts.bench.bfcl_cost import bfcl_cost
from scripts.bench.tau2_cost import tau2_cost


class EvalSettings(BenchSettings):
    """Settings of make bench-eval.

    BFCL categories run completely: with single tasks the official command line rewrites its files for every answer.
    """

    repeats: int = Field(default=1, ge=1, description="times that each side runs BFCL")
    categories: tuple[str, ...] = Field(default=(), description="BFCL categories; empty: non-live, live and multi-turn")
    in_flight: int = Field(default=32, ge=1, description="BFCL requests in flight at once")
    samples: int = Field(
        default=6, ge=0, le=49, description="τ² airline tasks, run by the stock task and by ours; 0: without τ²"
    )


def measure(settings: EvalSettings) -> Report:
    metrics, notes = bfcl_cost(settings.categories, settings.in_flight, settings.repeats, settings.directory / "eval")
    if settings.samples:
        cost = tau2_cost(settings.samples)
        ratio = cost["stock"] / cost["ours"]
        metrics += (Metric(name="τ² airline, CPU per sample: stock / ours", value=ratio, target=5.0, better="higher"),)
        notes["τ² airline, CPU seconds per sample"] = cost
    return Report(name="eval", inputs=settings.model_dump(mode="json"), metrics=metrics, notes=notes)


if __name__ == "__main__":
    main(EvalSettings, measure)
