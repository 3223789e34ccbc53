"""The figures of a step: printed as they are measured, and read back from its log."""

from __future__ import annotations

import json
from typing import Any

_MARK = "figure "


def figure(name: str, value: Any) -> None:
    """Print a measured value. `value` is a number, a text, or a dict of them."""
    print(f"{_MARK}{json.dumps({name: value})}", flush=True)


def read_figures(log: str) -> dict[str, Any]:
    """The figures in a log, by name."""
    figures: dict[str, Any] = {}
    for line in log.splitlines():
        if line.startswith(_MARK):
            figures |= json.loads(line.removeprefix(_MARK))
    return figures
