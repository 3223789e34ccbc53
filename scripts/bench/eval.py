"""make bench-eval [categories=[multi_turn_base]] [in_flight=32]: what holding the benchmarks costs, beside the official ways."""

from __future__ import annotations

from pydantic import Field

from scripts.bench.bfcl_cost import bfcl_cost
from scripts.bench.report import BenchSettings, Report, main


class EvalSettings(BenchSettings):
    """`categories` of BFCL are held whole, none named: non-live, live and multi-turn; with `in_flight` requests at once. A share
    of a category would not do: the official command line rewrites its files for every answer when it is given single tasks."""

    repeats: int = Field(default=1, ge=1)
    categories: tuple[str, ...] = ()
    in_flight: int = Field(default=32, ge=1)


def measure(settings: EvalSettings) -> Report:
    figures, notes = bfcl_cost(settings.categories, settings.in_flight, settings.repeats, settings.directory / "eval")
    return Report(name="eval", inputs=settings.model_dump(mode="json"), figures=figures, notes=notes)


if __name__ == "__main__":
    main(EvalSettings, measure)
