"""What all figures share: colours, markers and line styles that stay distinct, and files whose bytes depend only on
what is drawn."""

from __future__ import annotations

import hashlib
import io
import re
from pathlib import Path
from typing import Any

import matplotlib

from core.files import replacing

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's palette, safe for colour-blind readers; line styles and markers differ, too."""
MARKERS, DASHES = "osD^vPX", ("-", "--", "-.", ":")


def plain_axes(axes: Any) -> None:
    """Small numbers, a light grid behind what is drawn, and no frame."""
    axes.tick_params(labelsize=7)
    axes.grid(axis="y", color="#dddddd", linewidth=0.5)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def save_figure(figure: Any, stem: Path) -> list[Path]:
    """Write a matplotlib figure as <stem>.png and <stem>.pdf and return the paths. Saves without a date, so that the
    same figure gives the same bytes."""
    paths = [stem.with_name(f"{stem.name}.{ending}") for ending in ("png", "pdf")]
    for path in paths:
        with replacing(path) as temporary:
            dated = {"CreationDate": None} if path.suffix == ".pdf" else {}
            figure.savefig(temporary, format=path.suffix[1:], dpi=220, metadata=dated)
    return paths


def svg(figure: Any) -> str:
    """Return a matplotlib figure as SVG for a page: text stays text, the ground is transparent, black is the page's
    text colour and white its ground (the CSS variable --ground). The same figure gives the same bytes, and different
    figures have different ids, so that several can stand on one page."""
    file = io.StringIO()
    undated = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "figure"}):
        figure.savefig(file, format="svg", transparent=True, metadata=undated)
    text = file.getvalue()
    text = text[text.index("<svg") :].strip()
    # Matplotlib's style sheet would hold for the whole page.
    text = re.sub(r"<style\b.*?</style>", "", text, flags=re.DOTALL)
    text = re.sub(r"#000000\b", "currentColor", text)
    text = re.sub(r"#ffffff\b", "var(--ground, white)", text)
    used = set(re.findall(r"(?:href=\"#|url\(#)([^\")]+)", text))
    own = f"f{hashlib.sha256(text.encode()).hexdigest()[:12]}-"
    text = re.sub(r' id="([^"]+)"', lambda match: f' id="{own}{match[1]}"' if match[1] in used else "", text)
    text = re.sub(r'(href="#|url\(#)', rf"\g<1>{own}", text)
    # What states no colour is black.
    attributes = 'role="img" fill="currentColor" stroke-linejoin="round" stroke-linecap="butt"'
    return text.replace("<svg", f"<svg {attributes}", 1)
