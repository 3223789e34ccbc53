"""What all figures share: colours, markers and line styles that stay distinct, and files whose bytes depend only on
what is drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from core.files import replacing

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's palette, safe for colour-blind readers; line styles and markers differ, too."""
MARKERS, DASHES = "osD^vPX", ("-", "--", "-.", ":")


def save_figure(figure: Any, stem: Path) -> list[Path]:
    """Write a matplotlib figure as <stem>.png and <stem>.pdf and return the paths. Saves without a date, so that the
    same figure gives the same bytes."""
    paths = [stem.with_name(f"{stem.name}.{ending}") for ending in ("png", "pdf")]
    for path in paths:
        with replacing(path) as temporary:
            dated = {"CreationDate": None} if path.suffix == ".pdf" else {}
            figure.savefig(temporary, format=path.suffix[1:], dpi=220, metadata=dated)
    return paths
