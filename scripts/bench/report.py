"""make bench-report [run=outputs/generate/RUN transcripts=5000]: size of a report, time to first paint and of a filter.

Writes the report of a finished generation run, the newest one by default, and opens it in Debian's Chromium, as the
tests do. A filter is timed from the change of the address until the list is drawn.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

from pydantic import Field

from core.console import stage_console
from core.runs import latest
from core.settings import UserError
from scripts.bench.benchmark import BenchSettings, Metric, Report, main
from scripts.bench.browser import Browser, browsing, missing
from scripts.report import write_report

MOST_BYTES, MOST_PAINT_S, MOST_FILTER_S = 20_000_000, 1.0, 0.2
FILTERS = ("f.verdict=accepted", "f.outcome=rejected", "f.outcome=accepted")


class ReportBenchSettings(BenchSettings):
    """Settings of bench-report."""

    run: Path | None = Field(default=None, description="a finished generation run; null: the newest one")
    transcripts: int = Field(default=5000, ge=1, description="most dialogues in the report")


def first_paint(browser: Browser, path: Path) -> float:
    """Seconds from the start of the navigation to the first contentful paint of the page, loaded anew."""
    browser.open(path)
    entry = "performance.getEntriesByName('first-contentful-paint')[0]"
    browser.wait(lambda: browser.run(f"return Boolean({entry})"))
    return float(browser.run(f"return {entry}.startTime")) / 1000


def filtered(browser: Browser, address: str) -> float:
    """Seconds until the list shows what the address asks for, and is painted."""
    script = """
        const [address, done] = arguments;
        const start = performance.now();
        location.hash = address;
        requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now() - start)));
    """
    return float(browser.driver.execute_async_script(script, address)) / 1000


def measure(settings: ReportBenchSettings) -> Report:
    """Raises UserError without Chromium or a generation run."""
    if lacking := missing():
        raise UserError(lacking)
    run = settings.run or latest(settings.outputs, "generate", "make generate")
    started = time.monotonic()
    path = write_report(run, settings.transcripts, stage_console())
    written_s = time.monotonic() - started
    with tempfile.TemporaryDirectory() as profile, browsing(Path(profile)) as browser:
        paints = [first_paint(browser, path) for _ in range(settings.repeats)]
        shown = int(browser.run("return archive.entries.length"))
        filters = [filtered(browser, f"#{address}") for _ in range(settings.repeats) for address in FILTERS]
    metrics = (
        Metric(name="size in MB", value=path.stat().st_size / 1e6, target=MOST_BYTES / 1e6, better="lower"),
        Metric(name="first paint in s", value=statistics.median(paints), target=MOST_PAINT_S, better="lower"),
        Metric(name="a filter in s, the slowest", value=max(filters), target=MOST_FILTER_S, better="lower"),
    )
    notes = {"dialogues": shown, "seconds to write": round(written_s, 1), "first paints": paints, "filters": filters}
    return Report(name="report", inputs=settings.model_dump(mode="json"), metrics=metrics, notes=notes)


if __name__ == "__main__":
    main(ReportBenchSettings, measure)
