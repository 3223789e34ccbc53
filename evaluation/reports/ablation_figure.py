"""The figure of an experiment: each claimed difference with its interval, next to the paper's."""

from __future__ import annotations

import textwrap

from matplotlib.figure import Figure

from core.figures import COLOURS
from evaluation.ablation.analysis import Analysis

VERDICT_COLOURS = {"reproduced": COLOURS[2], "contradicted": COLOURS[1], "unresolved": "#777777"}

# Sizes in inches.
WIDTH, ROW, TOP, BOTTOM, LABELS = 7.4, 0.34, 0.5, 0.75, 3.3


def drawn(analysis: Analysis) -> Figure | None:
    """The figure; None if no claim was measured."""
    measured = [claim for claim in analysis.claims if claim.effect]
    if not measured:
        return None
    height = TOP + ROW * len(measured) + BOTTOM
    figure = Figure(figsize=(WIDTH, height))
    share = (WIDTH - LABELS - 0.2) / WIDTH
    axes = figure.add_axes((LABELS / WIDTH, BOTTOM / height, share, ROW * len(measured) / height))
    axes.axvline(0, color="#999999", linewidth=0.8)
    for row, result in enumerate(measured):
        assert result.effect
        low, high = (100 * bound for bound in result.effect.interval())
        colour = VERDICT_COLOURS[result.verdict.decision]
        axes.plot([low, high], [row, row], color=colour, linewidth=1.6)
        axes.plot([100 * result.effect.value], [row], "o", color=colour, markersize=4)
        if result.paper is not None:
            axes.plot([result.paper], [row], "D", markerfacecolor="white", markeredgecolor="black", markersize=4.5)
    labels = ["\n".join(textwrap.wrap(analysis.name(result.claim), 50)) for result in measured]
    axes.set_yticks(range(len(measured)), labels, fontsize=6.5)
    axes.set_ylim(len(measured) - 0.5, -0.5)
    axes.tick_params(axis="x", labelsize=7)
    axes.set_xlabel("difference in points, with 95 % intervals", fontsize=8)
    axes.grid(axis="x", color="#dddddd", linewidth=0.5)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    figure.text(0.02, 1 - 0.28 / height, analysis.title, fontsize=9)
    notes = "◇ the paper's difference · green: reproduced · orange: contradicted · grey: unresolved"
    figure.text(0.02, 0.12 / height, notes, fontsize=6.5, color="#444444")
    return figure
