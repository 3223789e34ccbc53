"""What the tests of the benchmarks share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from scripts.bench.benchmark import Report, publish


def published(report: Report, directory: Path) -> dict[str, Any]:
    """Publish a report; returns its JSON after checking the common structure."""
    content: dict[str, Any] = json.loads(publish(report, directory, {"load before": 0.5}).read_text())
    assert {"inputs", "machine", "metrics"} <= content.keys()
    assert {"processor", "cpus", "system", "python", "load before"} <= content["machine"].keys()
    for metric in content["metrics"]:
        assert metric.keys() == {"name", "value", "target", "better", "met"}
        value, target = metric["value"], metric["target"]
        assert metric["met"] is (value >= target if metric["better"] == "higher" else value <= target)
    return content
