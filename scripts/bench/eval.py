"""make bench-eval [categories=[multi_turn_base]] [in_flight=32] [samples=6]: what the benchmarks cost, beside the official ways."""

from __future__ import annotations

from pydantic import Field

from scripts.bench.bfcl_cost import bfcl_cost
from scripts.bench.report import BenchSettings, Figure, Report, main
from scripts.bench.tau2_cost import tau2_cost


class EvalSettings(BenchSettings):
    """`categories` of BFCL are held whole, none named: non-live, live and multi-turn; with `in_flight` requests at once. A share
    of a category would not do: the official command line rewrites its files for every answer when it is given single tasks.
    `samples` of τ²'s airline are held by the stock task and by ours; 0 leaves τ² out."""

    repeats: int = Field(default=1, ge=1)
    categories: tuple[str, ...] = ()
    in_flight: int = Field(default=32, ge=1)
    samples: int = Field(default=6, ge=0, le=49)


def measure(settings: EvalSettings) -> Report:
    figures, notes = bfcl_cost(settings.categories, settings.in_flight, settings.repeats, settings.directory / "eval")
    if settings.samples:
        cost = tau2_cost(settings.samples)
        ratio = cost["stock"] / cost["ours"]
        figures += (Figure(name="τ² airline, CPU a sample: stock / ours", value=ratio, target=5.0, better="higher"),)
        notes["τ² airline, CPU seconds a sample"] = cost
    return Report(name="eval", inputs=settings.model_dump(mode="json"), figures=figures, notes=notes)


if __name__ == "__main__":
    main(EvalSettings, measure)
